"""`backups/` is private, and nothing in it leads anywhere else."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from quiesce.adapters.files import replace_synced
from quiesce.adapters.notify import prometheus
from quiesce.adapters.sets.local import LocalStore
from quiesce.app import backups_folder
from quiesce.app.lock_conflict import reason_for_window
from quiesce.app.restore_log import append
from quiesce.app.run import changing
from quiesce.commands import doctor_checks
from quiesce.errors import QuiesceError, RequestError
from quiesce.execute import lock
from quiesce.file_errors import hint_for
from quiesce.private_files import open_private, secure_top
from tests.crash.test_every_step import World
from tests.support.builders import NOW, RUN, a_stack
from tests.support.place import ONE_VOLUME, Place

FILES = [".runs/core/lock", ".runs/core/guard.log", ".log/core.log"]
FOLDERS = [".runs", ".runs/core", ".reports", ".reports/core", ".staging", ".state", ".trash"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A stack in a folder of its own."""
    folder = tmp_path / "stack"
    folder.mkdir()
    return World(folder)


def _begin(world: World) -> None:
    with changing(world.stack, RUN, "backup", NOW, world.ports):
        pass


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", [*FILES, *FOLDERS, ".isolated"])
def test_a_link_in_the_place_of_a_file_or_folder_of_ours_is_refused(
    tmp_path: Path, world: World, name: str
) -> None:
    """Exit 2 before anything is written, and what it leads to is as it was."""
    _begin(world)
    outside = tmp_path / "outside"
    place = world.stack.backups / name
    if name in FILES:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        outside.write_text("precious")
    else:
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        outside.mkdir()
    place.symlink_to(outside)
    with pytest.raises(RequestError, match="symbolic link") as caught:
        _begin(world)
    assert str(place) in caught.value.hint
    assert place in backups_folder.links_in(world.stack)
    assert not list(outside.iterdir()) if outside.is_dir() else outside.read_text() == "precious"
    place.unlink()
    _begin(world)


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o770, 0o750])
def test_folders_of_ours_that_are_open_to_others_are_corrected(
    tmp_path: Path, world: World, mode: int
) -> None:
    """Git makes `backups/` 0755; a umask of 0 makes it 0777."""
    _begin(world)
    folders = [
        world.stack.backups,
        world.stack.backups / ".runs",
        world.stack.backups / ".runs" / "core",
        world.stack.backups / ".staging",
    ]
    folders[-1].mkdir(exist_ok=True)
    for folder in folders:
        folder.chmod(mode)
    _begin(world)
    assert {_mode(folder) for folder in folders} == {0o700}


def test_backups_may_be_a_link_to_another_disk(tmp_path: Path, world: World) -> None:
    """The target is what is checked and corrected; one that is not there is not made."""
    disk = tmp_path / "disk"
    world.stack.backups.symlink_to(disk)
    with pytest.raises(RequestError, match="which does not exist"):
        _begin(world)
    assert not disk.exists()
    disk.mkdir(mode=0o755)
    _begin(world)
    assert _mode(disk) == 0o700
    assert (disk / ".runs" / "core" / "lock").exists()


def test_a_folder_that_everybody_shares_is_no_place_for_backups(
    tmp_path: Path, world: World
) -> None:
    """/tmp itself would be closed to everybody else, or its backups replaced by them."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    world.stack.backups.symlink_to(shared)
    with pytest.raises(RequestError, match="several users share"):
        _begin(world)
    assert _mode(shared) == 0o1777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to somebody else")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, world: World) -> None:
    """Who owns it may replace what is in it; the stack's own owner decides anyway."""
    _begin(world)
    os.chown(world.stack.backups / ".runs", 4242, 4242)
    with pytest.raises(RequestError, match="belongs to user 4242"):
        _begin(world)
    os.chown(tmp_path / "stack", 4242, 4242)
    _begin(world)


def _a_fifo(path: Path) -> None:
    os.mkfifo(path)


def _a_hard_link(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("precious")
    path.hardlink_to(other)


def _a_link(path: Path) -> None:
    path.symlink_to(path.with_name("other"))


def _hold(file: Path) -> None:
    with lock.held(file, RUN, "backup", NOW):
        pass


def _append(file: Path) -> None:
    append(file, {"a": 1})


def _open(file: Path) -> None:
    os.close(open_private(file, os.O_RDWR | os.O_CREAT))


@pytest.mark.parametrize("make", [_a_fifo, _a_hard_link, _a_link])
@pytest.mark.parametrize("use", [_hold, _append, _open])
def test_what_is_no_file_of_its_own_is_neither_written_nor_waited_for(
    tmp_path: Path, make: Callable[[Path], None], use: Callable[[Path], None]
) -> None:
    """A FIFO blocks whoever opens it; a second name is somebody's file."""
    make(tmp_path / "file")
    with pytest.raises((OSError, RequestError)):
        use(tmp_path / "file")
    assert not (tmp_path / "other").exists() or (tmp_path / "other").read_text() == "precious"


@pytest.mark.parametrize("make", [_a_fifo, _a_hard_link, _a_link])
def test_a_file_that_is_replaced_is_replaced_whatever_lies_in_its_way(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Also where the unfinished file has a name that can be guessed."""
    make(tmp_path / ".state.json.partial")
    replace_synced(tmp_path / "state.json", b"new")
    assert (tmp_path / "state.json").read_bytes() == b"new"
    other = tmp_path / "other"
    assert not other.exists() or other.read_text() == "precious"


def test_metrics_are_written_through_no_link(tmp_path: Path) -> None:
    """The collector's folder belongs to others, too."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = tmp_path / "textfile"
    folder.mkdir()
    (folder / ".quiesce-core.prom.partial").symlink_to(precious)
    (folder / "quiesce-core.prom").symlink_to(precious)
    figures = [prometheus.Figure("quiesce_sets", "Number of local sets.", [({}, 1.0)])]
    written = prometheus.write(folder, "core", figures)
    assert precious.read_text() == "precious"
    assert not written.is_symlink()
    assert _mode(written) == 0o644
    assert "quiesce_sets" in written.read_text()


def test_what_is_remembered_is_read_through_no_link(tmp_path: Path) -> None:
    """Nor does a FIFO keep `status` waiting."""
    stack = a_stack(tmp_path)
    folder = stack.backups / ".runs" / "core"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "dump-in-window")
    assert reason_for_window(stack) == ""
    store = LocalStore(stack.backups)
    (stack.backups / "core-20261121-020000").mkdir()
    os.mkfifo(stack.backups / "core-20261121-020000" / "manifest.json")
    assert [name for name, _ in store.unreadable()] == ["core-20261121-020000"]


def test_the_store_itself_follows_no_link_for_its_folders(tmp_path: Path) -> None:
    """Whoever uses it without a run in front."""
    store = LocalStore(tmp_path / "backups")
    (tmp_path / "backups").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "backups" / ".staging").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(QuiesceError, match="symbolic link"):
        store.open(RUN, "core-20261121-020000")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_fresh_clone_is_well_and_the_first_task_makes_its_backups_private(
    tmp_path: Path,
) -> None:
    """Git makes `backups/` 0755 with a `.gitkeep` in it; doctor finds no error."""
    place = Place(tmp_path, ONE_VOLUME)
    backups = tmp_path / "backups"
    backups.mkdir()
    backups.chmod(0o755)
    (backups / ".gitkeep").touch()
    ended = place.inv("doctor", "--json")
    findings = json.loads(ended.stdout)["findings"]
    (found,) = (one for one in findings if one["subject"] == "backups")
    assert found["level"] == "ok", found
    place.succeed("up")
    try:
        assert _mode(backups) == 0o700
    finally:
        place.succeed("down")


def test_doctor_says_what_a_run_would_refuse(tmp_path: Path) -> None:
    """A link, and what others could have changed."""
    stack = a_stack(tmp_path)
    backups_folder.secure(stack)
    (stack.backups / ".state").symlink_to(tmp_path)
    (finding,) = doctor_checks._permissions(stack)
    assert (finding.level, "symbolic link" in finding.fact) == ("error", True)
    (stack.backups / ".state").unlink()
    stack.backups.chmod(0o777)
    (finding,) = doctor_checks._permissions(stack)
    assert finding.level == "error"
    backups_folder.secure(stack)
    (finding,) = doctor_checks._permissions(stack)
    assert finding.level == "ok"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "read-only"),
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "owner"),
        (errno.EPERM, "immutable"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "too many files"),
        (errno.EIO, "dmesg"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.ELOOP, "symbolic link"),
        (errno.ENOENT, "mounted"),
        (errno.ESTALE, "file server"),
        (errno.ENXIO, "file server"),
        (errno.EBADMSG, "dmesg"),
    ],
)
def test_a_hint_is_true_for_its_reason(number: int, words: str) -> None:
    """What helps against a full disk does nothing for a read-only one."""
    hint = hint_for(OSError(number, os.strerror(number)), Path("/a folder"))
    assert words in hint
    others = {"free some space", "read-only", "give it to this user", "ulimit -n"} - {words}
    assert not any(other in hint for other in others) or number in (errno.EACCES, errno.EDQUOT)


def test_a_read_only_disk_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to belong to somebody else."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "backups")

    monkeypatch.setattr(lock, "open_private", refuse)
    with (
        pytest.raises(RequestError, match="Read-only file system") as caught,
        lock.held(tmp_path / "lock", RUN, "backup", NOW),
    ):
        pass
    assert "read-only" in caught.value.hint
    assert "give" not in caught.value.hint


def test_an_own_folder_is_taken_as_it_is_where_modes_cannot_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with FAT has one mode for all. Readable by others is said by doctor; writable is
    refused."""
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    tmp_path.chmod(0o755)
    secure_top(tmp_path, {os.geteuid()})
    tmp_path.chmod(0o777)
    with pytest.raises(RequestError, match="other users may write"):
        secure_top(tmp_path, {os.geteuid()})
    tmp_path.chmod(0o700)
