"""Another file system that is mounted in a folder of `paths`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from quiesce.observed import VolumeState
from tests.integration.volumes_support import (
    age,
    files_of,
    needs_root,
    require_two_levels,
    silent,
)


@needs_root
def test_a_mount_in_a_folder_is_named_archived_and_never_trusted(tmp_path: Path) -> None:
    """Its content is in the set, but level 1 is whole: its times may be another machine's."""
    root, inner, made = tmp_path / "photos", tmp_path / "photos/a b/disk", tmp_path / "set"
    inner.mkdir(parents=True)
    made.mkdir()
    require_two_levels(root)
    (root / "old").write_text("old")
    state = VolumeState("photos", str(root), True, "bind", {}, root, ())
    files = files_of(tmp_path / "staging")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", inner], check=True)
    try:
        (inner / "far").write_text("far")
        age(root)
        assert files.mount_points(state) == ("./a b/disk",)
        files.archive(state, 0, made, "paths/photos", (), silent)
        record = files.archive(state, 1, made, "paths/photos", (), silent)
        assert record.levels == ("paths/photos.1.tar.zst",)
        assert any("mount point" in said for said in files.remarks(state))
        assert (record.files, record.bytes) == (4, 6)
    finally:
        subprocess.run(["umount", inner], check=True)
        files.close()
    assert files.mount_points(state) == ()
    files.archive(state, 0, made, "paths/again", (), silent)
    assert len(files.archive(state, 1, made, "paths/again", (), silent).levels) == 2
    files.close()


@pytest.mark.parametrize("name", ["photos", "photos-2"])
def test_a_mount_beside_a_folder_is_not_in_it(tmp_path: Path, name: str) -> None:
    """However alike the names are."""
    (tmp_path / name).mkdir()
    state = VolumeState("p", str(tmp_path / name), True, "bind", {}, tmp_path / name, ())
    files = files_of(tmp_path / "staging")
    assert files.mount_points(state) == ()
    files.close()
