"""Whole stacks with their data in folders: drills, cold sets, and the tasks that remove."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.folder_stack import FolderStack

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stack(engine: str) -> Iterator[FolderStack]:
    """The stack, up, with a row and a file; one for all tests of this module, in their order."""
    with FolderStack.temporary() as made:
        made.begin()
        yield made


def test_a_drill_restores_into_folders_of_its_own(stack: FolderStack) -> None:
    """What was backed up comes back in the copy, twice; the original's folders stay as they are."""
    made = stack.succeed("backup")
    assert "path photos" in made
    inode = (stack.photos / "albums/summer").stat().st_ino
    done = stack.succeed("drill", "--yes")
    assert "drill (all) succeeded" in done
    assert (stack.photos / "albums/summer").stat().st_ino == inode
    assert not (stack.photos / ".quiesce-drill").exists()
    assert (stack.photos / "thumbs/summer").read_text() == "small"
    assert stack.sql("SELECT n FROM kept") == "1"
    assert list(stack.folder.glob("backups/.isolated/2*")) == []
    assert "verified" in stack.succeed("verify", "--restore")


def test_a_cold_set_holds_the_servers_folder_and_brings_it_back(stack: FolderStack) -> None:
    """The data directory is a bind mount, as published stacks have it."""
    stack.succeed("backup", "--mode", "cold")
    made = stack.sets()[-1]
    manifest = stack.manifest(made)
    assert [c["volume"] for c in manifest["clusters"]] == ["postgres"]
    assert (made / "paths/postgres.0.tar.zst").is_file()
    stack.sql("INSERT INTO kept VALUES (2)")
    stack.succeed("restore", "--file", made.name, "--yes")
    assert stack.sql("SELECT n FROM kept") == "1"


def test_nuke_empties_the_servers_folder_and_no_other(stack: FolderStack) -> None:
    """The set from before brings the database back."""
    stack.succeed("backup", "--only", "app")
    made = stack.sets()[-1].name
    stack.succeed("nuke", "--confirm", "NUKE core")
    assert list((stack.folder / "postgres").iterdir()) == []
    assert (stack.photos / "albums/summer").read_text() == "beach"
    stack.succeed("up")
    stack.succeed("restore", "--file", made, "--yes")
    assert stack.sql("SELECT n FROM kept") == "1"


def test_clean_all_never_touches_a_folder_that_is_not_marked(stack: FolderStack) -> None:
    """It says what it keeps; what it removes comes back from a set."""
    stack.succeed("backup")
    made = stack.sets()[-1].name
    file = stack.folder / "stack.yaml"
    file.write_text(
        file.read_text().replace("{path: ./photos, ", "{path: ./photos, clean: cache, ")
    )
    done = stack.inv("clean-all", "--confirm", "DELETE EVERYTHING")
    assert done.returncode == 0, done.stderr
    assert f"kept: folder {stack.outside}" in done.stdout + done.stderr
    assert os.listdir(stack.outside) == ["from afar"]
    assert os.listdir(stack.folder / "postgres") == []
    assert os.listdir(stack.photos) == []
    stack.succeed("up", "--service", "db")
    stack.succeed("restore", "--file", made, "--yes")
    assert (stack.photos / "albums/summer").read_text() == "beach"
    assert stack.sql("SELECT n FROM kept") == "1"
