"""The lock that allows one changing run per instance, by `flock`: the kernel releases it on death.

The file's content names the holder, for messages only. The lock is valid only while the path still
names the locked file: if the file was removed, another run would lock a new one.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from quiesce.errors import Busy, RequestError
from quiesce.file_errors import hint_for, reason
from quiesce.private_files import make_private, open_private, read_private, same_file

#: Seconds between two attempts.
POLL_SECONDS = 0.2
#: How often the file may be replaced between opening and locking it.
_MOST_REPLACED = 100


@dataclass(frozen=True, slots=True)
class Held:
    """The lock while this process holds it."""

    file: Path
    descriptor: int

    def require(self) -> None:
        """Raise RequestError if the lock file was removed or replaced since it was locked."""
        if not same_file(self.descriptor, self.file):
            raise RequestError(
                f"the lock file {self.file} was removed or replaced while this run held it",
                "the run had not started; run it again, and find out what removes files in "
                "backups/.runs",
            )


@contextmanager
def held(file: Path, run: str, task: str, started: datetime, wait: float = 0.0) -> Iterator[Held]:
    """Hold the instance's lock while the block runs.

    Waits up to `wait` seconds for it. Raise Busy naming the holder's pid, task and start. The
    file is not removed afterwards, because that would let two runs lock two different files.
    """
    descriptor = _take(file, wait)
    try:
        holder = {
            "pid": os.getpid(),
            "run": run,
            "task": task,
            "started": started.isoformat(timespec="seconds"),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield Held(file, descriptor)
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_free(file: Path) -> bool:
    """Whether no run holds the lock now. Creates no file."""
    try:
        descriptor = open_private(file, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise _cannot(file, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _open(file: Path) -> int:
    try:
        make_private(file.parent)
        return open_private(file, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise _cannot(file, error) from error


def _cannot(file: Path, error: OSError) -> RequestError:
    return RequestError(f"cannot write {file}: {reason(error)}", hint_for(error, file))


def _take(file: Path, wait: float) -> int:
    """Return a descriptor of the locked file that the path names."""
    deadline = time.monotonic() + wait
    replaced = 0
    while True:
        descriptor = _open(file)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if same_file(descriptor, file):
                return descriptor
            # Removed or replaced between the two calls, so this lock is useless.
            os.close(descriptor)
            replaced += 1
            if replaced > _MOST_REPLACED:
                raise RequestError(
                    f"the lock file {file} is replaced again and again",
                    f"find the process that removes files in {file.parent}, and stop it",
                )
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() >= deadline:
                raise _busy(file) from None
            time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
        except OSError as error:
            os.close(descriptor)
            raise _cannot(file, error) from error


def _busy(file: Path) -> Busy:
    hint = "wait until it ends, or use --wait SECONDS"
    try:
        holder = json.loads(read_private(file))
        who = f"{holder['task']} (pid {holder['pid']}, since {holder['started']})"
    except (OSError, ValueError, KeyError, TypeError):
        return Busy("another run holds the lock", hint)
    return Busy(f"{who} is running", hint)
