"""The write-ahead journal of a run: its plan, and each step before it begins.

One JSON line per event in `backups/.runs/<instance>/<run>.jsonl`, synced line by line. The file's
space is allocated when the run begins, so that a full disk cannot prevent later records. An
incomplete last line, as left by a crash, is ignored.

A live run holds a lock on its journal, and the journal names its process. So a run does not count
as dead because the instance's lock file was removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from quiesce.codec import NotDecodable, decode, encode
from quiesce.errors import RecoveryPending, RequestError, translate_errors
from quiesce.execute.alive import lives, own_identity
from quiesce.file_errors import hint_for, reason
from quiesce.plan.recover import Progress
from quiesce.plan.steps import EXCHANGING, Plan, steps_of
from quiesce.private_files import make_private, open_private, read_private, same_file

VERSION = 1
_ROOM = 256 * 1024
#: Outcomes of runs that reached their goal, by themselves or by their recovery.
ENDED_WELL = ("done", "finished")
_PROCESS = ("pid", "process_start", "boot", "pid_namespace", "host")


class Journal:
    """The open journal of the current run."""

    def __init__(self, folder: Path, run: str) -> None:
        self.path = folder / f"{run}.jsonl"
        self._descriptor: int | None = None
        self._end = 0

    def open(self, plan: Plan, now: datetime) -> None:
        """Allocate disk space and write the whole plan. Raise RequestError if that fails."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = open_private(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            # The kernel releases it on any death. Readers take a shared lock briefly.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            os.posix_fallocate(self._descriptor, 0, _ROOM)
            self.write(
                "run-begin",
                version=VERSION,
                at=now.isoformat(),
                plan=encode(plan),
                **own_identity(),
            )
            _sync_folder(self.path.parent)
        except OSError as error:
            self.abandon()
            raise RequestError(
                f"cannot write the journal {self.path}: {reason(error)}",
                hint_for(error, self.path),
            ) from error

    def write(self, event: str, **facts: Any) -> None:
        """Append one event and sync it. Raise OSError if that fails, or if the journal was removed
        or replaced, because a recovery would not find the event then."""
        if self._descriptor is None:
            return
        line = json.dumps({"event": event, **facts}, separators=(",", ":")).encode() + b"\n"
        os.pwrite(self._descriptor, line, self._end)
        os.fdatasync(self._descriptor)
        self._end += len(line)
        if not same_file(self._descriptor, self.path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))

    def close(self, outcome: str) -> None:
        """Write `run-end`: nothing is left to recover."""
        if self._descriptor is None:
            return
        try:
            self.write("run-end", outcome=outcome)
        finally:
            self._close()

    def leave_open(self) -> None:
        """Close the file without `run-end`, so that a recovery handles this run."""
        descriptor = self._descriptor
        if descriptor is None:
            return
        # This process may continue for a while, but its run has ended.
        with contextlib.suppress(OSError):
            self.write("left")
        with contextlib.suppress(OSError):
            self._bring_back(descriptor)
        self._close()

    def _bring_back(self, descriptor: int) -> None:
        """Write the journal again if it was removed. Raise FileExistsError if a file is there."""
        make_private(self.path.parent)
        copy = open_private(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.write(copy, os.pread(descriptor, self._end, 0))
            os.fsync(copy)
        finally:
            os.close(copy)

    def _close(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            os.close(self._descriptor)
            self._descriptor = None

    def abandon(self) -> None:
        """Remove the journal of a run that did not start, unless another run has it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A journal without `run-end`. `plan` is None if it cannot be read."""

    path: Path
    plan: Plan | None
    progress: Progress
    problem: str = ""
    #: The process that wrote it, and when the run began.
    process: Mapping[str, Any] = field(default_factory=dict)
    began: str = ""
    #: Whether the run ended with something pending; its process may still exist.
    left: bool = False
    #: The outcome, if the run has ended.
    outcome: str = ""

    @property
    def run(self) -> str:
        return self.path.stem

    @property
    def alive(self) -> bool:
        """Whether the process that wrote the journal is still at work on it."""
        if self.left or self.progress.closed:
            return False
        # For this process itself, only the lock tells whether the run continues.
        own = self.process.get("pid") == os.getpid()
        return _is_locked(self.path) or (not own and lives(self.process))


def read(path: Path) -> DeadRun:
    """Parse the journal. Invalid content is reported in `problem`.

    Raise RequestError if it cannot be read at all.
    """
    with _translate_read_errors(path):
        events, _ = _read_events(path)
    if not events or events[0].get("event") != "run-begin":
        # The run did nothing before its plan was on disk.
        return DeadRun(path, None, Progress(closed=True))
    begin = events[0]
    began = str(begin.get("at", ""))
    process = {key: value for key, value in begin.items() if key in _PROCESS}
    left = any(event.get("event") == "left" for event in events)

    def unreadable(problem: str) -> DeadRun:
        return DeadRun(path, None, Progress(), problem, process, began, left)

    if begin.get("version") != VERSION:
        return unreadable(
            f"it has version {begin.get('version')}, but this version of Quiesce reads version "
            f"{VERSION}"
        )
    try:
        plan: Plan = decode(Plan, begin.get("plan"))
    except NotDecodable as error:
        return unreadable(f"its plan cannot be read: {error}")

    def positions(name: str) -> frozenset[str]:
        return frozenset(str(e["position"]) for e in events if e.get("event") == name)

    progress = Progress(
        pending=positions("owed"),
        begun=positions("begin"),
        ended=positions("end"),
        body_done=positions("body-done"),
        settled=positions("settled"),
        closed=any(event.get("event") == "run-end" for event in events),
    )
    ends = [str(e.get("outcome", "")) for e in events if e.get("event") == "run-end"]
    return DeadRun(path, plan, progress, "", process, began, left, ends[-1] if ends else "")


def unfinished(folder: Path) -> tuple[DeadRun, ...]:
    """Return the dead runs without `run-end`, newest first.

    Only the holder of the instance's lock may treat them as dead.
    """
    return tuple(run for run in _open_ones(folder) if not run.alive)


def living(folder: Path) -> tuple[DeadRun, ...]:
    """Return the runs that are still active, regardless of the lock file."""
    return tuple(run for run in _open_ones(folder) if run.alive)


def _open_ones(folder: Path) -> Iterator[DeadRun]:
    for path in sorted(folder.glob("*.jsonl"), reverse=True):
        run = read(path)
        if not run.progress.closed:
            yield run


def _is_locked(path: Path) -> bool:
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def last_done(folder: Path, verb: str) -> tuple[Plan, datetime] | None:
    """Return the newest successful run of this verb and when it began, or None."""
    for path in sorted(folder.glob("*.jsonl"), reverse=True):
        with _translate_read_errors(path):
            events, _ = _read_events(path)
        last = events[-1] if events else {}
        if last.get("outcome") not in ENDED_WELL:
            continue
        if events[0].get("version") != VERSION:
            continue
        try:
            plan: Plan = decode(Plan, events[0].get("plan"))
            began = datetime.fromisoformat(str(events[0].get("at")))
        except (NotDecodable, ValueError):
            continue
        if plan.verb == verb:
            return plan, began
    return None


def close_dead(run: DeadRun, outcome: str) -> None:
    """Add `run-end` to a dead run's journal after its recovery."""
    line = json.dumps({"event": "run-end", "outcome": outcome}).encode() + b"\n"
    try:
        _, end = _read_events(run.path)
        descriptor = open_private(run.path, os.O_RDWR)
        try:
            os.pwrite(descriptor, line, end)
            os.ftruncate(descriptor, end + len(line))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RecoveryPending(
            f"run {run.run} was recovered, but its journal cannot be updated: {reason(error)}",
            f"{hint_for(error, run.path)}; then run 'inv recover'",
        ) from error


def forget_old(folder: Path, keep: int) -> None:
    """Remove the oldest finished journals beyond `keep`, skipping any that cause errors."""
    finished = []
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(RequestError):
            if read(path).progress.closed:
                finished.append(path)
    for path in finished[: max(0, len(finished) - keep)]:
        with contextlib.suppress(OSError):
            path.unlink()


def _translate_read_errors(path: Path) -> AbstractContextManager[None]:
    def translation(error: Exception) -> RequestError | None:
        if not isinstance(error, OSError):
            return None
        hint = hint_for(error, path)
        return RequestError(
            f"cannot read the journal {path}: {reason(error)}",
            f"{hint}; Quiesce changes nothing until it can read which run was interrupted",
        )

    return translate_errors(translation)


def _read_events(path: Path) -> tuple[list[Mapping[str, Any]], int]:
    """Return the events of a journal and the offset for the next one.

    Anything after the last valid line (allocated space, an incomplete line) is ignored.
    """
    events: list[Mapping[str, Any]] = []
    end = 0
    for line in read_private(path).split(b"\0", 1)[0].splitlines(keepends=True):
        try:
            event = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            event = None
        if not isinstance(event, dict):
            break
        events.append(event)
        end += len(line)
    return events, end


def exchanged_at(folder: Path, run: str) -> datetime | None:
    """Return when the exchange of live data of a run began, None if its journal does not say."""
    path = folder / f"{run}.jsonl"
    with contextlib.suppress(OSError, ValueError, NotDecodable):
        events, _ = _read_events(path)
        if not events or events[0].get("version") != VERSION:
            return None
        plan: Plan = decode(Plan, events[0].get("plan"))
        steps = dict(steps_of(plan.nodes))
        for event in events:
            step = steps.get(str(event.get("position")))
            if event.get("event") == "begin" and "at" in event and isinstance(step, EXCHANGING):
                return datetime.fromisoformat(str(event["at"]))
    return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
