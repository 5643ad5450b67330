"""Kills every process that was started for a folder that is about to be removed."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from quiesce.adapters.host import procfs
from quiesce.adapters.host.procfs import MARK_STATE, Live


def end_everything_in(folder: Path) -> None:
    """Kill every process of a host instance whose state is in `folder`, and every one that works in
    it or was started from it. None of them needs an orderly shutdown."""
    top = folder.resolve()
    everybody = procfs.all_processes()
    found = [live for live in everybody.values() if _is_of(live, top)]
    for live in procfs.roots(found, everybody):
        procfs.end(live, signal.SIGKILL, 0.0, group=live.leads)


def _is_of(live: Live, top: Path) -> bool:
    state = procfs.marks(live).get(MARK_STATE)
    if state and Path(state).is_relative_to(top):
        return True
    for link in ("cwd", "exe"):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{live.pid}/{link}").readlink().is_relative_to(top):
                return True
    return False
