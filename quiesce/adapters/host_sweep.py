"""Ending everything that was started for a folder that is about to be removed."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from quiesce.adapters import host_process
from quiesce.adapters.host_process import MARK_STATE, Live


def end_everything_in(folder: Path) -> None:
    """Kill every process of a host instance whose state is in `folder`, and every one that works
    in it or was started from it. Nothing of it is worth an orderly end."""
    top = folder.resolve()
    everybody = host_process.everyone()
    found = [live for live in everybody.values() if _is_of(live, top)]
    for live in host_process.roots(found, everybody):
        host_process.end(live, signal.SIGKILL, 0.0, group=live.leads)


def _is_of(live: Live, top: Path) -> bool:
    state = host_process.marks(live).get(MARK_STATE)
    if state and Path(state).is_relative_to(top):
        return True
    for link in ("cwd", "exe"):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{live.pid}/{link}").readlink().is_relative_to(top):
                return True
    return False
