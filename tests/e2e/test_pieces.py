"""One file or folder of a volume restored, by the commands people type."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.app.wiring import end_host_processes
from tests.support.place import ONE_VOLUME, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A stack whose volume holds two folders, and a set of that."""
    made = Place(tmp_path, ONE_VOLUME)
    try:
        made.succeed("up")
        for folder in ("2024", "2025"):
            (made.volume("media") / folder).mkdir()
            (made.volume("media") / folder / "photo").write_text(f"of {folder}")
        made.succeed("backup")
        yield made
    finally:
        end_host_processes(made.folder)


def test_a_folder_that_was_deleted_comes_back_alone(place: Place) -> None:
    """What else changed since stays as it is, and the way back is there as always."""
    media = place.volume("media")
    (media / "2024" / "photo").unlink()
    (media / "2024").rmdir()
    (media / "2025" / "photo").write_text("newer")
    wanted = ["restore", "--only", "media", "--path", "2024/", "--yes"]
    said = place.succeed(*wanted, "--file", "latest")
    assert "1 file" in said or "2 files" in said, said
    assert (media / "2024" / "photo").read_text() == "of 2024"
    assert (media / "2025" / "photo").read_text() == "newer"
    assert sorted(path.name for path in media.iterdir()) == ["2024", "2025"]
    assert place.running() == {"web"}
    place.succeed("undo-restore", "--yes")
    assert sorted(path.name for path in media.iterdir()) == ["2025"]


def test_a_name_that_is_no_utf_8_is_restored_and_said(place: Place) -> None:
    """On the command line, in the plan, the journal, the log of restores and an error."""
    media = os.fsencode(place.volume("media"))
    odd = os.fsdecode(b"odd\xff \\n")
    Path(os.fsdecode(media), odd).mkdir()
    file = Path(os.fsdecode(media), odd, "f")
    file.write_text("one")
    place.succeed("backup")
    file.write_text("two")
    wanted = ["restore", "--file", "latest", "--only", "media", "--yes", "--path"]
    assert "odd" in place.succeed(*wanted, f"{odd}/f", "--dry-run")
    place.succeed(*wanted, f"{odd}/f")
    assert file.read_text() == "one"
    missing = place.inv(*wanted, f"{odd}x", "--json")
    assert missing.returncode == 3, missing.stderr
    assert "unexpected" not in missing.stderr
    place.succeed("undo-restore", "--yes")
    assert file.read_text() == "two"
    place.succeed("report", "--html")


def test_what_is_not_in_the_set_changes_nothing(place: Place) -> None:
    """Exit 3, with the reason; the service never stopped."""
    ended = place.inv("restore", "--only", "media", "--path", "2023", "--file", "latest", "--yes")
    assert ended.returncode == 3, ended.stderr
    assert "there is no 2023 in the set" in ended.stderr
    assert sorted(path.name for path in place.volume("media").iterdir()) == ["2024", "2025"]
    assert place.running() == {"web"}


def test_what_has_no_place_in_the_volume_changes_nothing(place: Place) -> None:
    """Said before anything stops: the folder that it would be put into is gone."""
    media = place.volume("media")
    (media / "2024" / "photo").unlink()
    (media / "2024").rmdir()
    wanted = ["restore", "--only", "media", "--path", "2024/photo", "--yes"]
    ended = place.inv(*wanted, "--file", "latest")
    assert ended.returncode == 3, ended.stderr
    assert "there is no folder 2024 in the volume" in ended.stderr
    assert "stop web" not in ended.stderr + ended.stdout
    assert sorted(path.name for path in media.iterdir()) == ["2025"]
    assert "stop web" in place.succeed(*wanted[:-2], "2024", "--yes", "--file", "latest")
