"""Child processes: their identity, the end of their process group, the tail of their output.

`program` uses it for programs, and `host/procfs` for services.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO

#: Seconds between TERM and KILL for a child of a run that ends.
PATIENCE = 5.0
TAIL_LINES = 20
TAIL_BYTES = 64 * 1024


class Reader:
    """Reads a stream to its end in a thread and keeps its last or first `limit` bytes."""

    def __init__(self, stream: IO[bytes] | None, limit: int, *, keep_end: bool) -> None:
        self.content = b""
        self.overflowed = False
        self._thread: threading.Thread | None = None
        if stream is not None:
            self._thread = threading.Thread(
                target=self._read, args=(stream, limit), kwargs={"keep_end": keep_end}, daemon=True
            )
            self._thread.start()

    def _read(self, stream: IO[bytes], limit: int, *, keep_end: bool) -> None:
        chunks = bytearray()
        with stream:
            while chunk := os.read(stream.fileno(), 64 * 1024):
                chunks += chunk
                if len(chunks) > limit:
                    self.overflowed = True
                    del chunks[slice(0, -limit) if keep_end else slice(limit, None)]
                if keep_end:
                    self.content = bytes(chunks)
        self.content = bytes(chunks)

    def wait(self, seconds: float | None, *, strict: bool = True) -> None:
        """Wait for the end of the stream; after a timeout raise TimeoutError if `strict`."""
        if self._thread is None:
            return
        self._thread.join(seconds)
        if strict and self._thread.is_alive():
            raise TimeoutError


def tail(
    content: bytes, secrets: Collection[str] = (), lines_kept: int = TAIL_LINES
) -> tuple[str, ...]:
    """Return the last lines of a program's output, without control characters and secrets."""
    text = content.decode("utf-8", "replace")
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    lines = [
        "".join(letter if letter.isprintable() else " " for letter in line).rstrip()
        for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    ]
    return tuple(line for line in lines if line)[-lines_kept:]


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process group, which may be empty already."""
    # macOS reports PermissionError for a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def wait_for_group(pid: int, seconds: float) -> None:
    """Wait until no member of a killed group is alive: signals are delivered asynchronously."""
    deadline = time.monotonic() + seconds
    while _has_living_member(pid) and time.monotonic() < deadline:
        time.sleep(0.005)


def tied_to_us(command: Sequence[str]) -> list[str]:
    """Return the command wrapped so that the kernel terminates it when this process dies (also by
    `kill -9`).

    `setpriv` requests that from the kernel and then execs the program: same pid, 2 ms. A request
    between fork and exec in Python (`preexec_fn`) can deadlock in a program with threads. In the
    remaining cases (death in the first 2 ms; a system without util-linux) the child runs until it
    ends, or until its pipe or connection is closed.
    """
    setpriv = _setpriv()
    return [setpriv, "--pdeathsig", "TERM", "--", *command] if setpriv else list(command)


@functools.cache
def _setpriv() -> str | None:
    found = shutil.which("setpriv", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        return None
    probe = [found, "--pdeathsig", "TERM", "--", found, "--version"]  # busybox lacks this option
    tried = subprocess.run(
        probe,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return found if tried.returncode == 0 else None


def _has_living_member(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    # Zombies that are never reaped (in a container without an init) stay in the group forever.
    others = (_stat_fields(int(path.name)) for path in Path("/proc").glob("[0-9]*"))
    return any(f[2] == str(group) and f[0] not in ("Z", "X") for f in others if f)


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the state on.

    The name before it may contain any characters, including parentheses.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
