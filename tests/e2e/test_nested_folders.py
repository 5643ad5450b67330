"""Adopting a stack with the data of its server in a folder that another service mounts."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.composed import Folder

COMPOSE = """\
services:
  db:
    image: ${POSTGRES_IMAGE}
    environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: "a password"}
    volumes: ["./data/postgres:/var/lib/postgresql/data"]
  app:
    image: ${TINY_IMAGE}
    command: [sleep, infinity]
    init: true
    depends_on: [db]
    volumes: ["./data:/data", "./data/media:/media"]
"""
pytestmark = pytest.mark.engine


@pytest.fixture
def folder(engine: str, tmp_path: Path) -> Iterator[Folder]:
    """A stack that runs, with rows and a file."""
    made = Folder(tmp_path / "app", f"qnest{secrets.token_hex(3)}")
    (made.path / "data/media").mkdir(parents=True)
    (made.path / "data/media/photo").write_text("a photo")
    (made.path / "compose.yaml").write_text(f"name: {made.project}\n{COMPOSE}")
    images = ("POSTGRES_IMAGE", "TINY_IMAGE")
    (made.path / ".env").write_text("".join(f"{key}={os.environ[key]}\n" for key in images))
    try:
        assert made.start() == ["db"]
        yield made
    finally:
        made.compose("down", "--volumes", check=False)


def test_what_init_and_check_say_leads_to_a_set(folder: Folder) -> None:
    """The folder around the server's data is left to the user; the folders in it are kept."""
    asked = folder.quiesce("init", "--yes")
    assert "which contains path media" in asked.stdout, asked.stderr
    assert "data: {path: ./data, backup: never}" in asked.stdout
    file = folder.path / "stack.yaml"
    content = file.read_text()
    line = "paths:\n  data: {path: ./data, backup: never}\n"
    file.write_text(content.replace("\npaths:\n", f"\n{line}", 1))
    made = folder.quiesce("backup")
    assert made.returncode == 0, made.stderr
    folder.sql("db", "DROP TABLE of_corpus")
    (folder.path / "data/media/photo").unlink()
    back = folder.quiesce("restore", "--file", "latest", "--yes")
    assert back.returncode == 0, back.stderr
    assert folder.sql("db", "SELECT count(*) FROM of_corpus").strip() == "77"
    assert (folder.path / "data/media/photo").read_text() == "a photo"
    # Somebody declares the whole folder instead: 'check' says what 'backup' would say.
    start, end = content.index("paths:\n"), content.index("# A backup every night")
    rest = content[content.index("# Services start after") : end]
    whole = "paths:\n  data: {path: ./data, backup: files}\n\n"
    file.write_text(content[:start] + whole + rest)
    for task in ("check", "backup"):
        refused = folder.quiesce(task)
        said = refused.stdout + refused.stderr
        assert "db is a database server and writes to path data: its folder" in said, said
        assert "in it that are to be backed up, and mark" in said
    assert len(list((folder.path / "backups").glob(f"{folder.project}-*"))) == 2
