"""Owners in volumes, as containers see them: also where an engine gives users other numbers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.small import Small

pytestmark = pytest.mark.engine
WANTED = "999:998 /files/ours\n1234:0 /files/theirs"


@pytest.fixture(scope="module")
def stack(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """The small stack, up, with files of two users in a volume."""
    made = Small.make(tmp_path_factory.mktemp("owners"), shared=False)
    try:
        made.succeed("up")
        _inside(made, "echo 1 >/files/ours; echo 2 >/files/theirs")
        _inside(made, "chown 999:998 /files/ours; chown 1234:0 /files/theirs")
        made.fill()
        yield made
    finally:
        made.destroy()


def _inside(stack: Small, script: str) -> str:
    app = f"{stack.name}-app-1"
    return stack.docker("exec", app, "sh", "-c", script)


def _owners(stack: Small) -> str:
    return _inside(stack, "stat -c '%u:%g %n' /files/*")


def test_a_set_has_the_owners_that_containers_see(stack: Small) -> None:
    """So it can be restored on an engine that numbers its users in another way."""
    stack.succeed("backup")
    owners = set()
    for archive in (stack.folder / "backups").glob("core-*/**/*files*.tar*"):
        raw = subprocess.run(["zstd", "-dcq", archive], capture_output=True, check=True).stdout
        listing = ["tar", "--numeric-owner", "-tv"]
        listed = subprocess.run(listing, input=raw, capture_output=True, check=True).stdout
        owners |= {line.split()[1] for line in listed.decode().splitlines() if line[0] == "-"}
    assert owners == {"999/998", "1234/0"}


def test_a_restore_gives_files_their_owners_back(stack: Small) -> None:
    """And a server finds data that it may read."""
    stack.succeed("backup")
    _inside(stack, "rm /files/ours; chown 0:0 /files/theirs")
    (server,) = stack.servers()
    stack.sql(server, "DELETE FROM orders")
    stack.succeed("restore", "--file", "latest", "--yes")
    assert _owners(stack) == WANTED
    (server,) = stack.servers()
    assert stack.sql(server, "SELECT count(*) FROM orders") == ["1000"]
