"""Records that dump locks blocked another session, so that the next backup dumps differently.

A service that changes tables when it starts is blocked by the locks of exported snapshots. That run
fails; from then on the instance's databases are dumped while services are stopped.
"""

from __future__ import annotations

from pathlib import Path

from quiesce.app.backups_folder import runs_folder
from quiesce.errors import QuiesceError, StepFailed
from quiesce.file_errors import hint_for, reason
from quiesce.model import Stack
from quiesce.ports import BlockedAnotherSession
from quiesce.private_files import read_private

_FILE = "dump-in-window"


def reason_for_window(stack: Stack) -> str:
    """Return why databases must be dumped while services are stopped, or "" if they need not be."""
    try:
        told = read_private(_file(stack)).decode(errors="replace").strip()
    except OSError:
        return ""
    return (
        f"locks of an earlier dump blocked another session ({told}); if that can no longer happen, "
        f"remove {_FILE} in {_file(stack).parent}"
    )


def remember_window(stack: Stack, failure: StepFailed) -> bool:
    """Record the failure if locks were its cause. Return whether they were."""
    cause = failure.__cause__
    if not isinstance(cause, BlockedAnotherSession):
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
