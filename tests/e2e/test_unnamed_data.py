"""Data in anonymous volumes and single files: told until it is decided, and kept once it has a
folder, as docs/volumes.md says."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.composed import Folder

pytestmark = pytest.mark.engine
COMPOSE = """\
services:
  app:
    image: {tiny}
    volumes:
      - media:/media
      - /state
      - /empty
      - ./db/state.db:/db/state.db
      - ./conf:/conf
      - ./key:/key
  redis:
    image: {redis}
volumes:
  media:
"""


@pytest.fixture(scope="module")
def stack(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """One with data in two anonymous volumes, and in a single file."""
    del engine
    path = tmp_path_factory.mktemp("unnamed") / "app"
    (path / "db").mkdir(parents=True)
    (path / "db/state.db").write_bytes(b"SQLite format 3\0 and more")
    (path / "conf").write_text("plain")
    (path / "key").write_text("-----BEGIN PRIVATE KEY-----")
    images = {"tiny": os.environ["TINY_IMAGE"], "redis": os.environ["REDIS_IMAGE"]}
    (path / "compose.yaml").write_text(COMPOSE.format(**images))
    made = Folder(path, f"qunnamed{secrets.token_hex(3)}")
    (path / ".env").write_text(f"COMPOSE_PROJECT_NAME={made.project}\n")
    try:
        made.compose("up", "--detach", "--wait")
        made.compose("exec", "-T", "app", "sh", "-c", WRITE)
        made.compose("exec", "-T", "redis", "redis-cli", "SET", "job", "1")
        made.compose("exec", "-T", "redis", "redis-cli", "SAVE")
        yield made
    finally:
        made.compose("down", "--volumes", check=False)


WRITE = (
    "mkdir /state/inner /empty/inner && echo kept >/state/inner/file && chown 12:34 /state/inner"
)


def lacking(stack: Folder) -> set[tuple[str, str]]:
    """What no set contains."""
    return {("volume", "app:/state"), ("file", str(stack.path / "db/state.db"))}


def replace_in(file: Path, old: str, new: str) -> None:
    """Change a text that is there."""
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def newest(stack: Folder) -> Path:
    """The only set, or the last."""
    return max(path.parent for path in stack.path.glob("backups/*/manifest.json"))


def test_init_decides_for_caches_and_secrets_alone(stack: Folder) -> None:
    """The rest is named in comments, and `check` fails until a person has decided."""
    made = stack.quiesce("init", "--yes")
    assert made.returncode == 7, made.stdout + made.stderr
    text = (stack.path / "stack.yaml").read_text()
    assert 'exclude_volumes: ["redis:/data"]' in text
    assert "path: ./key, " in text
    assert "# - app:/state is an anonymous volume" in text
    assert "# - ./db/state.db of app: a single file that no set contains" in text
    assert "./conf of app: a single file, which sets contain under stack/files" in text
    assert made.stdout.count("HINT") + made.stderr.count("HINT") >= 1
    again = stack.quiesce("init", "--yes")
    assert "lacks nothing" in again.stdout


def test_the_set_is_published_then_the_backup_ends_with_7(stack: Folder) -> None:
    """The empty volume, the configuration and what is excluded are not named."""
    ended = stack.quiesce("backup", "--json")
    assert ended.returncode == 7, ended.stderr
    made = json.loads(ended.stdout)["set"]
    assert {(one["kind"], one["name"]) for one in made["undeclared"]} == lacking(stack)
    manifest = json.loads((newest(stack) / "manifest.json").read_text())
    assert {(one["kind"], one["name"]) for one in manifest["undeclared"]} == lacking(stack)
    instructions = (newest(stack) / "RESTORE.md").read_text()
    missing = instructions[instructions.index("MISSING") :]
    assert "volume app:/state" in missing
    assert f"file {stack.path}/db/state.db" in missing
    assert stack.quiesce("verify").returncode == 0


def test_what_need_not_be_kept_is_said_as_the_hint_says(stack: Folder) -> None:
    """One line each; the copy of a drill starts with the file."""
    file = stack.path / "stack.yaml"
    before = file.read_text()
    hints = json.loads(stack.quiesce("check", "--json").stdout)["findings"]
    (state,) = [one["hint"] for one in hints if one["subject"].endswith("state.db")]
    line = state.partition("add to paths:  ")[2].partition(";")[0]
    (volume,) = [one["hint"] for one in hints if one["subject"] == "app:/state"]
    key = volume.partition("add to exclude_volumes:  ")[2].partition(";")[0]
    replace_in(file, '["redis:/data"]', f'["redis:/data", {key}]')
    replace_in(file, "\npaths:\n", f"\npaths:\n  {line}\n")
    for call in (["check"], ["backup"], ["verify", "--restore"]):
        ended = stack.quiesce(*call)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    file.write_text(before)


def test_a_copy_in_a_folder_of_paths_is_kept(stack: Folder) -> None:
    """The commands of docs/volumes.md."""
    stack.compose("stop", "app")
    for inside in ("state", "db"):
        (stack.path / f"app-{inside}").mkdir()
        unpack = f"tar -xp --numeric-owner -C app-{inside}"
        copy = f"docker cp {stack.project}-app-1:/{inside}/. - | {unpack}"
        subprocess.run(copy, shell=True, cwd=stack.path, check=True, capture_output=True)
    compose, file = stack.path / "compose.yaml", stack.path / "stack.yaml"
    replace_in(compose, "- /state", "- ./app-state:/state")
    replace_in(compose, "./db/state.db:/db/state.db", "./app-db:/db")
    entries = "".join(
        f"  {name}: {{path: ./{name}, backup: files}}\n" for name in ("app-state", "app-db")
    )
    replace_in(file, "\npaths:\n", f"\npaths:\n{entries}")
    stack.compose("up", "--detach", "--wait", "app")
    show = "cat /state/inner/file /db/state.db; stat -c %u:%g /state/inner"
    shown = stack.compose("exec", "-T", "app", "sh", "-c", show)
    assert shown == "kept\nSQLite format 3\0 and more12:34\n"
    ended = stack.quiesce("backup", "--json")
    made = json.loads(ended.stdout)["set"]
    assert made["undeclared"] == []
    files = {volume["key"]: volume["files"] for volume in made["volumes"]}
    assert files["app-state"] == 2
    assert files["app-db"] == 1
