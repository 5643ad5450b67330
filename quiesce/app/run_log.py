"""The log file of scheduled runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quiesce.model import Stack


LONGEST_LOG = 5_000_000


def _log_folder() -> str:
    return "backups/.log"


def log_file(stack: Stack) -> Path:
    """Return the log file of this instance's scheduled runs."""
    return stack.directory / _log_folder() / f"{stack.instance.name}.log"


def rotate_log(stack: Stack, longest: int = LONGEST_LOG) -> None:
    """If the output goes to the log and it is too long, continue in a new one.

    One older log is kept. A failure here never stops the run.
    """
    file = log_file(stack)
    try:
        there = file.stat()
        ours = [fd for fd in (1, 2) if os.path.samestat(os.fstat(fd), there)]
        if not ours or there.st_size < longest:
            return
        file.replace(file.with_name(f"{file.name}.1"))
        fresh = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        for fd in ours:
            os.dup2(fresh, fd)
        os.close(fresh)
    except OSError:
        return
