"""A server without a driver, as docs/other-servers.md says: named when its files are copied while
it runs, and backed up by its own snapshot without a stop."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.composed import Folder

pytestmark = pytest.mark.engine
COMPOSE = """\
services:
  cache:
    image: {redis}
    volumes: ["cache-data:/data", "./dumps:/dumps"]
  app:
    image: {tiny}
    volumes: ["files:/files"]
volumes: {{cache-data: {{}}, files: {{}}}}
"""
STACK = """\
version: 1
instances: {main: {retention: few}}
volumes: {cache-data: {backup: DATA}, files: {}}
paths: {dumps: {path: dumps, backup: files}}
restart: {keep_running: [KEPT], stop_timeout: 1s}
BEFORE
retention: {few: {keep_last: 9}}
"""
WARNING = "cache-data contains the files of a Redis server, and service cache runs while they"
SNAPSHOT = "before: [{service: cache, command: [redis-cli, --rdb, /dumps/all.rdb]}]"


def declare(folder: Folder, data: str, kept: str, before: str = "") -> None:
    """Write stack.yaml."""
    text = STACK.replace("DATA", data).replace("KEPT", kept).replace("BEFORE", before)
    (folder.path / "stack.yaml").write_text(text)


@pytest.fixture(scope="module")
def folder(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A Redis with a value, and an application."""
    del engine
    path = tmp_path_factory.mktemp("servers") / "app"
    (path / "dumps").mkdir(parents=True)
    (path / "dumps").chmod(0o777)
    images = {"tiny": os.environ["TINY_IMAGE"], "redis": os.environ["REDIS_IMAGE"]}
    (path / "compose.yaml").write_text(COMPOSE.format(**images))
    made = Folder(path, f"qservers{secrets.token_hex(3)}")
    (path / ".env").write_text(f"COMPOSE_PROJECT_NAME={made.project}\n")
    try:
        made.compose("up", "--detach", "--wait")
        made.compose("exec", "-T", "cache", "redis-cli", "SET", "job", "one")
        yield made
    finally:
        made.compose("down", "--volumes", check=False)


def test_a_server_that_is_copied_while_it_runs_is_named(folder: Folder) -> None:
    """By check with the line to change, and by each backup; the line followed, no more."""
    declare(folder, "files", "cache")
    checked = folder.quiesce("check")
    assert checked.returncode == 0, checked.stderr + checked.stdout
    assert "cache-data: contains the files of a Redis server" in checked.stdout
    assert "HINT: remove cache from restart.keep_running in stack.yaml" in checked.stdout
    assert WARNING in folder.quiesce("backup", "--dry-run").stderr
    declare(folder, "files", "")
    assert "Redis" not in folder.quiesce("check").stdout
    assert WARNING not in folder.quiesce("backup", "--dry-run").stderr
    assert WARNING in folder.quiesce("backup", "--dry-run", "--mode", "live").stderr


def test_its_own_snapshot_is_backed_up_while_it_runs(folder: Folder) -> None:
    """The recipe of the page: nobody warns, the server does not stop, the set has the snapshot."""
    declare(folder, "never", "cache", SNAPSHOT)
    assert "Redis" not in folder.quiesce("check").stdout
    container = folder.compose("ps", "--quiet", "cache")
    made = folder.quiesce("backup")
    assert made.returncode == 0, made.stderr
    assert "Redis" not in made.stderr
    assert "stop app —" in made.stdout
    assert folder.compose("ps", "--quiet", "cache") == container
    (folder.path / "dumps" / "all.rdb").unlink()
    restored = folder.quiesce("restore", "--file", "latest", "--only", "dumps", "--yes")
    assert restored.returncode == 0, restored.stderr
    assert (folder.path / "dumps" / "all.rdb").read_bytes().startswith(b"REDIS")


def test_the_page_has_the_recipe() -> None:
    """What is followed here is what it says."""
    page = (Path(__file__).parents[2] / "docs" / "other-servers.md").read_text()
    assert "`redis-cli --rdb /dumps/all.rdb`" in page
