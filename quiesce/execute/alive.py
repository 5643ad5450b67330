"""Which process wrote a journal, and whether it is still alive.

A pid alone may be reused, and has another meaning in another container or on another machine.
Together with the process's start time, the boot id and the pid namespace it is unique.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DEAD_STATES = ("Z", "X", "x")


def own_identity() -> dict[str, Any]:
    """Return the identity of this process, as plain values for the journal."""
    pid = os.getpid()
    return {
        "pid": pid,
        "process_start": _started(pid),
        "boot": _boot(),
        "pid_namespace": _namespace(),
        "host": socket.gethostname(),
    }


def lives(identity: Mapping[str, Any]) -> bool:
    """Whether this process is known to be alive.

    False for journals of earlier versions, and for processes of another machine or pid namespace.
    """
    start, pid = identity.get("process_start"), identity.get("pid")
    here = bool(identity.get("boot")) and identity.get("boot") == _boot()
    if not here or identity.get("pid_namespace") != _namespace():
        return False
    return isinstance(pid, int) and start is not None and start == _started(pid)


def _started(pid: int) -> int | None:
    """Return the clock ticks from boot to the start of a process, None if it is not running."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0].decode() in _DEAD_STATES else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
