"""Staging, exchanging and putting back, killed at every step: wholly old or wholly new."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.errors import QuiesceError
from quiesce.observed import VolumeState
from tests.integration.volumes_killer import Killer
from tests.integration.volumes_support import (
    ODD_NAMES,
    assert_same,
    describe,
    files_of,
    is_root,
    make_tree,
    silent,
    volume,
)
from tests.support.sampling import each_kill

Tree = dict[bytes, tuple[object, ...]]


class Restoring:
    """A live volume, an archive of another content, and what both look like."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.live = base / "live"
        source = base / "source"
        self.staging = base / "staging"
        for folder in (self.live, source, self.staging):
            folder.mkdir(parents=True)
        make_live(self.live)
        make_tree(source)
        self.files = files_of(self.staging)
        record = self.files.archive(volume(source), 0, self.staging, "media", (), silent)
        self.files.close()
        self.archive = self.staging / record.levels[0]
        self.old = describe(self.live)
        self.new = describe(source)

    @property
    def state(self) -> VolumeState:
        return volume(self.live)

    def stage(self) -> None:
        self.files.stage(self.state, "20260101000000-0001", [self.archive], None)
        # Making our folder in the root dates the root, as any other change there would.
        self.old = describe(self.live)

    def swap(self) -> None:
        self.files.swap(self.state, "20260101000000-0001")

    def put_back(self) -> None:
        self.files.put_back(self.state, "20260101000000-0001")

    def finish_swap(self) -> None:
        self.files.finish_swap(self.state, "20260101000000-0001")


def make_live(root: Path) -> None:
    """Content whose names clash with what is restored: same names, other kinds."""
    for name in ODD_NAMES[:4]:
        (root / os.fsdecode(name)).mkdir()
        (root / os.fsdecode(name) / "inside").write_text("old")
    (root / "folder").write_text("was a file")
    (root / "relative").mkdir()
    (root / "only old").symlink_to("folder")
    (root / ".hidden").write_text("old")
    root.chmod(0o3711)
    os.setxattr(root, "user.old", b"1")
    if is_root():
        os.chown(root, 11, 12)
    os.utime(root, ns=(1, 1_555_555_555_555_555_555))


@pytest.fixture
def restoring(tmp_path: Path) -> Iterator[Restoring]:
    """A volume that something else is about to be restored into."""
    made = Restoring(tmp_path / "first")
    yield made
    made.files.close()


def test_an_exchange_makes_the_staged_content_live(restoring: Restoring) -> None:
    """The root's owner, mode and times change with it; the old content is kept aside."""
    restoring.stage()
    assert_same(restoring.old, restoring.live)
    restoring.swap()
    assert_new(restoring)
    assert (
        restoring.live / ".quiesce-20260101000000-0001" / "old" / ".hidden"
    ).read_text() == "old"


def assert_new(restoring: Restoring) -> None:
    """Live is the restored content; an attribute only the old root had may stay on it."""
    found = describe(restoring.live)
    root = list(found[b"."])
    root[5] = {name: v for name, v in root[5].items() if name != "user.old"}  # type: ignore[attr-defined]
    found[b"."] = tuple(root)
    assert restoring.new == found


def test_putting_back_makes_the_old_content_live(restoring: Restoring) -> None:
    """To the root's time stamp; and the exchange can be done again."""
    restoring.stage()
    restoring.swap()
    restoring.put_back()
    assert_same(restoring.old, restoring.live)
    restoring.swap()
    assert_new(restoring)


def test_every_call_may_be_made_twice(restoring: Restoring) -> None:
    """Each states a goal."""
    restoring.put_back()
    restoring.stage()
    restoring.stage()
    restoring.put_back()
    restoring.swap()
    restoring.swap()
    assert_new(restoring)
    restoring.put_back()
    restoring.put_back()
    assert_same(restoring.old, restoring.live)
    restoring.finish_swap()
    restoring.finish_swap()
    assert not (restoring.live / ".quiesce-20260101000000-0001").exists()


def test_settling_removes_our_folder_and_nothing_else(restoring: Restoring) -> None:
    """Another run's folder stays, and the root keeps its time stamp."""
    restoring.stage()
    restoring.swap()
    (restoring.live / ".quiesce-20260101000000-0002").mkdir()
    os.utime(restoring.live, ns=(1, 1_666_666_666_666_666_666))
    restoring.finish_swap()
    assert not (restoring.live / ".quiesce-20260101000000-0001").exists()
    assert (restoring.live / ".quiesce-20260101000000-0002").is_dir()
    assert restoring.live.stat().st_mtime_ns == 1_666_666_666_666_666_666


def test_what_is_staged_lies_in_a_folder_for_the_owner_alone(restoring: Restoring) -> None:
    """A private file must not be readable beside a root that everybody may enter."""
    restoring.stage()
    folder = restoring.live / ".quiesce-20260101000000-0001"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_our_folder_is_not_followed(
    restoring: Restoring, tmp_path: Path
) -> None:
    """What a service may have put there leads nowhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "old").mkdir()
    (restoring.live / ".quiesce-20260101000000-0001").symlink_to(outside)
    for call in (restoring.stage, restoring.swap, restoring.put_back, restoring.finish_swap):
        with pytest.raises(QuiesceError, match="volume"):
            call()
    assert [path.name for path in outside.iterdir()] == ["old"]


def test_nothing_is_exchanged_when_nothing_is_staged(restoring: Restoring) -> None:
    """An empty volume is not what anybody asked for."""
    with pytest.raises(QuiesceError) as caught:
        restoring.swap()
    restoring.stage()
    restoring.finish_swap()
    with pytest.raises(QuiesceError):
        restoring.swap()
    assert_same({**restoring.old, b".": describe(restoring.live)[b"."]}, restoring.live)
    assert caught.value.details


def test_a_damaged_archive_is_never_staged_whole(restoring: Restoring) -> None:
    """Cut off in the middle: an error, nothing to exchange, live content untouched."""
    content = restoring.archive.read_bytes()
    restoring.archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(QuiesceError, match="unpacking"):
        restoring.files.stage(restoring.state, "20260101000000-0001", [restoring.archive], None)
    with pytest.raises(QuiesceError):
        restoring.swap()
    restoring.finish_swap()
    assert_same({**restoring.old, b".": describe(restoring.live)[b"."]}, restoring.live)


@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("prefix", ["./", ""])
def test_a_plain_archive_of_another_tool_is_restored(
    restoring: Restoring, compression: str, prefix: str
) -> None:
    """With or without a member for the root and a `./` before the names."""
    source = restoring.base / "source"
    plain = restoring.staging / "old.archive"
    names = [b"."] if prefix else sorted(os.fsencode(p.name) for p in source.iterdir())
    packed = ["--gzip"] if compression == "gzip" else []
    command = ["tar", "-c", "-f", plain, *packed, "--format=posix", "--xattrs", "--acls"]
    command += ["--xattrs-include=*", "-C", source, "--null", "--no-unquote", "-T", "-"]
    subprocess.run(command, input=b"\0".join(names), check=True)
    assert restoring.files.check([plain]) == ()
    restoring.files.stage(restoring.state, "20260101000000-0001", [plain], None)
    restoring.swap()
    found, expected = describe(restoring.live), dict(restoring.new)
    for tree in (found, expected):
        tree.pop(b".")  # the root is the live one's where the archive does not hold it
        sparse = list(tree[b"sparse"])
        sparse[-1] = sparse[-1][:2]  # type: ignore[index]
        tree[b"sparse"] = tuple(sparse)
    assert expected == found


# ------------------------------------------------------------------------ the list of what is gone


def stage_two(restoring: Restoring, gone: bytes) -> None:
    """Stage two levels with this list between them."""
    listed = restoring.staging / "media.gone"
    listed.write_bytes(gone)
    archives = [restoring.archive, restoring.archive]
    restoring.files.stage(restoring.state, "20260101000000-0001", archives, listed)


@pytest.mark.parametrize(
    "name",
    [b"/etc/x", b"../x", b"./../x", b"./folder/../../x", b".", b"./", b"./folder//x", b"folder"],
)
def test_a_list_that_names_what_is_outside_is_refused(restoring: Restoring, name: bytes) -> None:
    """Nothing is removed, nothing becomes live."""
    with pytest.raises(QuiesceError, match="cannot be used"):
        stage_two(restoring, name + b"\0")
    with pytest.raises(QuiesceError):
        restoring.swap()


def test_a_list_that_leads_through_a_link_removes_nothing_outside(
    restoring: Restoring, tmp_path: Path
) -> None:
    """`above` is a symbolic link of the archive that points out of the volume."""
    precious = tmp_path / "first" / "precious"
    precious.write_text("x")
    with pytest.raises(QuiesceError, match="symbolic link"):
        stage_two(restoring, b"./above/precious\0./relative/x\0")
    assert precious.exists()


def test_a_list_that_is_cut_off_is_refused(restoring: Restoring) -> None:
    """Half a name could be another one's."""
    with pytest.raises(QuiesceError, match="cut off"):
        stage_two(restoring, b"./folder/one\0./fol")


# --------------------------------------------------------------------------------- killed anywhere


def clone(restoring: Restoring) -> Restoring:
    """Bring the volume back to how it is before an exchange, something staged."""
    shutil.rmtree(restoring.live)
    restoring.live.mkdir()
    make_live(restoring.live)
    restoring.stage()
    return restoring


@pytest.mark.parametrize("then", ["finish", "undo"])
def test_an_exchange_killed_anywhere_is_finished_or_undone(
    restoring: Restoring, killer: Killer, then: str, everything: bool
) -> None:
    """After each single rename; the opposite call is killed there too."""

    def killed_at(effects: int) -> bool:
        clone(restoring)
        killed = killer.killed_after(effects, restoring.swap)
        if then == "finish":
            restoring.swap()
            assert_new(restoring)
        else:
            killer.killed_after(effects // 2, restoring.put_back)
            restoring.put_back()
            assert_same(restoring.old, restoring.live)
        return killed

    effects = each_kill(f"exchange {then}", killed_at, all_of_them=everything)
    assert effects >= 30, "the exchange was not killed at every rename"


@pytest.mark.parametrize("then", ["finish", "redo"])
def test_an_undoing_killed_anywhere_is_finished_or_redone(
    restoring: Restoring, killer: Killer, then: str, everything: bool
) -> None:
    """From a finished exchange, and what services wrote meanwhile belongs to the new content."""

    def killed_at(effects: int) -> bool:
        clone(restoring)
        restoring.swap()
        (restoring.live / "written since").write_text("x")
        killed = killer.killed_after(effects, restoring.put_back)
        if then == "finish":
            restoring.put_back()
            assert_same(restoring.old, restoring.live)
        else:
            restoring.swap()
            assert (restoring.live / "written since").exists()
            (restoring.live / "written since").unlink()
            if restoring.live.stat().st_mtime_ns != restoring.new[b"."][3]:
                os.utime(restoring.live, ns=(1, restoring.new[b"."][3]))  # type: ignore[arg-type]
            assert_new(restoring)
        return killed

    effects = each_kill(f"undoing {then}", killed_at, all_of_them=everything)
    assert effects >= 30, "the undoing was not killed at every rename"


def test_settling_killed_anywhere_never_lets_half_an_old_content_come_back(
    restoring: Restoring, killer: Killer, everything: bool
) -> None:
    """Once removing has begun there is nothing to put back; before, all of it."""

    def killed_at(effects: int) -> bool:
        clone(restoring)
        restoring.swap()
        killed = killer.killed_after(effects, restoring.finish_swap)
        restoring.put_back()
        found = describe(restoring.live)
        if found.keys() == restoring.old.keys():
            assert_same(restoring.old, restoring.live)
        else:
            assert found.keys() == restoring.new.keys()
        restoring.finish_swap()
        assert not (restoring.live / ".quiesce-20260101000000-0001").exists()
        return killed

    assert each_kill("settling", killed_at, all_of_them=everything) >= 5


def test_half_an_exchange_is_not_settled(restoring: Restoring, killer: Killer) -> None:
    """It would remove the only copy of entries that have moved."""
    restoring.stage()
    assert killer.killed_after(12, restoring.swap)
    with pytest.raises(QuiesceError):
        restoring.finish_swap()
    restoring.put_back()
    assert_same(restoring.old, restoring.live)


def test_a_staging_killed_anywhere_leaves_the_live_content_and_starts_anew(
    restoring: Restoring, killer: Killer
) -> None:
    """What is half unpacked is never taken for staged."""
    effects, killed = 0, True
    before = {name: tree for name, tree in restoring.old.items() if name != b"."}
    while killed:
        killed = killer.killed_after(effects, restoring.stage)
        after = describe(restoring.live)
        after.pop(b".")
        assert before == after
        if not (restoring.live / ".quiesce-20260101000000-0001" / "new").exists():
            with pytest.raises(QuiesceError):
                restoring.swap()
        effects += 1
    assert effects > 3
    restoring.swap()
    assert_new(restoring)


def test_an_entry_somebody_makes_during_the_exchange_is_not_lost(
    restoring: Restoring, killer: Killer
) -> None:
    """A service that was not stopped: an error, and everything can be put back."""
    restoring.stage()
    assert killer.killed_after(25, restoring.swap)
    folder = restoring.live / ".quiesce-20260101000000-0001"
    waiting = sorted(path.name for path in (folder / "in").iterdir())
    (restoring.live / waiting[0]).write_text("somebody's")
    with pytest.raises(QuiesceError) as caught:
        restoring.swap()
    assert any("something writes" in line for line in caught.value.details)
    assert (restoring.live / waiting[0]).read_text() == "somebody's"
    (restoring.live / waiting[0]).unlink()
    restoring.put_back()
    assert_same(restoring.old, restoring.live)


def test_the_name_of_a_run_cannot_lead_anywhere(restoring: Restoring) -> None:
    """It becomes part of a path that is removed in the end."""
    for run in ("", "../x", "a/b", "a b", "-x", "x" * 200):
        with pytest.raises(ValueError, match="not the id of a run"):
            restoring.files.finish_swap(restoring.state, run)
