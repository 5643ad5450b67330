"""The page "The machine is gone", followed to the letter on the real engine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.patience import TASK
from tests.support.small import Small

pytestmark = pytest.mark.engine

PAGE = ROOT / "docs" / "machine-is-gone.md"


@pytest.fixture(scope="module")
def old(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A stack with data and one set of it; its server initialises slowly."""
    made = Small.make(tmp_path_factory.mktemp("old"), project="NAME")
    made.prepare("sleep 3; psql --username postgres --command 'CREATE ROLE seller LOGIN'")
    try:
        made.docker("compose", "up", "--detach")
        made.fill()
        (server,) = made.servers()
        made.sql(server, "ALTER TABLE orders OWNER TO seller")
        made.docker("compose", "exec", "app", "sh", "-c", "echo kept > /files/note")
        made.succeed("backup")
        yield made
    finally:
        made.destroy()


@pytest.fixture
def gone(old: Small, tmp_path: Path) -> Small:
    """What somebody kept of it: a repository, the env file and a set; the engine has nothing."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (newest,) = sorted(path.parent for path in old.folder.glob("backups/*/manifest.json"))[-1:]
    shutil.copytree(newest, kept / newest.name)
    shutil.copy2(old.folder / ".env", kept / "env")
    repository = tmp_path / "repository"
    ignored = shutil.ignore_patterns("backups", ".env", "__pycache__")
    shutil.copytree(old.folder, repository, ignore=ignored)
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-qm", "all")):
        subprocess.run([*git, *arguments], cwd=repository, check=True)
    old.destroy()
    return replace(old, folder=tmp_path / "stack")


def steps(kept: Path) -> str:
    """The commands of the page with what they are about put in."""
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (found,) = kept.glob("*/manifest.json")
    given = {
        "REPOSITORY": str(kept.parent / "repository"),
        "ENV_FILE": str(kept / "env"),
        "SET": str(found.parent),
    }
    for word, value in given.items():
        assert re.search(rf"\b{word}\b", script)
        script = re.sub(rf"(?<!\w){word}\b", value, script)
    return str(script)


def require_everything(small: Small) -> None:
    """Data, roles and files are back, and every service runs."""
    (server,) = small.servers()
    assert small.sql(server, "SELECT count(*) FROM orders") == ["1000"]
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'orders'"
    assert small.sql(server, owner) == ["seller"]
    assert small.docker("compose", "-p", small.name, "exec", "app", "cat", "/files/note") == "kept"


def test_the_page_brings_everything_back(gone: Small, tmp_path: Path) -> None:
    """Every line of it, in a shell that stops at the first failure."""
    programs = tmp_path / "bin"
    programs.mkdir()
    inv = programs / "inv"
    inv.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m invoke "$@"\n')
    inv.chmod(0o755)
    environment = {**gone.environment, "PATH": f"{programs}:{gone.environment['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", steps(tmp_path / "kept")],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TASK,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    require_everything(gone)
    assert not list(gone.folder.glob("backups/*safety*")), "there was nothing to keep"


def test_nothing_starts_without_a_yes_and_a_dry_run_shows_everything(
    gone: Small, tmp_path: Path
) -> None:
    """The plan begins with the server; a refused question leaves the machine empty."""
    shutil.copytree(tmp_path / "repository", gone.folder)
    shutil.copy2(tmp_path / "kept" / "env", gone.folder / ".env")
    (kept,) = (path.parent for path in (tmp_path / "kept").glob("*/manifest.json"))
    shutil.copytree(kept, gone.folder / "backups" / kept.name)
    plan = gone.succeed("restore", "--file", "latest", "--dry-run").out
    lines = plan.splitlines()
    assert lines[1].strip().startswith("bring up db")
    assert "wait until answering SQL: db" in lines[2]
    assert any("create empty database shop__new" in line for line in lines)
    refused = gone.inv("restore", "--file", "latest")
    assert refused.code != 0
    assert gone.servers() == []
    # With the server stopped and its data there, only the server is started for the restore.
    gone.succeed("up")
    gone.succeed("stop")
    gone.succeed("restore", "--file", "latest", "--only", "shop", "--yes")
    (server,) = gone.servers()
    assert gone.sql(server, "SELECT count(*) FROM orders") == ["1000"]
    running = gone.docker("compose", "-p", gone.name, "ps", "--services").split()
    assert running == ["db"]
    assert list(gone.folder.glob("backups/*safety*")), "what was there is kept"
