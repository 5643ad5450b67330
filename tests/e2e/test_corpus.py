"""`init --yes && check && backup && verify --restore` in Compose folders as applications publish
them, never seen before: `tests/e2e/corpus/`.

The images are stand-ins: PostgreSQL and Redis are the real ones of the tests, an application
writes into its mounts and answers HTTP.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.machine import Unavailable
from tests.engine.mariadb import mariadb_image
from tests.support.checkout import free_ports
from tests.support.composed import Folder
from tests.support.sampling import chance

CORPUS = Path(__file__).parent / "corpus"
NAMES = sorted(path.name for path in CORPUS.iterdir() if path.is_dir())
#: How many a short run tries.
FEW = 2
#: Where a database of MariaDB is found, so that a real server is needed.
WITH_MARIADB = ("nextcloud",)
STAND_INS = ("stand-in:1", "mariadb:11", "clickhouse-server:24")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try all of them, or other ones in each short run."""
    if "name" in metafunc.fixturenames:
        everything = metafunc.config.getoption("--long")
        chosen = NAMES if everything else sorted(chance("corpus").sample(NAMES, FEW))
        metafunc.parametrize("name", chosen)


@pytest.fixture(scope="module")
def images(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The stand-ins, by the variables of the Compose files."""
    folder = tmp_path_factory.mktemp("stand-in")
    shutil.copy(CORPUS / "stand_in.py", folder)
    recipe = 'FROM {}\nCOPY stand_in.py /stand_in.py\nCMD ["python3", "/stand_in.py"]\n'
    (folder / "Dockerfile").write_text(recipe.format(os.environ["PYTHON_IMAGE"]))
    mark = secrets.token_hex(3)
    tags = [f"qcorpus{mark}/{name}" for name in STAND_INS]
    named = [part for tag in tags for part in ("--tag", tag)]
    subprocess.run(["docker", "build", "--quiet", *named, folder], check=True, capture_output=True)
    app, mariadb, clickhouse = tags
    run = "python3 /stand_in.py"
    yield {
        "APP_IMAGE": app,
        "MARIADB_IMAGE": mariadb,
        "CLICKHOUSE_IMAGE": clickhouse,
        "POSTGRES_IMAGE": os.environ["POSTGRES_IMAGE"],
        "REDIS_IMAGE": os.environ["REDIS_IMAGE"],
        **dict.fromkeys(("MARIADB_COMMAND", "APP_COMMAND", "APP_ENTRYPOINT", "APP_SLEEP"), run),
    }
    subprocess.run(["docker", "image", "rm", *tags], check=False, capture_output=True)


@pytest.fixture
def folder(name: str, images: dict[str, str], tmp_path: Path) -> Iterator[Folder]:
    """A folder of the corpus, removed from the engine afterwards."""
    made = Folder(tmp_path / name, f"qcorpus{secrets.token_hex(3)}")
    shutil.copytree(CORPUS / name, made.path)
    if name in WITH_MARIADB:
        try:
            server = mariadb_image("10.11", may_bootstrap=os.environ.get("CI") == "true")
        except Unavailable as reason:
            pytest.skip(str(reason))
        command = "--transaction-isolation=READ-COMMITTED --log-bin=binlog"
        images = {**images, "MARIADB_IMAGE": server, "MARIADB_COMMAND": command}
    values = {**images, "COMPOSE_PROJECT_NAME": made.project, "LISTEN": str(free_ports(1)[0])}
    with (made.path / ".env").open("a") as file:
        file.writelines(f"{key}={value}\n" for key, value in values.items())
    try:
        yield made
    finally:
        made.compose("--profile", "*", "down", "--volumes", "--remove-orphans", check=False)


def hidden(services: dict[str, Any]) -> set[str]:
    """Passwords and keys of the services that are nothing else too, such as a user's name."""
    variables = [
        (key, str(value))
        for service in services.values()
        for key, value in (service.get("environment") or {}).items()
    ]
    secret = {v for k, v in variables if ("PASS" in k.upper() or "SECRET" in k) and v}
    plain = {v for k, v in variables if k.endswith(("USER", "_DB", "NAME", "DATABASE", "_PORT"))}
    return {v for v in secret - plain if not v.startswith(("/", "http"))} - {"postgres"}


@pytest.mark.engine
def test_a_folder_that_was_never_seen(name: str, folder: Folder) -> None:
    """From nothing to a set that was restored, without an edit."""
    servers = folder.start()
    made = folder.quiesce("init", "--yes")
    assert made.returncode == 0, made.stdout + made.stderr
    text = (folder.path / "stack.yaml").read_text()
    leaked = [value for value in hidden(folder.services()) if value in text]
    assert not leaked
    for call in (["check"], ["backup"], ["verify", "--restore"]):
        ended = folder.quiesce(*call)
        assert ended.returncode == 0, f"{call}\n{text}\n{ended.stdout}{ended.stderr}"
    (found,) = folder.path.glob("backups/*/manifest.json")
    manifest = json.loads(found.read_text())
    kept = [table["rows"] for base in manifest["databases"] for table in base["tables"]]
    assert kept.count(77) == len(servers)
    again = folder.quiesce("init", "--yes")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "lacks nothing" in again.stdout
    assert (folder.path / "stack.yaml").read_text() == text
