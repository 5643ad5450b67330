"""The crash journal: what a run is about to do and what it owes, on disk before it happens.

One JSON line per event in `backups/.runs/<instance>/<run>.jsonl`, synced line by line. The file's
space is taken when the run begins, so that a disk filled up later cannot keep it from saying what
it owes. A torn last line is what a crash leaves; it is ignored.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from quiesce.codec import NotDecodable, decode, encode
from quiesce.errors import RequestError, StillOwed
from quiesce.plan.recover import Progress
from quiesce.plan.steps import Plan

VERSION = 1
_ROOM = 256 * 1024


class Journal:
    """The open journal of the run that is going on."""

    def __init__(self, folder: Path, run: str) -> None:
        self.path = folder / f"{run}.jsonl"
        self._descriptor: int | None = None
        self._end = 0

    def open(self, plan: Plan, now: datetime) -> None:
        """Take room on disk and write down the whole plan. Raise RequestError when impossible."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
            os.posix_fallocate(self._descriptor, 0, _ROOM)
            self.write(
                "run-begin", version=VERSION, pid=os.getpid(), at=now.isoformat(), plan=encode(plan)
            )
            _sync_folder(self.path.parent)
        except OSError as error:
            self.abandon()
            raise RequestError(
                f"cannot write the journal {self.path}: {error.strerror}",
                "free some space there, or correct its permissions",
            ) from error

    def write(self, event: str, **facts: Any) -> None:
        """Append one event and sync it. Raise OSError when that fails."""
        if self._descriptor is None:
            return
        line = json.dumps({"event": event, **facts}, separators=(",", ":")).encode() + b"\n"
        os.pwrite(self._descriptor, line, self._end)
        os.fdatasync(self._descriptor)
        self._end += len(line)

    def close(self, outcome: str) -> None:
        """Write `run-end`: nothing is owed by this run any more."""
        if self._descriptor is None:
            return
        self.write("run-end", outcome=outcome)
        self.leave_open()

    def leave_open(self) -> None:
        """Close the file without `run-end`: a recovery has to look at this run."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, self._end)
            os.close(self._descriptor)
            self._descriptor = None

    def abandon(self) -> None:
        """Remove the journal of a run that has not begun."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A journal without `run-end` whose run is gone. `plan` is None when it cannot be read."""

    path: Path
    plan: Plan | None
    progress: Progress
    problem: str = ""

    @property
    def run(self) -> str:
        return self.path.stem


def read(path: Path) -> DeadRun:
    """Return what the journal says. Never raises for its content: `problem` says what is wrong.

    Raise RequestError when it cannot be read at all.
    """
    with _told(path):
        events, _ = _read_events(path)
    if not events or events[0].get("event") != "run-begin":
        # Nothing was done before the plan was on disk.
        return DeadRun(path, None, Progress(closed=True))
    begin = events[0]
    if begin.get("version") != VERSION:
        problem = f"it has version {begin.get('version')}, this program reads {VERSION}"
        return DeadRun(path, None, Progress(), problem)
    try:
        plan: Plan = decode(Plan, begin.get("plan"))
    except NotDecodable as error:
        return DeadRun(path, None, Progress(), f"its plan cannot be read: {error}")

    def positions(name: str) -> frozenset[str]:
        return frozenset(str(e["position"]) for e in events if e.get("event") == name)

    progress = Progress(
        owed=positions("owed"),
        begun=positions("begin"),
        ended=positions("end"),
        body_done=positions("body-done"),
        settled=positions("settled"),
        closed=any(event.get("event") == "run-end" for event in events),
    )
    return DeadRun(path, plan, progress)


def unfinished(folder: Path, own: str = "") -> tuple[DeadRun, ...]:
    """Return the runs without `run-end`, newest first; `own` is left out.

    Only who holds the instance's lock may treat them as dead.
    """
    runs = []
    for path in sorted(folder.glob("*.jsonl"), reverse=True):
        if path.stem != own:
            run = read(path)
            if not run.progress.closed:
                runs.append(run)
    return tuple(runs)


def last_done(folder: Path, verb: str) -> tuple[Plan, datetime] | None:
    """Return the newest finished run of this verb and when it began, None when there is none."""
    for path in sorted(folder.glob("*.jsonl"), reverse=True):
        with _told(path):
            events, _ = _read_events(path)
        ended = {"event": "run-end", "outcome": "done"}
        if not events or events[-1] != ended or events[0].get("version") != VERSION:
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
    """Add `run-end` to a dead run's journal, after what it owed was done."""
    line = json.dumps({"event": "run-end", "outcome": outcome}).encode() + b"\n"
    try:
        _, end = _read_events(run.path)
        with run.path.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), line, end)
            file.truncate(end + len(line))
            os.fsync(file.fileno())
    except OSError as error:
        raise StillOwed(
            f"what run {run.run} owed is done, but cannot be written down: {error.strerror}",
            f"see who may write {run.path} and how full its disk is, then run 'inv recover'",
        ) from error


def forget_old(folder: Path, keep: int) -> None:
    """Remove the oldest finished journals beyond `keep`; what cannot be read or removed stays."""
    finished = []
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(RequestError):
            if read(path).progress.closed:
                finished.append(path)
    for path in finished[: max(0, len(finished) - keep)]:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"cannot read the journal {path}: {error.strerror}",
            "see who may read it; nothing is changed before it is known what was interrupted",
        ) from error


def _read_events(path: Path) -> tuple[list[Mapping[str, Any]], int]:
    """Return the events of a journal and where the next one goes.

    What follows the last good line (the room taken in advance, a torn line) is as if not there.
    """
    events: list[Mapping[str, Any]] = []
    end = 0
    for line in path.read_bytes().split(b"\0", 1)[0].splitlines(keepends=True):
        try:
            event = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            event = None
        if not isinstance(event, dict):
            break
        events.append(event)
        end += len(line)
    return events, end


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
