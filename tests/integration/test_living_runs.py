"""A run that lives is never taken for dead, and a set is published only as it was made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.adapters import files
from quiesce.adapters.sets.local import LocalStore
from quiesce.app.backups_folder import runs_folder
from quiesce.app.run import changing
from quiesce.errors import Busy, QuiesceError, RequestError
from quiesce.execute import alive, lock
from quiesce.execute import journal as journals
from quiesce.execute.journal import Journal
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from tests.crash.test_every_step import World
from tests.support.builders import NOW, RUN, a_set, a_stack, a_world
from tests.support.sets import publish_a_set

PLAN = plan_backup(a_stack(), a_world(), BackupRequest(), RUN, "core-1")
#: Another process that is at work: it holds the lock and an open journal until its input ends.
AT_WORK = """
import sys
from pathlib import Path
from quiesce.execute import lock
from quiesce.execute.journal import Journal
from tests.integration.test_living_runs import NOW, PLAN, RUN
folder = Path(sys.argv[1])
with lock.held(folder / "lock", RUN, "backup", NOW):
    journal = Journal(folder, RUN)
    journal.open(PLAN, NOW)
    journal.write("owed", position="/0")
    print("at work", flush=True)
    sys.stdin.read()
    journal.close("done")
"""


@contextmanager
def at_work(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process in the middle of a run."""
    child = subprocess.Popen(
        [sys.executable, "-c", AT_WORK, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"at work\n"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def _change(world: World, wait: float = 0.0) -> tuple[str, ...]:
    make = world.ports
    with changing(world.stack, "other", "recover", NOW, make, wait=wait, recover=False) as work:
        work.observe = a_world  # type: ignore[method-assign]
        return work.recover()


def _lose_the_lock(folder: Path) -> None:
    (folder / "lock").unlink()


def _lose_the_lock_and_find_another(folder: Path) -> None:
    (folder / "lock").unlink()
    (folder / "lock").touch()


def _restore_backups_from_a_copy(folder: Path) -> None:
    backups = folder.parents[1]
    copy = backups.with_name("copy")
    shutil.copytree(backups, copy)
    backups.rename(backups.with_name("old"))
    copy.rename(backups)


@pytest.mark.parametrize(
    "lose", [_lose_the_lock, _lose_the_lock_and_find_another, _restore_backups_from_a_copy]
)
def test_a_run_that_lost_its_lock_file_is_not_taken_for_dead(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    """The journal is locked by it and names its process; a recovery names it and does nothing."""
    world = World(tmp_path)
    folder = runs_folder(world.stack)
    with at_work(folder) as child:
        lose(folder)
        assert lock.is_free(folder / "lock")
        assert journals.unfinished(folder) == ()
        with pytest.raises(Busy, match=rf"still running \(pid {child.pid}"):
            _change(world)
        assert world.effects == []
        child.kill()
        child.wait()
        assert len(_change(world)) == 1
    assert journals.unfinished(folder) == ()


def test_who_waits_goes_on_when_the_run_without_a_lock_file_ends(tmp_path: Path) -> None:
    """`--wait` is for it, too."""
    world = World(tmp_path)
    folder = runs_folder(world.stack)
    with at_work(folder) as child:
        _lose_the_lock(folder)
        assert child.stdin is not None
        child.stdin.close()
        assert _change(world, wait=60.0) == ()


def test_a_pid_that_was_given_to_another_process_is_not_the_run(tmp_path: Path) -> None:
    """Its start and the boot count: else a recovery would wait for a stranger."""
    journal = Journal(tmp_path, RUN)
    journal.open(PLAN, NOW)
    journal.write("owed", position="/0")
    own = alive.own_identity()
    assert alive.lives(own)
    for changed in (
        {"process_start": own["process_start"] + 1},
        {"boot": "another"},
        {"pid_namespace": "pid:[1]"},
        {"pid": 2**22 + 1},
    ):
        assert not alive.lives({**own, **changed})
    assert not alive.lives({"pid": own["pid"]}), "a journal of an earlier version says only that"


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    """A killed run whose parent has not collected it yet can be recovered."""
    child = subprocess.Popen(["sleep", "1000"])
    found = {**alive.own_identity(), "pid": child.pid}
    found["process_start"] = int(Path(f"/proc/{child.pid}/stat").read_text().split()[21])
    assert alive.lives(found)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not alive.lives(found)
    child.wait()


def test_a_journal_of_an_earlier_version_is_still_read(tmp_path: Path) -> None:
    """It names a pid only, and nobody holds it: its run is dead."""
    journal = Journal(tmp_path, RUN)
    journal.open(PLAN, NOW)
    journal.write("owed", position="/0")
    journal.leave_open()
    lines = journal.path.read_text().splitlines()
    begin = json.loads(lines[0])
    for key in ("process_start", "boot", "pid_namespace", "host"):
        del begin[key]
    journal.path.write_text("\n".join([json.dumps(begin), lines[1], ""]))
    (dead,) = journals.unfinished(tmp_path)
    assert dead.plan == PLAN


def test_a_lock_file_that_is_replaced_while_it_is_taken_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is locked is what the path names."""
    file = tmp_path / "lock"
    replaced: list[int] = []
    real = lock.fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        real(descriptor, how)
        if not replaced:
            replaced.append(descriptor)
            file.unlink()
            file.touch()

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with lock.held(file, RUN, "backup", NOW) as held:
        held.require()
        assert not lock.is_free(file)
        file.unlink()
        with pytest.raises(RequestError, match="removed or replaced"):
            held.require()


def test_a_run_whose_lock_file_went_while_it_planned_begins_nothing(tmp_path: Path) -> None:
    """Somebody else may have begun meanwhile, with another lock."""
    world = World(tmp_path)
    with changing(world.stack, RUN, "backup", NOW, world.ports) as work:
        _lose_the_lock(runs_folder(world.stack))
        work.handlers = world.handlers()
        with pytest.raises(RequestError, match="removed or replaced"):
            work.execute(PLAN, world.observed)
    assert world.effects == []


@pytest.mark.parametrize("what", ["journal", "backups"])
def test_without_its_journal_a_run_stops_nothing(tmp_path: Path, what: str) -> None:
    """What a recovery would not find is not begun; what was begun is put back."""
    world = World(tmp_path)
    before = world.running
    handlers = world.handlers()

    def lose(step: object, run: object) -> str:
        path = (
            world.stack.backups
            if what == "backups"
            else next(runs_folder(world.stack).glob("*.jsonl"))
        )
        if path.exists():
            path.rename(path.with_name("elsewhere"))
        return ""

    handlers[s.OpenSet] = lose
    with pytest.raises(QuiesceError, match="cannot write the journal"):
        world.run(PLAN, handlers)
    assert world.running == before
    assert "StopServices" not in world.effects


def _remove(path: Path) -> None:
    path.unlink()


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _change_content(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    kept = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def _add(path: Path) -> None:
    path.with_name("extra").write_bytes(b"x")


@pytest.mark.parametrize("harm", [_remove, _shorten, _change_content, _link, _add])
def test_a_set_that_was_changed_while_it_was_made_is_not_published(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """It would be listed, and found damaged when it is needed."""
    store = LocalStore(tmp_path / "backups")
    name = "core-20261121-020000"
    staged = store.open(RUN, name)
    (staged / "databases" / "rulesdb.dump").write_bytes(b"d" * 5000)
    dump = store.measure(RUN, name, "databases/rulesdb.dump", "database", "rulesdb")
    harm(staged / "databases" / "rulesdb.dump")
    manifest = replace(
        a_set(name, databases=("rulesdb",), volumes=()).manifest,
        members=(dump.member,),
        created_at=NOW,
        name=name,
    )
    with pytest.raises(QuiesceError, match="was changed while it was made"):
        store.seal(RUN, manifest, {"RESTORE.md": b"by hand\n"}, [dump])
    assert store.sets() == ()
    assert not (store.folder / name).exists()


def test_a_store_remembers_nothing_of_a_set_in_the_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes the set keeps it. With that, no member is read a third time."""
    folder, name = tmp_path / "backups", "core-20261121-020000"
    staged = LocalStore(folder).open(RUN, name)
    (staged / "databases" / "rulesdb.dump").write_bytes(b"d" * 5000)
    dump = LocalStore(folder).measure(RUN, name, "databases/rulesdb.dump", "database", "rulesdb")
    manifest = replace(
        a_set(name, databases=("rulesdb",), volumes=()).manifest,
        members=(dump.member,),
        created_at=NOW,
        name=name,
    )
    monkeypatch.setattr(files, "sum_of", None)
    assert LocalStore(folder).seal(RUN, manifest, {}, [dump]).name == name


def test_a_member_that_was_only_touched_is_good(tmp_path: Path) -> None:
    """Its sum is taken again, and is the same."""
    store = LocalStore(tmp_path / "backups")
    name = "core-20261121-020000"
    staged = store.open(RUN, name)
    (staged / "databases" / "rulesdb.dump").write_bytes(b"d" * 5000)
    dump = store.measure(RUN, name, "databases/rulesdb.dump", "database", "rulesdb")
    os.utime(staged / "databases" / "rulesdb.dump")
    manifest = replace(
        a_set(name, databases=("rulesdb",), volumes=()).manifest,
        members=(dump.member,),
        created_at=NOW,
        name=name,
    )
    sealed = store.seal(RUN, manifest, {"RESTORE.md": b"by hand\n"}, [dump])
    assert store.verify(sealed, lambda *_: None) == ()
    assert publish_a_set(store, "core-20261122-020000").name == "core-20261122-020000"
