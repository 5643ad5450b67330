"""What a run holds while it lives: its journal, its lock, its watchdog; and how others see it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quiesce.errors import Busy, Interrupted, RecoveryPending, RequestError
from quiesce.execute import alive, guard, lock, pending
from quiesce.execute import journal as journals
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.journal import Journal
from quiesce.plan import steps as s
from quiesce.plan.steps import Bracket, Plan
from tests.support.builders import NOW, RUN, a_stack, a_world

UNITS = a_world().running
LATER = NOW + timedelta(hours=1)
START = s.StartServices(UNITS, 60.0, "they ran")
PLAN = Plan(RUN, "backup", "core", "a backup", "0", "ENGINE", (START,))


def open_files() -> set[str]:
    """What this process has open, so that a leak is seen."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue
    return found


@contextmanager
def another_process() -> Iterator[dict[str, Any]]:
    """The identity of a process that lives while the block runs."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        # Field 22 of proc_pid_stat(5); this name of a program has no space in it.
        started = int(Path(f"/proc/{process.pid}/stat").read_text().split()[21])
        yield {**alive.own_identity(), "pid": process.pid, "process_start": started}


# --------------------------------------------------------------------------------- who is alive


def test_a_process_lives_until_it_ends_even_if_nobody_waited_for_it() -> None:
    """By its pid and its start: another one with this pid started later."""
    with another_process() as identity:
        assert identity["process_start"] == alive._started(identity["pid"])
        assert alive.lives(identity)
        for changed in (
            {"process_start": identity["process_start"] + 1},
            {"process_start": 0},
            {"process_start": None},
            {"boot": "another boot"},
            {"boot": ""},
            {"pid_namespace": "pid:[1]"},
            {"pid": 0},
            {"pid": -1},
            {"pid": str(identity["pid"])},
        ):
            assert not alive.lives({**identity, **changed}), changed
    assert not alive.lives(identity)
    assert not alive.lives({**identity, "process_start": 0})
    assert not alive.lives({})


def test_a_process_that_is_only_waited_for_is_dead() -> None:
    """It changes nothing any more."""
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}/stat").exists()
        assert alive._started(process.pid) is None


def test_without_a_boot_id_nobody_is_known_to_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two unknown ones are not the same."""
    monkeypatch.setattr(alive, "_boot", lambda: "")
    assert not alive.lives(alive.own_identity())


# -------------------------------------------------------------------------------------- journal


def begun(folder: Path, run: str = RUN, **fields: Any) -> Journal:
    """A journal of a run that has begun."""
    journal = Journal(folder, run)
    journal.open(replace(PLAN, run=run, **fields), NOW)
    return journal


def die(journal: Journal) -> None:
    """Leave what a killed process leaves."""
    assert journal._descriptor is not None
    os.close(journal._descriptor)


def test_a_run_is_alive_while_it_holds_its_journal(tmp_path: Path) -> None:
    """For this process the lock alone says so; readers do not take it away."""
    journal = begun(tmp_path / "a" / "b")
    folder = journal.path.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert journal.path.stat().st_size == 256 * 1024
    assert [run.run for run in journals.living(folder)] == [RUN]
    assert journals.unfinished(folder) == ()
    die(journal)
    before = open_files()
    assert [run.run for run in journals.unfinished(folder)] == [RUN]
    assert journals.living(folder) == ()
    assert open_files() == before
    begun(folder, "second").close("done")
    assert [run.run for run in journals.unfinished(folder)] == [RUN]
    begun(folder, "a").leave_open()
    begun(folder, "z").leave_open()
    newest_first = sorted(["a", "z", RUN], reverse=True)
    assert [run.run for run in journals.unfinished(folder)] == newest_first


def test_a_journal_of_another_run_in_its_place_stays(tmp_path: Path) -> None:
    """It says what that run owes."""
    journal = begun(tmp_path)
    journal.write("owed", position="/0")
    die(journal)
    with pytest.raises(RequestError, match="cannot write the journal"):
        begun(tmp_path)
    (dead,) = journals.unfinished(tmp_path)
    assert dead.progress.pending == {"/0"}


def test_a_run_of_another_process_is_alive_as_long_as_that_is(tmp_path: Path) -> None:
    """Also where its lock does not reach; not after it said that it left."""
    with another_process() as identity:
        journal = begun(tmp_path)
        die(journal)
        text = journal.path.read_bytes().rstrip(b"\0")
        event = json.loads(text)
        journal.path.write_text(json.dumps({**event, **identity}) + "\n")
        assert journals.read(journal.path).alive
        with journal.path.open("a") as file:
            file.write('{"event":"left"}\n')
        assert not journals.read(journal.path).alive
        journal.path.write_text(json.dumps({**event, **identity}) + "\n")
        with journal.path.open("a") as file:
            file.write('{"event":"run-end","outcome":"done"}\n')
        assert not journals.read(journal.path).alive
        journal.path.write_text(json.dumps({**event, **identity}) + "\n")
    assert not journals.read(journal.path).alive


def test_what_is_written_is_on_the_disk_before_anything_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line, and the folder's entry."""
    synced: list[str] = []
    for name in ("fsync", "fdatasync"):
        sync = getattr(os, name)

        def noting(descriptor: int, sync: Any = sync) -> None:
            synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
            sync(descriptor)

        monkeypatch.setattr(os, name, noting)
    journal = begun(tmp_path / "runs")
    file = journal.path.name
    assert synced == [file, "runs"]
    journal.write("owed", position="/0")
    assert synced[2:] == [file]
    journal.path.unlink()
    with pytest.raises(FileNotFoundError):
        journal.write("begin", position="/0")
    synced.clear()
    journal.leave_open()
    assert synced == [f"{file} (deleted)", file]
    synced.clear()
    journals.close_dead(journals.read(journal.path), "recovered")
    assert synced == [file]


def test_a_journal_that_was_removed_comes_back_when_its_run_leaves(tmp_path: Path) -> None:
    """A recovery finds all of it; another file in its place stays as it is."""
    before = open_files()
    journal = begun(tmp_path / "runs")
    journal.write("owed", position="/0")
    journal.path.unlink()
    journal.path.parent.rmdir()
    journal.leave_open()
    assert open_files() == before
    (dead,) = journals.unfinished(tmp_path / "runs")
    assert (dead.progress.pending, dead.left) == ({"/0"}, True)
    assert dead.plan == PLAN

    other = begun(tmp_path / "runs", "other")
    other.path.unlink()
    other.path.write_text("somebody's")
    other.leave_open()
    assert other.path.read_text() == "somebody's"
    assert open_files() == before


def test_an_end_that_cannot_be_written_closes_the_journal_all_the_same(tmp_path: Path) -> None:
    """It holds no lock then; what was not opened is neither written nor closed."""
    before = open_files()
    journal = begun(tmp_path)
    journal.path.unlink()
    with pytest.raises(FileNotFoundError):
        journal.close("done")
    assert open_files() == before
    for never in (journal, Journal(tmp_path, "never")):
        never.write("begin", position="/0")
        never.close("done")
        never.leave_open()
        never.abandon()
    journal = begun(tmp_path)
    journal.abandon()
    assert list(tmp_path.iterdir()) == []
    assert open_files() == before


def test_a_journal_that_cannot_be_begun_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: the space is taken first."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    before = open_files()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RequestError, match="No space left on device"):
        begun(tmp_path)
    assert list(tmp_path.iterdir()) == []

    def full_and_removed(*_: Any) -> None:
        (tmp_path / f"{RUN}.jsonl").unlink()
        full()

    monkeypatch.setattr(os, "posix_fallocate", full_and_removed)
    with pytest.raises(RequestError, match="No space left on device"):
        begun(tmp_path)
    assert open_files() == before


def test_what_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    """Nothing is changed until it is known which run was interrupted."""
    (tmp_path / "run.jsonl").mkdir()
    for ask in (
        lambda: journals.unfinished(tmp_path),
        lambda: journals.last_done(tmp_path, "backup"),
    ):
        with pytest.raises(RequestError) as caught:
            ask()
        assert caught.value.hint.endswith("Quiesce changes nothing until it can read which run "
                                          "was interrupted")  # fmt: skip
    journals.forget_old(tmp_path, 0)
    assert not journals._is_locked(tmp_path / "run.jsonl")
    assert not journals._is_locked(tmp_path / "missing.jsonl")


def test_the_last_good_run_of_a_task_is_found(tmp_path: Path) -> None:
    """Not one that failed, is of another task, of another version or cannot be read."""
    assert journals.last_done(tmp_path, "backup") is None
    ends = [
        ("1", "backup", "done"),
        ("2", "backup", "finished"),
        ("3", "backup", "failed"),
        ("4", "restore", "done"),
        ("5", "backup", "done"),
        ("6", "backup", "done"),
        ("7", "backup", "done"),
    ]
    for run, verb, end in ends:
        begun(tmp_path, run, verb=verb).close(end)
    for run, old, new in (
        ("5", b'"version":1', b'"version":2'),
        ("6", b'"verb"', b'"word"'),
        ("7", NOW.isoformat().encode(), b"yesterday"),
    ):
        path = tmp_path / f"{run}.jsonl"
        path.write_bytes(path.read_bytes().replace(old, new, 1))
    (tmp_path / "8.jsonl").write_bytes(b"")
    begun(tmp_path, "9").leave_open()
    assert journals.last_done(tmp_path, "backup") == (replace(PLAN, run="2"), NOW)
    assert journals.last_done(tmp_path, "restore") == (replace(PLAN, run="4", verb="restore"), NOW)


def test_old_journals_go_and_open_ones_stay(tmp_path: Path) -> None:
    """The newest that ended are kept."""
    for run in "12345":
        journal = begun(tmp_path, run)
        if run == "1":
            journal.leave_open()
        else:
            journal.close("done")
    (tmp_path / "0.jsonl").symlink_to(tmp_path / "2.jsonl")
    journals.forget_old(tmp_path, 9)
    assert len(list(tmp_path.iterdir())) == 6
    journals.forget_old(tmp_path, 2)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["0", "1", "4", "5"]


def test_a_recovery_whose_end_cannot_be_written_is_pending(tmp_path: Path) -> None:
    """The next run would do it again otherwise, without anybody knowing."""
    journal = begun(tmp_path)
    die(journal)
    dead = journals.read(journal.path)
    before = open_files()
    journals.close_dead(dead, "finished")
    assert open_files() == before
    assert journal.path.read_bytes().endswith(b'"finished"}\n'), "without the space it took"
    ended = journals.read(journal.path)
    assert (ended.outcome, ended.progress.closed, ended.alive) == ("finished", True, False)
    journal.path.unlink()
    with pytest.raises(RecoveryPending, match=f"run {RUN} was recovered, but") as caught:
        journals.close_dead(dead, "finished")
    assert caught.value.hint.endswith("; then run 'inv recover'")


def test_what_was_begun_by_another_version_names_its_process(tmp_path: Path) -> None:
    """Its plan cannot be read, and nothing of it is guessed."""
    journal = begun(tmp_path)
    journal.leave_open()
    path = journal.path
    path.write_bytes(path.read_bytes().replace(b'"verb"', b'"word"', 1))
    found = journals.read(path)
    assert found.problem.startswith("its plan cannot be read: ")
    assert (found.plan, found.progress.closed, found.left) == (None, False, True)
    assert found.process["pid"] == os.getpid()
    assert found.began == NOW.isoformat()
    path.write_text('{"event":"end","position":"/0"}\n')
    assert journals.read(path).progress.closed


# ----------------------------------------------------------------------------------------- lock


def test_the_lock_says_who_holds_it_and_is_let_go(tmp_path: Path) -> None:
    """After an error too, which leaves the holder's name."""
    file = tmp_path / "runs" / "lock"
    before = open_files()
    assert lock.is_free(file)
    assert not file.exists()
    with lock.held(file, RUN, "backup", NOW) as held:
        assert json.loads(file.read_text()) == {
            "pid": os.getpid(), "run": RUN, "task": "backup", "started": "2026-11-21T01:00:00+00:00"
        }  # fmt: skip
        held.require()
        assert not lock.is_free(file)
        with pytest.raises(Busy, match="backup"), lock.held(file, "b", "restore", NOW):
            pass
        assert not lock.is_free(file)
    assert file.read_bytes() == b""
    assert lock.is_free(file)
    with pytest.raises(ZeroDivisionError), lock.held(file, RUN, "x" * 99, NOW):
        raise ZeroDivisionError
    assert lock.is_free(file)
    with lock.held(file, RUN, "b", NOW):
        assert json.loads(file.read_text())["task"] == "b"
    assert open_files() == before


def test_a_lock_whose_file_was_replaced_is_none(tmp_path: Path) -> None:
    """Another run would hold the new one."""
    file = tmp_path / "lock"
    with lock.held(file, RUN, "backup", NOW) as held:
        file.unlink()
        file.touch()
        with pytest.raises(RequestError, match="was removed or replaced while this run held it"):
            held.require()


def test_a_lock_that_is_replaced_all_the_time_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever removes it would let two runs go on."""
    asked = []
    monkeypatch.setattr(lock, "same_file", lambda *_: bool(asked.append(1)))
    before = open_files()
    with pytest.raises(RequestError, match="is replaced again and again"):
        lock._take(tmp_path / "lock", 0.0)
    assert len(asked) == 101
    assert open_files() == before
    answers = iter([False, True])
    monkeypatch.setattr(lock, "same_file", lambda *_: next(answers))
    descriptor = lock._take(tmp_path / "lock", 0.0)
    os.close(descriptor)


def test_who_waits_for_the_lock_asks_until_its_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not a moment longer."""
    now, slept = 100.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(round(seconds, 3))
        now += seconds

    monkeypatch.setattr(lock.time, "monotonic", lambda: now)
    monkeypatch.setattr(lock.time, "sleep", sleep)
    file = tmp_path / "lock"
    with lock.held(file, RUN, "backup", NOW):
        before = open_files()
        with pytest.raises(Busy):
            lock._take(file, 0.5)
        assert open_files() == before
        assert slept == [0.2, 0.2, 0.1]
        slept.clear()
        with pytest.raises(Busy):
            lock._take(file, 0.0)
        assert slept == []
        for text in ("", "no JSON", "{}", "[]"):
            file.write_text(text)
            with pytest.raises(Busy, match="another run holds the lock"):
                lock._take(file, 0.0)


def test_what_is_no_file_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that somebody put there, a folder that cannot be made, a file system without locks."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    before = open_files()
    for ask in (
        lambda: lock.is_free(link),
        lambda: lock._take(link, 0.0),
        lambda: lock._take(tmp_path / "file" / "lock", 0.0),
    ):
        with pytest.raises(RequestError, match="cannot write"):
            ask()
    assert not (tmp_path / "elsewhere").exists()

    def unsupported(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(RequestError, match="Operation not supported"):
        lock._take(tmp_path / "lock", 0.0)
    assert not journals._is_locked(tmp_path / "file")
    assert open_files() == before


# ------------------------------------------------------------------------------------- watchdog

STOPS = Bracket("b", (), (START, s.StopServices(UNITS, 60.0, "x")), (), (), ())
STOPPING = replace(PLAN, nodes=(START, STOPS, START))


class Watchdog:
    """What is started in its place; keeps the end of the pipe that it reads from."""

    started: list[Watchdog]

    def __init__(self, command: list[str], **options: Any) -> None:
        self.command, self.options = command, options
        self.reading = os.dup(options["stdin"])
        options["stdout"] = os.readlink(f"/proc/self/fd/{options['stdout']}")
        self.waited = False
        Watchdog.started.append(self)

    def wait(self, timeout: float) -> None:
        self.waited = True
        raise subprocess.TimeoutExpired("guard", timeout)

    def heard(self) -> bytes:
        """Everything until the pipe closes."""
        with os.fdopen(self.reading, "rb") as pipe:
            return pipe.read()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watchdog]:
    """The watchdogs that were started."""
    Watchdog.started = []
    monkeypatch.setattr(guard.subprocess, "Popen", Watchdog)
    return Watchdog.started


def test_only_what_stops_services_is_watched(tmp_path: Path, watched: list[Watchdog]) -> None:
    """Not a recovery, and nothing of a copy that is thrown away."""
    assert guard.stops(STOPPING)
    assert not guard.stops(PLAN)
    stack = a_stack()
    throwaway = replace(stack, instance=replace(stack.instance, throwaway=True))
    for stack_, plan, environ in (
        (stack, PLAN, {}),
        (stack, STOPPING, {"QUIESCE_GUARD": "off"}),
        (throwaway, STOPPING, {}),
    ):
        with guard.guarded(stack_, plan, tmp_path / "log", environ):
            pass
    assert watched == []


def test_a_run_that_ends_tells_its_watchdog(tmp_path: Path, watched: list[Watchdog]) -> None:
    """Which lives apart from the terminal, and writes into its log."""
    before = open_files()
    environ = {"PYTHONPATH": "/more", "PATH": "/bin"}
    with guard.guarded(a_stack(), STOPPING, tmp_path / "log", environ):
        (one,) = watched
    assert one.heard() == b"."
    assert one.waited
    assert one.command == [sys.executable, "-m", "quiesce.guard", "/stack/stack.yaml", "core"]
    root = Path(guard.__file__).resolve().parents[2]
    assert one.options["env"] == {
        "PATH": "/bin", "PYTHONPATH": f"{root}:/more", "QUIESCE_GUARD": "off"
    }  # fmt: skip
    assert (root / "quiesce/guard.py").is_file()
    assert one.options["start_new_session"] is True
    assert (one.options["cwd"], one.options["stdout"]) == ("/", str(tmp_path / "log"))
    assert open_files() == before


@pytest.mark.parametrize(
    ("error", "lost", "word"),
    [
        (RecoveryPending("x", "look"), False, b"."),
        (RecoveryPending("x", "look"), True, b""),
        (ZeroDivisionError(), False, b"."),
    ],
)
def test_a_watchdog_waits_only_for_an_engine_that_was_lost(
    tmp_path: Path, watched: list[Watchdog], error: Any, lost: bool, word: bytes
) -> None:
    """Everything else that is pending a person has to look at."""
    if isinstance(error, RecoveryPending):
        # The parameters are made once, and a mutation run tries this test again and again.
        error.hint, error.lost_engine = "look", lost
    before = open_files()
    with (
        pytest.raises(type(error)) as caught,
        guard.guarded(a_stack(), STOPPING, tmp_path / "log", {}),
    ):
        raise error
    assert caught.value is error
    assert watched[0].heard() == word
    assert open_files() == before
    if isinstance(error, RecoveryPending):
        assert error.hint.startswith("look")
        assert ("or wait: the watchdog" in error.hint) == lost


def test_a_run_goes_on_without_a_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its journal is enough for a recovery by hand. A watchdog that died takes no word."""

    def broken(*_: Any, **__: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    before = open_files()
    monkeypatch.setattr(guard.subprocess, "Popen", broken)
    done = []
    with guard.guarded(a_stack(), STOPPING, tmp_path / "log", {}):
        done.append(1)
    with guard.guarded(a_stack(), STOPPING, tmp_path / "no" / "log", {}):
        done.append(2)
    assert done == [1, 2]
    assert open_files() == before
    Watchdog.started = []
    monkeypatch.setattr(guard.subprocess, "Popen", Watchdog)
    with guard.guarded(a_stack(), STOPPING, tmp_path / "log", {}):
        os.close(Watchdog.started[0].reading)
    assert open_files() == before


# ------------------------------------------------------------------------------------ interrupts


def test_only_the_first_signal_counts() -> None:
    """What is put back after it is not interrupted again."""
    interrupts = Interrupts()
    with pytest.raises(Interrupted):
        interrupts._handle(15, None)
    interrupts._handle(2, None)
    assert interrupts.pending == 15
    interrupts.check()
    interrupts = Interrupts()
    with interrupts.shield(), interrupts.shield():
        interrupts._handle(1, None)
        interrupts._handle(15, None)
        interrupts.check()
    with pytest.raises(Interrupted) as caught:
        interrupts.check()
    assert caught.value.exit_code == 129
    interrupts.check()


def test_the_handlers_of_before_are_installed_again() -> None:
    """What happens after the run is no part of it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with Interrupts().installed():
        assert all(signal.getsignal(number) not in before for number in numbers)
    assert [signal.getsignal(number) for number in numbers] == before


def test_no_handler_is_installed_outside_of_the_main_thread() -> None:
    """Python refuses it there."""
    reached: list[bool] = []

    def work() -> None:
        with Interrupts().installed():
            reached.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert reached == [True]


# --------------------------------------------------------------------------------------- pending


def test_a_record_of_pending_steps_keeps_what_is_left_of_it(tmp_path: Path) -> None:
    """With the error of each that is left, under its new number; nothing is left at last."""
    other = s.WaitHealthy(UNITS, 60.0, "they were well")
    discard = s.DiscardStaging("clean up")
    plan = replace(PLAN, nodes=(START, other, discard))
    failed = {other: "no answer", discard: "busy"}
    made = pending.note(tmp_path, plan, (START, other, discard), failed, NOW)
    assert (made.tries, made.since) == (1, NOW)
    again = pending.note(tmp_path, plan, (START, other, discard), failed, LATER, made)
    assert (again.tries, again.since) == (2, NOW)
    assert (again.services, again.clean_ups) == ((START, other), (discard,))
    assert [again.problem(step) for step in again.steps] == ["", "no answer", "busy"]
    before = made.path.read_bytes()
    pending.keep_only(again, again.steps)
    assert made.path.read_bytes() == before
    pending.keep_only(again, (other, discard))
    ((read,), strange) = pending.read_all(tmp_path)
    assert strange == ()
    assert read.steps == (other, discard)
    assert [read.problem(step) for step in read.steps] == ["no answer", "busy"]
    assert (read.tries, read.since, read.plan.run) == (2, NOW, RUN)
    for wrong in ("", "[]", "{}", made.path.read_text().replace('"version": 1', '"version": 2')):
        (tmp_path / "0.pending.json").write_text(wrong)
        found, strange = pending.read_all(tmp_path)
        assert [one.plan.run for one in found] == [RUN]
        assert strange == (tmp_path / "0.pending.json",)
    pending.keep_only(read, ())
    pending.keep_only(read, ())
    assert not made.path.exists()


def test_why_a_step_failed_is_one_line_without_values() -> None:
    """What nobody expected may contain anything: only its place is told."""
    assert pending.words_of(RequestError("no answer", "x")) == "no answer"
    words = pending.words_of(ValueError("s3cret"))
    assert words.startswith("unexpected ")
    assert "s3cret" not in words
