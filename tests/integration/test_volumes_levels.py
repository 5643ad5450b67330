"""Two-level archives of real folders: what is archived while it changes comes back as it was."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from quiesce.adapters.volumes import open_files
from quiesce.adapters.volumes.io import VolumeFiles
from quiesce.errors import QuiesceError
from quiesce.model import VolumeRecord
from tests.integration.volumes_support import (
    Churn,
    access_list,
    age,
    as_user,
    assert_same,
    churning,
    describe,
    files_of,
    make_tree,
    members,
    needs_root,
    private_disk,
    require_two_levels,
    restore,
    restore_by_hand,
    silent,
    small_disk,
    volume,
)
from tests.support.sampling import require_in_sample
from tests.unit.test_exclusion import matches, paths, patterns


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """The folder of a volume, empty."""
    folder = tmp_path / "live"
    folder.mkdir()
    return folder


@pytest.fixture
def set_(tmp_path: Path) -> Path:
    """The folder of a set in the making, below the staging folder."""
    folder = tmp_path / "staging" / "set"
    (folder / "volumes").mkdir(parents=True)
    return folder


@pytest.fixture
def files(set_: Path) -> Iterator[VolumeFiles]:
    """The adapter; nothing of its scratch files may be left when it is closed."""
    adapter = files_of(set_.parent)
    yield adapter
    adapter.close()
    assert [path.name for path in set_.parent.iterdir()] == ["set"]


def archive(files: VolumeFiles, root: Path, level: int, set_: Path, *exclude: str) -> VolumeRecord:
    """Archive one level of the volume in this folder."""
    return files.archive(volume(root), level, set_, "volumes/media", exclude, silent)


def assert_restores(
    files: VolumeFiles,
    set_: Path,
    record: VolumeRecord,
    expected: dict[bytes, tuple[object, ...]],
) -> None:
    """Both ways of restoring bring back exactly what is expected."""
    by_hand, ours = set_.parent.parent / "by-hand", set_.parent.parent / "ours"
    for folder in (by_hand, ours):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    restore_by_hand(set_, record, by_hand)
    assert_same(expected, by_hand)
    (ours / "old").write_text("what was there before")
    restore(files, set_, record, volume(ours))
    assert_same(expected, ours)


def test_every_kind_of_entry_comes_back_from_a_single_level(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """Content, owners, modes, times, attributes, ACLs, capabilities, links, holes, odd names."""
    make_tree(live)
    expected = describe(live)
    record = archive(files, live, 0, set_)
    assert record.levels == ("volumes/media.0.tar.zst",)
    assert record.gone is None
    assert_restores(files, set_, record, expected)


def test_every_kind_of_entry_comes_back_when_all_of_it_changed(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """Level 0 of an empty volume, level 1 of everything there is."""
    archive(files, live, 0, set_)
    make_tree(live)
    record = archive(files, live, 1, set_)
    assert_restores(files, set_, record, describe(live))


def test_archives_and_lists_belong_to_the_caller_alone(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """Mode 0600, whatever the umask."""
    make_tree(live)
    old = os.umask(0)
    try:
        archive(files, live, 0, set_)
        archive(files, live, 1, set_)
    finally:
        os.umask(old)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (set_ / "volumes").iterdir()}
    assert modes == dict.fromkeys(("media.0.tar.zst", "media.1.tar.zst", "media.gone"), 0o600)


def run_trial(files: VolumeFiles, live: Path, set_: Path, seed: int) -> None:
    """Archive a tree that changes, restore it in both ways, and compare."""
    churn = Churn(live, seed)
    churn.seed(150)
    with churning(churn):
        archive(files, live, 0, set_)
    for _ in range(20):
        churn.step()
    expected = describe(live)
    record = archive(files, live, 1, set_)
    assert_restores(files, set_, record, expected)
    files.close()


@pytest.mark.parametrize("seed", range(20))
def test_a_tree_that_changes_during_level_0_comes_back_as_it_was_at_level_1(
    files: VolumeFiles, live: Path, set_: Path, seed: int, everything: bool
) -> None:
    """Random changes of every kind, restored by plain tools and by Quiesce, compared whole."""
    require_in_sample("trees", seed, range(20), 6, all_of_them=everything)
    run_trial(files, live, set_, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_two_hundred_trees_that_change_during_level_0_come_back(
    files: VolumeFiles, live: Path, set_: Path, seed: int
) -> None:
    """The same with two hundred other seeds."""
    run_trial(files, live, set_, seed)


def test_level_1_holds_only_what_changed(files: VolumeFiles, live: Path, set_: Path) -> None:
    """Untouched files of level 0 are not read again inside the window."""
    require_two_levels(live)
    for number in range(50):
        (live / f"f{number}").write_text("x")
    age(live)
    archive(files, live, 0, set_)
    (live / "f7").write_text("changed")
    (live / "f8").unlink()
    record = archive(files, live, 1, set_)
    assert members(set_ / record.levels[1]) == ["./", "./f7"]
    assert record.gone is not None
    assert (set_ / record.gone).read_bytes() == b"./f8\0"
    assert (49, 48 + len("changed")) == (record.files, record.bytes)


def test_what_is_open_for_writing_when_level_0_begins_is_in_level_1(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """One write may have begun long before and still copy; the kernel dated it when it began.

    By inode, so that every name of the file is taken; what is only read is not."""
    require_two_levels(live)
    for name in ("held", "mapped", "read", "untouched"):
        (live / name).write_bytes(bytes(4096))
    (live / "alias").hardlink_to(live / "held")
    age(live)
    with contextlib.ExitStack() as stack:
        stack.enter_context((live / "read").open("rb"))
        stack.enter_context((live / "held").open("r+b"))
        with (live / "mapped").open("r+b") as stream:
            stack.enter_context(mmap.mmap(stream.fileno(), 0))
        archive(files, live, 0, set_)
    record = archive(files, live, 1, set_)
    assert members(set_ / record.levels[1]) == ["./", "./alias", "./held", "./mapped"]
    assert_restores(files, set_, record, describe(live))


@needs_root
def test_a_writer_in_another_mount_namespace_is_seen(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """As in a container: the path there is another one, or none."""
    require_two_levels(live)
    (live / "held").write_text("x")
    (live / "untouched").write_text("x")
    age(live)
    inside = 'mount --bind "$1" /mnt && exec 3<>/mnt/held && umount -l /mnt && echo && read end'
    writer = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", inside, "writer", live],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"\n"
        archive(files, live, 0, set_)
        writer.communicate(b"end\n")
    record = archive(files, live, 1, set_)
    assert members(set_ / record.levels[1]) == ["./", "./held"]


def test_where_writers_cannot_be_seen_all_of_the_volume_is_taken_again(
    files: VolumeFiles, live: Path, set_: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is said why."""
    require_two_levels(live)
    (live / "file").write_text("x")
    age(live)
    monkeypatch.setattr(open_files, "_sees_all", lambda _: False)
    monkeypatch.setattr(open_files, "_is_closed", lambda _: False)
    archive(files, live, 0, set_)
    record = archive(files, live, 1, set_)
    assert record.levels == ("volumes/media.1.tar.zst",)
    (said,) = files.remarks(volume(live))
    assert "processes of other users" in said
    assert_restores(files, set_, record, describe(live))


@needs_root
def test_a_write_through_a_map_that_was_open_before_level_0_is_in_level_1(
    files: VolumeFiles, set_: Path
) -> None:
    """The page was dirty before T0, so without a sync its next write would not date the file."""
    with private_disk() as disk:
        path = disk / "mapped"
        path.write_bytes(bytes(4096))
        with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
            content[0] = 1
            age(disk)  # the rule allows two seconds; what was dirty longer ago must be caught too
            archive(files, disk, 0, set_)
            content[0] = 2
            record = archive(files, disk, 1, set_)
            assert len(record.levels) == 2
            assert_restores(files, set_, record, describe(disk))


def test_a_file_replaced_by_one_of_the_same_size_and_age_is_in_level_1(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """Two folders change places: names, sizes and times stay, only the inodes tell."""
    for name, content in (("blue", b"old one"), ("green", b"new one")):
        (live / name).mkdir()
        (live / name / "file").write_bytes(content)
        os.utime(live / name / "file", ns=(10**18, 10**18))
    age(live)
    archive(files, live, 0, set_)
    (live / "blue").rename(live / "aside")
    (live / "green").rename(live / "blue")
    (live / "aside").rename(live / "green")
    record = archive(files, live, 1, set_)
    assert_restores(files, set_, record, describe(live))


def test_the_names_of_one_file_stay_names_of_one_file(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """A folder with one of two hard links is renamed: its link is new, the other untouched."""
    (live / "before").mkdir()
    (live / "before" / "name").write_text("shared")
    (live / "other").hardlink_to(live / "before" / "name")
    age(live)
    archive(files, live, 0, set_)
    (live / "before").rename(live / "after")
    record = archive(files, live, 1, set_)
    assert_restores(files, set_, record, describe(live))


@pytest.mark.parametrize("before", ["file", "folder", "link to a folder", "link", "fifo"])
@pytest.mark.parametrize("after", ["file", "folder", "link to a folder", "link", "fifo"])
def test_an_entry_that_becomes_another_kind_comes_back(
    files: VolumeFiles, live: Path, set_: Path, before: str, after: str
) -> None:
    """Extraction of level 1 never follows or keeps what level 0 had under that name."""
    (live / "elsewhere").mkdir()
    make_kind(live / "x", before)
    age(live)
    archive(files, live, 0, set_)
    if (live / "x").is_dir() and not (live / "x").is_symlink():
        shutil.rmtree(live / "x")
    else:
        (live / "x").unlink()
    make_kind(live / "x", after)
    record = archive(files, live, 1, set_)
    assert_restores(files, set_, record, describe(live))


def test_attributes_taken_from_a_folder_do_not_come_back(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """An archive cannot say that an attribute is gone, so the folder is made anew."""
    for name in ("noted", "shared", "replaced", "noted and shared"):
        (live / name / "below").mkdir(parents=True)
        (live / name / "below" / "file").write_text("x")
    os.setxattr(live / "noted", "user.note", b"1")
    os.setxattr(live / "replaced", "user.note", b"1")
    os.setxattr(live / "noted and shared", "user.note", b"1")
    os.setxattr(live / "noted and shared", "system.posix_acl_access", access_list(user=4000))
    os.setxattr(live / "shared", "system.posix_acl_access", access_list(user=4000))
    os.setxattr(live / "shared", "system.posix_acl_default", access_list(user=4000))
    age(live)
    archive(files, live, 0, set_)
    os.removexattr(live / "noted", "user.note")
    os.removexattr(live / "noted and shared", "user.note")
    shutil.rmtree(live / "replaced")
    (live / "replaced").mkdir()
    (live / "replaced" / "file").write_text("in another folder of that name")
    os.removexattr(live / "shared", "system.posix_acl_access")
    os.removexattr(live / "shared", "system.posix_acl_default")
    record = archive(files, live, 1, set_)
    assert_restores(files, set_, record, describe(live))


def test_sockets_and_our_own_folders_are_left_out(
    files: VolumeFiles, live: Path, set_: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket is a process's, `.quiesce-*` in the root is ours; the same name deeper is not."""
    (live / "kept" / ".quiesce-mine").mkdir(parents=True)
    (live / ".quiesce-20260101000000-0000" / "old").mkdir(parents=True)
    monkeypatch.chdir(live)  # the path of a socket has little room
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        expected = describe(live)
        archive(files, live, 0, set_)
        record = archive(files, live, 1, set_)
        assert (2, 0) == (record.files, record.bytes)
        size = files.measure(volume(live))
    assert (2, 0) == (size.files, size.bytes)
    assert_restores(files, set_, record, expected)


@pytest.mark.parametrize("levels", [1, 2])
def test_what_is_excluded_is_in_no_level_and_in_no_count(
    files: VolumeFiles, live: Path, set_: Path, levels: int
) -> None:
    """Both levels follow one rule, and the record says how much each pattern leaves out."""
    kept = ["kept", "deep/cache/x/kept.txt", "deep/top", "keep.dat"]
    left = ["a.tmp", "deep/b.tmp", "deep/tmp.d/c", "cache/y", "top/z", "other.dat", "odd\n", "odd "]
    for name in [*kept, *left]:
        (live / name).parent.mkdir(parents=True, exist_ok=True)
        (live / name).write_text("xy")
    patterns_ = ("**/*.tmp", "**/tmp.d", "./cache", "top/", "[^k]*.dat", "odd?")
    record = archive(files, live, 0, set_, *patterns_)
    if levels == 2:
        (live / "late.tmp").write_text("xy")
        (live / "cache" / "late").write_text("xy")
        record = archive(files, live, 1, set_, *patterns_)
    late = int(levels == 2)
    assert [part.pattern for part in record.excluded] == list(patterns_)
    # A folder that matches counts, and all that is in it.
    assert [part.files for part in record.excluded] == [2 + late, 2, 2 + late, 2, 1, 2]
    assert [part.bytes for part in record.excluded] == [4 + 2 * late, 2, 2 + 2 * late, 2, 2, 4]
    assert not set(left) & {name.removeprefix("./") for name in members(set_ / record.levels[0])}
    target = set_.parent.parent / "target"
    target.mkdir()
    restore(files, set_, record, volume(target))
    assert set(kept) == {p for p in tree_of(target) if (target / p).is_file()}


@pytest.mark.parametrize("levels", [1, 2])
def test_what_appears_while_tar_walks_and_is_excluded_does_not_come_back(
    files: VolumeFiles,
    live: Path,
    set_: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    levels: int,
) -> None:
    """Tar was told names, and this is a new one: it is taken out again, by hand as well."""
    (live / "cache").mkdir()
    (live / "cache" / "early").write_text("x")
    (live / "kept").write_text("x")
    # Stands before tar: it makes the late entries when level 0 has listed what there is.
    late = tmp_path / "bin" / "tar"
    late.parent.mkdir()
    late.write_text(
        f"#!/bin/sh\nPATH=${{PATH#*:}}\ncd {live} && [ -e cache/late ] || "
        '{ echo late >cache/late; ln cache/late linked; }\nexec tar "$@"\n'
    )
    late.chmod(0o755)
    # Proven suitable with the real one.
    files.begin(volume(live))
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{late.parent}:{os.environ['PATH']}")
        record = archive(files, live, 0, set_, "cache/*")
    if levels == 2:
        record = archive(files, live, 1, set_, "cache/*")
    assert record.gone is not None
    assert b"./cache/late\0" in (set_ / record.gone).read_bytes()
    by_hand, ours = tmp_path / "by-hand", tmp_path / "ours"
    by_hand.mkdir()
    ours.mkdir()
    restore_by_hand(set_, record, by_hand)
    restore(files, set_, record, volume(ours))
    for target in (by_hand, ours):
        assert tree_of(target) == {"cache", "kept", "linked"}
        assert (target / "linked").read_text() == "late\n"


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=some.data())
def test_both_levels_leave_out_what_the_rule_says(data: some.DataObject) -> None:
    """Any patterns, any tree: what comes back is what the documented rule keeps."""
    chosen = data.draw(some.lists(patterns, min_size=1, max_size=3))
    trees = [data.draw(some.lists(paths, max_size=8)) for _ in range(2)]
    with tempfile.TemporaryDirectory() as base:
        live, staging = Path(base, "live"), Path(base, "staging")
        live.mkdir()
        (staging / "set" / "volumes").mkdir(parents=True)
        files = files_of(staging)
        for level, tree in enumerate(trees):
            for path in tree:
                with contextlib.suppress(OSError):
                    (live / path).parent.mkdir(parents=True, exist_ok=True)
                    (live / path).write_bytes(b"x")
            record = archive(files, live, level, staging / "set", *chosen)
        everything = tree_of(live)
        kept = {p for p in everything if not any(matches(pattern, p) for pattern in chosen)}
        by_hand, ours = Path(base, "by-hand"), Path(base, "ours")
        by_hand.mkdir()
        ours.mkdir()
        restore_by_hand(staging / "set", record, by_hand)
        restore(files, staging / "set", record, volume(ours))
        assert (tree_of(by_hand), tree_of(ours)) == (kept, kept)
        assert sum(part.files for part in record.excluded) == len(everything) - len(kept)
        assert files.survey(volume(live), chosen).left_out == record.excluded
        files.close()


def tree_of(root: Path) -> set[str]:
    """Every path below a folder, relative to it."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@needs_root
@pytest.mark.parametrize("attribute", ["i", "a"])
def test_what_root_may_not_remove_is_named(files: VolumeFiles, live: Path, attribute: str) -> None:
    """Immutable, or append-only; deep in the volume as well, and nothing else."""
    (live / "folder").mkdir()
    fixed = live / "folder" / os.fsdecode(b"log\xff")
    fixed.write_text("x")
    (live / "folder" / "other").write_text("x")
    (live / "link").symlink_to("folder/other")
    tried = subprocess.run(["chattr", f"+{attribute}", fixed], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"no such attribute on this file system: {tried.stderr.decode().strip()}")
    try:
        assert files.immutable(volume(live)) == (os.fsdecode(b"./folder/log\xff"),)
    finally:
        subprocess.run(["chattr", f"-{attribute}", fixed], check=True)
    assert files.immutable(volume(live)) == ()


def test_a_users_name_like_those_of_restores_is_kept_and_said(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """Archived at both levels, restored, not removed by the exchange, and warned of."""
    (live / ".quiesce-archive").mkdir()
    (live / ".quiesce-archive" / "precious").write_text("x")
    archive(files, live, 0, set_)
    (said,) = files.remarks(volume(live))
    assert ".quiesce-archive" in said
    (live / ".quiesce-late").write_text("x")
    record = archive(files, live, 1, set_)
    assert (3, 2) == (record.files, record.bytes)
    assert_restores(files, set_, record, describe(live))


def test_level_1_without_level_0_is_the_whole_volume(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """One archive, no list of what is gone."""
    make_tree(live)
    record = archive(files, live, 1, set_)
    assert ("volumes/media.1.tar.zst",) == record.levels
    assert record.gone is None
    assert_restores(files, set_, record, describe(live))


def test_a_clock_that_was_set_makes_level_1_the_whole_volume(
    files: VolumeFiles, live: Path, set_: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a step back, what changed since T0 may be dated before it. Level 0 is dropped."""
    make_tree(live)
    archive(files, live, 0, set_)
    earlier = tmp_path / "bin" / "date"
    earlier.parent.mkdir()
    earlier.write_text("#!/bin/sh\nPATH=${PATH#*:}\nexec date -d '1 hour ago' \"$@\"\n")
    earlier.chmod(0o755)
    monkeypatch.setenv("PATH", f"{earlier.parent}:{os.environ['PATH']}")
    record = archive(files, live, 1, set_)
    assert ("volumes/media.1.tar.zst",) == record.levels
    assert not (set_ / "volumes" / "media.0.tar.zst").exists()
    assert_restores(files, set_, record, describe(live))


@needs_root
def test_a_file_system_where_the_rule_is_not_proven_is_archived_whole(
    files: VolumeFiles, set_: Path
) -> None:
    """A tmpfs does not date writes through a map at all."""
    with small_disk("16M") as disk:
        (disk / "file").write_text("x")
        archive(files, disk, 0, set_)
        record = archive(files, disk, 1, set_)
        assert ("volumes/media.1.tar.zst",) == record.levels
        assert_restores(files, set_, record, describe(disk))


@needs_root
def test_a_volume_that_was_unmounted_between_the_levels_is_not_taken_for_empty(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """The folder below the mount point is another one, whatever it holds."""
    require_two_levels(live)
    (live / "volume").mkdir()
    (live / "below").mkdir()
    (live / "volume" / "file").write_text("precious")
    subprocess.run(["mount", "--bind", live / "volume", live / "below"], check=True)
    try:
        archive(files, live / "below", 0, set_)
    finally:
        subprocess.run(["umount", live / "below"], check=True)
    with pytest.raises(QuiesceError, match="no longer the same folder"):
        archive(files, live / "below", 1, set_)
    assert not (set_ / "volumes" / "media.1.tar.zst").exists()


@needs_root
@pytest.mark.parametrize("level", [0, 1])
def test_a_device_node_fails_the_backup_because_it_would_fail_the_restore(
    files: VolumeFiles, live: Path, set_: Path, level: int
) -> None:
    """The error names it, and no archive is left."""
    if level == 1:
        archive(files, live, 0, set_)
    os.mknod(live / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    with pytest.raises(QuiesceError, match="device") as caught:
        archive(files, live, level, set_)
    assert caught.value.details == ("./null",)
    assert not (set_ / "volumes" / f"media.{level}.tar.zst").exists()


@needs_root
def test_device_nodes_come_back_where_they_are_allowed(set_: Path, live: Path) -> None:
    """A type, two numbers."""
    os.mknod(live / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    files = files_of(set_.parent, allow_devices=True)
    record = archive(files, live, 0, set_)
    assert_restores(files, set_, record, describe(live))
    files.close()


def test_a_file_that_grows_while_level_1_reads_it_is_an_error(
    files: VolumeFiles, live: Path, set_: Path
) -> None:
    """Somebody still writes: the set would show no instant. Nothing is left of level 1."""
    path = live / "log"
    path.write_bytes(os.urandom(1 << 20) * 40)
    archive(files, live, 0, set_)
    stop = threading.Event()

    def append() -> None:
        with path.open("ab") as stream:
            while not stop.wait(0.0005):
                stream.write(b"x")
                stream.flush()

    thread = threading.Thread(target=append)
    thread.start()
    try:
        with pytest.raises(QuiesceError, match="archiving volume") as caught:
            archive(files, live, 1, set_)
    finally:
        stop.set()
        thread.join()
    assert any("file changed as we read it" in line for line in caught.value.details)
    assert not (set_ / "volumes" / "media.1.tar.zst").exists()


@needs_root
def test_a_full_target_is_an_error_that_leaves_nothing(live: Path) -> None:
    """The compressor fails, tar sees it, and the half archive is removed."""
    (live / "noise").write_bytes(os.urandom(4 << 20))
    with small_disk("1M") as disk:
        (disk / "set").mkdir()
        files = files_of(disk)
        with pytest.raises(QuiesceError, match="archiving volume") as caught:
            files.archive(volume(live), 0, disk / "set", "media", (), silent)
        assert "full" in caught.value.details[-1]
        assert "free some space" in caught.value.hint
        assert list((disk / "set").iterdir()) == []
        files.close()


@needs_root
def test_a_compressor_that_is_killed_is_an_error(
    files: VolumeFiles, live: Path, set_: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tar runs the compressor itself, so its end cannot go unseen."""
    (live / "file").write_text("x")
    broken = tmp_path / "bin" / "zstd"
    broken.parent.mkdir()
    broken.write_text(
        "#!/bin/sh\ncase $1 in --version) exit 0;; esac\ncat >/dev/null; kill -9 $$\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    with pytest.raises(QuiesceError, match="archiving volume"):
        archive(files, live, 0, set_)
    assert list((set_ / "volumes").iterdir()) == []


@needs_root
def test_an_ordinary_user_backs_up_and_restores_what_is_theirs() -> None:
    """The host runtime needs no root; owners come back because they are the user's own."""

    def work(base: Path) -> str:
        live, set_, target = make_folders(base)
        files = files_of(set_.parent)
        files.archive(volume(live), 0, set_, "media", (), silent)
        (live / "folder" / "late").write_text("x")
        expected = describe(live)
        record = files.archive(volume(live), 1, set_, "media", (), silent)
        restore(files, set_, record, volume(target))
        files.close()
        return "same" if expected == describe(target) else "different"

    with folder_of(65534) as base:
        assert as_user(65534, lambda: work(base)) == "same"


@needs_root
@pytest.mark.parametrize("level", [0, 1])
def test_what_a_user_may_not_read_fails_the_backup_at_either_level(level: int) -> None:
    """Nothing is silently missing."""

    def work(base: Path) -> str:
        live, set_, _ = make_folders(base)
        (live / "folder").chmod(0)
        files = files_of(set_.parent)
        try:
            files.archive(volume(live), level, set_, "media", (), silent)
        except QuiesceError as error:
            return f"{error.hint} {error.details} {list(set_.iterdir())}"
        finally:
            files.close()
        return "no error"

    with folder_of(65534) as base:
        said = as_user(65534, lambda: work(base))
    assert "Permission denied" in said
    assert "right to read" in said or "may read" in said
    assert said.endswith("[]")


def make_folders(base: Path) -> tuple[Path, Path, Path]:
    """Make a volume with one of each kind of entry, a set and an empty volume."""
    live, set_, target = base / "live", base / "staging" / "set", base / "target"
    for folder in (live, set_, target):
        folder.mkdir(parents=True)
    make_tree(live)
    return live, set_, target


@contextlib.contextmanager
def folder_of(user: int) -> Iterator[Path]:
    """A folder that belongs to this user, below one that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, user, user)
        yield Path(folder)


def make_kind(path: Path, kind: str) -> None:
    """Make an entry of this kind."""
    if kind == "file":
        path.write_text("a file")
    elif kind == "folder":
        path.mkdir()
        (path / "inside").write_text("in a folder")
    elif kind == "link to a folder":
        path.symlink_to("elsewhere")
    elif kind == "link":
        path.symlink_to("nowhere")
    else:
        os.mkfifo(path)
