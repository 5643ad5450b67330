"""A terminal to run `inv` in: what is printed there, and what a person types."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.checkout import Checkout
from tests.support.patience import DEADLINE


def inv_in_terminal(
    checkout: Checkout, arguments: Sequence[str], typed: Sequence[tuple[str, str]] = ()
) -> tuple[int, str]:
    """Run `inv` of a checkout in a terminal; see `in_terminal`."""
    call = [sys.executable, "-m", "invoke", *arguments]
    return in_terminal(call, checkout.folder, checkout.environment, typed)


def in_terminal(
    call: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    typed: Sequence[tuple[str, str]] = (),
) -> tuple[int, str]:
    """Run a program in a terminal; whenever a text has appeared, type its answer.

    Return the exit code and all that was shown.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 160, 0, 0))
    try:
        process = subprocess.Popen(
            call,
            cwd=folder,
            env={**environment, "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    try:
        shown = _talk(ours, list(typed))
        return process.wait(DEADLINE), shown
    finally:
        os.close(ours)


def _talk(terminal: int, typed: list[tuple[str, str]]) -> str:
    shown, since, end = "", 0, time.monotonic() + 3 * DEADLINE
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # the other end was closed
            return shown
        if not chunk:
            return shown
        shown += chunk.decode("utf-8", "replace")
        if typed and typed[0][0] in shown[since:]:
            since = len(shown)
            os.write(terminal, typed.pop(0)[1].encode())
    pytest.fail(f"the terminal was still open after a while; it showed:\n{shown}")
