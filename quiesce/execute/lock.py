"""One changing run at a time per instance, by `flock`: the kernel frees it on any death.

The file's content names the holder for messages only; it decides nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from quiesce.errors import Busy, RequestError

#: Seconds between two attempts.
POLL_SECONDS = 0.2


@contextmanager
def held(file: Path, run: str, task: str, started: datetime, wait: float = 0.0) -> Iterator[None]:
    """Hold the instance's lock while the block runs.

    Waits up to `wait` seconds for it. Raise Busy naming the holder's pid, task and start. The
    file stays behind, on purpose: removing it would let two runs lock two different files.
    """
    descriptor = _open(file)
    try:
        _take(descriptor, file, wait)
        holder = {
            "pid": os.getpid(),
            "run": run,
            "task": task,
            "started": started.isoformat(timespec="seconds"),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_free(file: Path) -> bool:
    """Whether no run holds the lock now."""
    if not file.exists():
        return True
    descriptor = _open(file)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def make_private(folder: Path) -> None:
    """Make a folder and the missing ones above it, each 0700: mkdir gives that to the last only."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def _open(file: Path) -> int:
    try:
        make_private(file.parent)
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RequestError(
            f"cannot write {file}: {error.strerror}",
            f"give {file.parent} to the user who runs this, mode 0700",
        ) from error


def _take(descriptor: int, file: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _busy(file) from None
            time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def _busy(file: Path) -> Busy:
    hint = "wait for it, or let this run wait with --wait SECONDS"
    try:
        holder = json.loads(file.read_text() or "{}")
        who = f"{holder['task']} (pid {holder['pid']}, since {holder['started']})"
    except (OSError, ValueError, KeyError):
        return Busy("another run holds the lock", hint)
    return Busy(f"{who} is running", hint)
