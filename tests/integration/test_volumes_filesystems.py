"""Two levels on every file system for which they are claimed, each on a disk of its own."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.adapters.volumes.archive import PROVEN_FILESYSTEMS
from quiesce.adapters.volumes.io import VolumeFiles
from tests.integration.test_volumes_levels import archive, assert_restores, run_trial
from tests.integration.volumes_support import (
    age,
    describe,
    files_of,
    make_tree,
    needs_root,
    private_disk,
    two_levels_hold,
)
from tests.support.sampling import require_in_sample

SEEDS = range(2000, 2010)
#: What `mkfs` calls each file system, and what `stat -f` does.
KINDS = {"ext4": "ext2/ext3", "xfs": "xfs", "btrfs": "btrfs"}


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of this kind; volume, set and what is restored are all on it."""
    with private_disk(request.param) as root:
        (root / "live").mkdir()
        (root / "staging" / "set" / "volumes").mkdir(parents=True)
        yield root


@pytest.fixture
def files(disk: Path) -> Iterator[VolumeFiles]:
    """The adapter onto folders of the disk."""
    adapter = files_of(disk / "staging")
    yield adapter
    adapter.close()


def test_no_file_system_is_claimed_that_is_not_tried_here() -> None:
    """A new one needs its row."""
    assert set(KINDS.values()) == PROVEN_FILESYSTEMS


@needs_root
def test_every_kind_of_entry_comes_back_from_two_levels(disk: Path, files: VolumeFiles) -> None:
    """Names, links, holes, attributes, owners and times."""
    live, set_ = disk / "live", disk / "staging" / "set"
    assert two_levels_hold(live)
    make_tree(live)
    age(live)
    archive(files, live, 0, set_)
    (live / "new").write_text("x")
    (live / "private").unlink()
    (live / "folder").rename(live / "renamed")
    record = archive(files, live, 1, set_)
    assert len(record.levels) == 2
    assert_restores(files, set_, record, describe(live))


@needs_root
@pytest.mark.parametrize("seed", SEEDS)
def test_a_tree_that_changes_during_level_0_comes_back(
    disk: Path, files: VolumeFiles, seed: int, everything: bool
) -> None:
    """Random changes of every kind, restored by plain tools and by Quiesce, compared whole."""
    require_in_sample("trees on disks", seed, SEEDS, 3, all_of_them=everything)
    run_trial(files, disk / "live", disk / "staging" / "set", seed)


@needs_root
def test_a_write_through_a_map_that_was_open_before_level_0_is_in_level_1(
    disk: Path, files: VolumeFiles
) -> None:
    """The page was dirty before T0, so without a sync its next write would not date the file."""
    live, set_ = disk / "live", disk / "staging" / "set"
    path = live / "mapped"
    path.write_bytes(bytes(4096))
    (live / "other").write_bytes(bytes(4096))
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
        content[0] = 1
        age(live)  # the rule allows two seconds; what was dirty longer ago must be caught too
        archive(files, live, 0, set_)
        content[0] = 2
        record = archive(files, live, 1, set_)
        assert len(record.levels) == 2
        assert_restores(files, set_, record, describe(live))
