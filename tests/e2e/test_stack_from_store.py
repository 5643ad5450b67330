"""A machine that is lost: the whole stack comes back from a store, the key and `stack.yaml`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from tests.support.counting import DATABASES, Counting
from tests.support.kills import inv, mark, marks
from tests.support.s3 import REGION, S3, an_s3_server

pytestmark = pytest.mark.engine
#: What a fresh clone and the person who makes the env file bring.
FILES = ("stack.yaml", "compose.yml", "core.env", "counter.py", "s3.env")


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    """A real S3 server."""
    with an_s3_server() as there:
        yield there


@pytest.fixture
def folder(engine: str) -> Iterator[Path]:
    """Where the machines of this test are."""
    made = Path(tempfile.mkdtemp(prefix="qlost-"))
    yield made
    shutil.rmtree(made)


def test_the_whole_stack_comes_back_from_the_store_alone(folder: Path, server: S3) -> None:
    """Two databases and a volume, encrypted; everything as it was, and it goes on from there."""
    identity = pyrage.x25519.Identity.generate()
    key = folder / "key.txt"
    key.write_text(f"{identity}\n")
    lost = Counting.make(folder / "lost", on_engine=True)
    server.credentials_file(lost.folder)
    stack = lost.folder / "stack.yaml"
    stack.write_text(
        stack.read_text().replace("retention: few}", "retention: few, stores: [away]}")
    )
    url = f'url: "s3://{server.bucket}/lost", endpoint: "{server.endpoint}", region: {REGION}'
    lost.declare(f"stores:\n  away: {{{url}, credentials_file: s3.env}}")
    lost.declare(f"encrypt: {{age: [{identity.to_public()}]}}")
    found = Counting(folder / "found", lost.port, lost.project, on_engine=True)
    try:
        lost.begin()
        mark(lost, "worth keeping")
        done = inv(lost, "never", "-", "backup")
        assert done.returncode == 0, done.stderr
        # Alone, with nothing of the machine: containers, volumes, sets.
        lost.destroy()
        found.folder.mkdir()
        for name in FILES:
            (lost.folder / name).rename(found.folder / name)
        shutil.rmtree(lost.folder)
        up = inv(found, "never", "-", "up")
        assert up.returncode == 0, up.stderr
        assert marks(found) == {""}
        arguments = ("restore", "--file", "away:latest", "--yes", "--identity", str(key))
        restored = inv(found, "never", "-", *arguments)
        assert restored.returncode == 0, restored.stderr
        assert marks(found) == {"worth keeping"}
        found.wait_until_it_counts()
        said = restored.stdout + restored.stderr
        # Rows and digests of every table were compared with those in the manifest.
        for name in DATABASES:
            assert f"{name}: 2 tables" in " ".join(said.split()), said
        verified = inv(found, "never", "-", "verify", "--all")
        assert verified.returncode == 0, verified.stderr
    finally:
        found.destroy()
