"""Emptying a folder of the stack, with everything in it that should lead out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quiesce.adapters.volumes.empty_folder import empty_folder
from quiesce.errors import QuiesceError


def test_all_goes_but_the_folder_and_what_links_point_at(tmp_path: Path) -> None:
    """Hidden names, folders, links and pipes go; their targets stay, and so do owner and mode."""
    logs = tmp_path / "stack" / "logs"
    (logs / "deep" / "er").mkdir(parents=True)
    (logs / "deep" / "er" / "file").write_text("x")
    (logs / ".hidden").write_text("x")
    os.mkfifo(logs / "pipe")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (logs / "link").symlink_to(outside)
    (logs / "deep" / "link").symlink_to(outside / "kept")
    logs.chmod(0o2775)
    before = logs.stat()
    assert empty_folder(tmp_path / "stack", Path("logs")) == 4
    assert list(logs.iterdir()) == []
    assert (outside / "kept").read_text() == "x"
    after = logs.stat()
    assert (before.st_ino, before.st_mode, before.st_uid) == (
        after.st_ino,
        after.st_mode,
        after.st_uid,
    )
    assert empty_folder(tmp_path / "stack", Path("logs")) == 0


@pytest.mark.parametrize("way", ["link", "link/logs", "file"])
def test_a_link_or_file_in_the_way_is_an_error(tmp_path: Path, way: str) -> None:
    """Somebody put it there after the check: nothing is removed behind it."""
    stack, outside = tmp_path / "stack", tmp_path / "outside"
    (outside / "logs").mkdir(parents=True)
    (outside / "logs" / "kept").write_text("x")
    stack.mkdir()
    (stack / "link").symlink_to(outside)
    (stack / "file").write_text("x")
    with pytest.raises(QuiesceError, match="is not a folder"):
        empty_folder(stack, Path(way))
    assert (outside / "logs" / "kept").exists()


@pytest.mark.parametrize("way", ["..", "logs/../..", "/etc", "."])
def test_a_way_out_is_refused(tmp_path: Path, way: str) -> None:
    """The configuration refuses these before; this is the last door."""
    (tmp_path / "kept").write_text("x")
    with pytest.raises(QuiesceError, match="is not below"):
        empty_folder(tmp_path, Path(way))
    assert (tmp_path / "kept").exists()


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    """Whether the folder is missing or one above it; nothing is made."""
    assert empty_folder(tmp_path, Path("backend/logs")) == 0
    assert list(tmp_path.iterdir()) == []
