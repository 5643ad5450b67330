"""The journal and the lock on a real file system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from quiesce.errors import Busy, Interrupted, RequestError
from quiesce.execute import journal as journals
from quiesce.execute import lock
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.journal import Journal
from quiesce.plan.backup import BackupRequest, plan_backup
from tests.support.builders import NOW, RUN, a_stack, a_world

PLAN = plan_backup(a_stack(), a_world(), BackupRequest(), RUN, "core-1")


def _journal(folder: Path) -> Journal:
    journal = Journal(folder, RUN)
    journal.open(PLAN, NOW)
    return journal


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    """The plan is whole, and the events are where they happened."""
    journal = _journal(tmp_path)
    journal.write("owed", position="/0")
    journal.write("begin", position="/0/enter/0")
    journal.leave_open()
    (dead,) = journals.unfinished(tmp_path)
    assert dead.plan == PLAN
    assert dead.progress.pending == {"/0"}
    assert dead.progress.begun == {"/0/enter/0"}


def test_room_is_taken_before_anything_happens(tmp_path: Path) -> None:
    """A disk that fills up later cannot keep the journal from saying what is owed."""
    journal = _journal(tmp_path)
    status = journal.path.stat()
    assert status.st_blocks * 512 >= 256 * 1024
    assert status.st_mode & 0o777 == 0o600
    journal.close("done")
    assert journal.path.stat().st_size < 128 * 1024
    assert journals.unfinished(tmp_path) == ()


@pytest.mark.parametrize("torn", [b'{"event":"settled","pos', b"\0\0\0", b"\xff\xfe", b"[1]\n"])
def test_a_torn_end_is_ignored(tmp_path: Path, torn: bytes) -> None:
    """A crash in the middle of a line leaves the lines before it good."""
    journal = _journal(tmp_path)
    journal.write("owed", position="/0")
    journal.leave_open()
    with journal.path.open("ab") as file:
        file.write(torn)
    (dead,) = journals.unfinished(tmp_path)
    assert dead.progress.pending == {"/0"}
    journals.close_dead(dead, "recovered")
    assert journals.unfinished(tmp_path) == ()


def test_a_journal_of_another_version_is_not_guessed_at(tmp_path: Path) -> None:
    """It is neither forgotten nor half understood."""
    journal = _journal(tmp_path)
    journal.leave_open()
    journal.path.write_bytes(journal.path.read_bytes().replace(b'"version":1', b'"version":9', 1))
    (dead,) = journals.unfinished(tmp_path)
    assert dead.plan is None
    assert "version 9" in dead.problem


def test_a_journal_without_a_plan_owes_nothing(tmp_path: Path) -> None:
    """Nothing happens before the plan is on disk."""
    (tmp_path / f"{RUN}.jsonl").write_bytes(b"\0" * 4096)
    assert journals.unfinished(tmp_path) == ()


def test_an_unwritable_folder_is_a_refusal(tmp_path: Path) -> None:
    """Nothing is begun that cannot be written down."""
    (tmp_path / "file").write_text("")
    with pytest.raises((RequestError, NotADirectoryError)):
        _journal(tmp_path / "file" / "runs")


def test_one_run_at_a_time_and_the_other_learns_who(tmp_path: Path) -> None:
    """Exit 5 names pid, task and start."""
    file = tmp_path / "lock"
    with lock.held(file, RUN, "backup", NOW):
        assert not lock.is_free(file)
        with (
            pytest.raises(Busy, match=rf"backup \(pid {os.getpid()}, since 2026-11-21T01:00:00"),
            lock.held(file, "other", "restore", NOW),
        ):
            pass
    assert lock.is_free(file)


def test_a_run_that_waits_gets_the_lock_when_it_is_freed(tmp_path: Path) -> None:
    """`--wait` for cron."""
    file = tmp_path / "lock"
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.held(file, RUN, "backup", NOW):
            holding.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(30)
    timer = threading.Timer(0.3, release.set)
    timer.start()
    with lock.held(file, "other", "restore", NOW, wait=30):
        assert release.is_set()
    thread.join()


def test_the_kernel_frees_the_lock_of_a_killed_run(tmp_path: Path) -> None:
    """No stale lock, whatever its file says."""
    file = tmp_path / "lock"
    code = (
        "import sys, time, datetime, pathlib\n"
        "from quiesce.execute import lock\n"
        "now = datetime.datetime.now(datetime.UTC)\n"
        "with lock.held(pathlib.Path(sys.argv[1]), 'r', 'backup', now):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    assert not lock.is_free(file)
    child.kill()
    child.wait()
    child.stdout.close()
    with lock.held(file, RUN, "backup", NOW):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_becomes_an_exception_unless_shielded(number: signal.Signals) -> None:
    """Exit codes 130, 143 and 129; what came while services were put back comes right after."""
    interrupts = Interrupts()
    with interrupts.installed():
        with pytest.raises(Interrupted) as caught:
            signal.raise_signal(number)
        assert caught.value.exit_code == 128 + number
    interrupts = Interrupts()
    with interrupts.installed():
        with interrupts.shield():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), signal.SIGTERM)
            reached = True
        assert reached
        with pytest.raises(Interrupted) as caught:
            interrupts.check()
        assert caught.value.exit_code == 128 + number
