"""Remembers that a stack's locks were in somebody's way, so that the next backup holds none.

A service that changes tables when it starts waits for the locks of held snapshots. The run in
which that happened is lost; from then on the instance's databases are dumped while services rest.
"""

from __future__ import annotations

from pathlib import Path

from quiesce.app.backups_folder import runs_folder
from quiesce.errors import QuiesceError, StepFailed
from quiesce.file_errors import hint_for, reason
from quiesce.model import Stack
from quiesce.private_files import read_private

_FILE = "dump-in-window"


def reason_for_window(stack: Stack) -> str:
    """Return why databases are to be dumped while services rest, "" for no reason."""
    try:
        told = read_private(_file(stack)).decode(errors="replace").strip()
    except OSError:
        return ""
    return f"locks blocked an earlier dump ({told}); remove {_FILE} in {_file(stack).parent.name}"


def remember_window(stack: Stack, failure: StepFailed) -> bool:
    """Write it down when the failure is that of locks in the way. Return whether it was."""
    from quiesce.adapters.postgres.lock_monitor import InTheWay

    cause = failure.__cause__
    if not isinstance(cause, InTheWay):
        return False
    told = " ".join((cause.details or (cause.fact,))[0].split())[:200]
    file = _file(stack)
    from quiesce.adapters.files import replace_synced

    try:
        replace_synced(file, f"{told}\n".encode())
    except OSError as error:
        raise QuiesceError(
            f"cannot write {file}: {reason(error)}", hint_for(error, file)
        ) from error
    return True


def _file(stack: Stack) -> Path:
    return runs_folder(stack) / _FILE
