"""What `init` asks, writes and leaves alone, on the real engine."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.composed import Folder

COMPOSE = """\
services:
  db:
    image: ${POSTGRES_IMAGE}
    environment:
      POSTGRES_USER: app
      POSTGRES_PASSWORD: ${DB_PASSWORD:-a pass$$word}
    volumes: ["pgdata:/var/lib/postgresql/data"]
  other:
    image: ${TINY_IMAGE}
    command: [sleep, infinity]
    init: true
    profiles: [more]
    volumes: ["extra:/extra"]
    depends_on: [db]
volumes: {pgdata: , extra: }
"""
SECRET = "a pass$word"


def docker(*arguments: str, stdin: str = "") -> None:
    """Use the engine past Quiesce."""
    subprocess.run(["docker", *arguments], input=stdin, text=True, capture_output=True, check=True)


pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A stack that runs, with a database of its own and one more."""
    made = Folder(tmp_path_factory.mktemp("init") / "app", f"qinit{secrets.token_hex(3)}")
    made.path.mkdir()
    (made.path / "compose.yaml").write_text(f"name: {made.project}\n{COMPOSE}")
    images = ("POSTGRES_IMAGE", "TINY_IMAGE")
    (made.path / ".env").write_text("".join(f"{key}={os.environ[key]}\n" for key in images))
    try:
        assert made.start() == ["db"]
        made.sql("db", "CREATE DATABASE more")
        yield made
    finally:
        made.compose("--profile", "*", "down", "--volumes", check=False)


@pytest.fixture
def folder(running: Folder, tmp_path: Path) -> Iterator[Folder]:
    """The folder as it was before `init`, whatever a test leaves in it."""
    shutil.copytree(running.path, tmp_path / "before")
    yield running
    for path in running.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not (tmp_path / "before" / path.name).exists():
            path.unlink()
        else:
            shutil.copy(tmp_path / "before" / path.name, path)


def test_without_a_terminal_nothing_is_asked(folder: Folder) -> None:
    """It shows what it would write, and writes it only with `--yes`."""
    shown = folder.quiesce("init")
    assert shown.returncode == 6
    assert "more: {service: db, user: app, password_from: POSTGRES_PASSWORD}" in shown.stdout
    assert "HINT: use --yes" in shown.stderr
    dry = folder.quiesce("init", "--dry-run")
    assert dry.returncode == 0
    assert dry.stdout == shown.stdout
    assert sorted(path.name for path in folder.path.iterdir()) == [".env", "compose.yaml"]


def test_in_a_terminal_it_asks_twice(folder: Folder) -> None:
    """Whether to write, and whether to make the first backup; a no leaves nothing."""
    code, shown = folder.in_terminal("init", typed=(("write stack.yaml? [yes/no]", "no\n"),))
    assert code == 6
    assert not (folder.path / "stack.yaml").exists()
    answers = (("write stack.yaml? [yes/no]", "yes\n"), ("first backup now?", "yes\n"))
    code, shown = folder.in_terminal("init", typed=answers)
    assert code == 0, shown
    assert shown.count("[yes/no]") == 2
    (manifest,) = folder.path.glob("backups/*/manifest.json")
    keys = [one["key"] for one in json.loads(manifest.read_text())["databases"]]
    assert sorted(keys) == ["app", "more"]
    for path in (folder.path / "stack.yaml", manifest.with_name("RESTORE.md")):
        assert SECRET not in path.read_text()
    assert "compose(globals())" in (folder.path / "tasks.py").read_text()


def test_run_again_it_shows_what_came_since(folder: Folder) -> None:
    """As lines to add: what a hand wrote stays, and with the lines `check` is content."""
    assert folder.quiesce("init", "--yes").returncode == 0
    stack = folder.path / "stack.yaml"
    own = stack.read_text().replace("keep_last: 3", "keep_last: 9") + "# mine\n"
    stack.write_text(own)
    (folder.path / "tasks.py").write_text("# mine\n")
    same = folder.quiesce("init", "--yes")
    assert same.returncode == 0, same.stderr
    assert "lacks nothing" in same.stdout
    folder.sql("db", "CREATE DATABASE later")
    compose = folder.path / "compose.yaml"
    compose.write_text(
        compose.read_text()
        .replace("pgdata: ,", "pgdata: , new: ,")
        .replace('["extra:/extra"]', '["extra:/extra", "new:/new"]')
    )
    try:
        more = folder.quiesce("init", "--json")
        lines = json.loads(more.stdout)["add"]
    finally:
        folder.sql("db", "DROP DATABASE later")
    assert more.returncode == 7, "check names them as errors"
    assert "  later: {service: db, user: app, password_from: POSTGRES_PASSWORD}" in lines
    assert "  new: {purpose: /new of other, priority: important}" in lines
    assert "app:" not in lines
    assert stack.read_text() == own
    assert (folder.path / "tasks.py").read_text() == "# mine\n"


def test_a_server_that_does_not_run_is_read_from_its_environment(folder: Folder) -> None:
    """And a comment says so; `init` in an empty folder says what is missing."""
    folder.compose("stop", "db")
    try:
        shown = folder.quiesce("init", "--dry-run")
    finally:
        folder.compose("start", "db")
    assert shown.returncode == 0, shown.stderr
    assert "app: {service: db, user: app" in shown.stdout
    assert "more:" not in shown.stdout
    assert "the server was not asked" in shown.stdout


def test_an_empty_folder_is_named(engine: str, tmp_path: Path) -> None:
    """With the folder where it looked."""
    wrong = Folder(tmp_path, "qinitnone").quiesce("init", "--yes")
    assert wrong.returncode == 2
    assert f"there is no Compose file in {tmp_path}" in wrong.stderr
    assert list(tmp_path.iterdir()) == []


UNNAMED = """\
services:
  db:
    image: ${POSTGRES_IMAGE}
    environment: {POSTGRES_PASSWORD: "a password"}
  redis:
    image: ${REDIS_IMAGE}
  app:
    image: ${STATE_IMAGE}
    command: [sleep, infinity]
    init: true
    tmpfs: [/scratch]
    volumes: ["kept:/kept", /written]
  later:
    image: ${STATE_IMAGE}
    command: [sleep, infinity]
    profiles: [later]
volumes: {kept: }
"""


def test_anonymous_volumes_are_seen_before_any_container_exists(
    engine: str, tmp_path: Path
) -> None:
    """From the images, and with the same result as from the containers later."""
    made = Folder(tmp_path / "app", f"qinit{secrets.token_hex(3)}")
    made.path.mkdir()
    (made.path / "compose.yaml").write_text(f"name: {made.project}\n{UNNAMED}")
    image = f"{made.project}-state:1"
    images = {name: os.environ[name] for name in ("POSTGRES_IMAGE", "REDIS_IMAGE")}
    images["STATE_IMAGE"] = image
    (made.path / ".env").write_text("".join(f"{k}={v}\n" for k, v in images.items()))
    recipe = (
        f'FROM {os.environ["TINY_IMAGE"]}\nVOLUME ["/state/", "/kept", "/scratch", "/app/cache"]'
    )
    docker("build", "--tag", image, "-", stdin=recipe)

    def about_volumes() -> list[str]:
        shown = made.quiesce("init", "--dry-run")
        assert shown.returncode == 0, shown.stderr
        words = ("anonymous", "exclude_volumes", "app:/", "later:/", "db:/")
        return [line for line in shown.stdout.splitlines() if any(w in line for w in words)]

    try:
        before = about_volumes()
        made.start()
        assert about_volumes() == before
    finally:
        made.compose("down", "--volumes", check=False)
        docker("image", "rm", image)
    text = "\n".join(before)
    assert 'exclude_volumes: ["redis:/data"]' in text
    assert "app:/state is an anonymous volume" in text
    assert "app:/written is an anonymous volume" in text
    assert not any(word in text for word in ("/kept", "/scratch", "/app/cache", "later:", "db:/"))
