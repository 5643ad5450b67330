"""Reads and replaces the user's whole crontab, as bytes."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path

from quiesce.adapters.process import program
from quiesce.errors import QuiesceError

_HINT = "install cron (Debian: apt-get install cron), and see that this user may use it"


def read_crontab() -> bytes:
    """Return the crontab, b"" if there is none yet. Raise QuiesceError if cron refuses."""
    ended = program.run(["crontab", "-l"], accept=(0, 1), timeout=30, what="crontab -l", hint=_HINT)
    if ended.exit_code == 1:
        if any("no crontab for" in line for line in ended.stderr):
            return b""
        raise QuiesceError("crontab -l failed", _HINT, details=ended.stderr)
    # Debian's version shows a carriage return as these two characters, which may also occur
    # literally.
    return _read_as_editor() if rb"\r" in ended.stdout else ended.stdout


def write_crontab(table: bytes) -> None:
    """Replace the crontab. Raise QuiesceError if cron rejects it; the old one is then kept."""
    program.run(["crontab", "-"], stdin=table, timeout=30, what="crontab", hint=_HINT)


def _read_as_editor() -> bytes:
    """Return the crontab as an editor gets it: the file itself, copied instead of edited."""
    with tempfile.TemporaryDirectory() as folder:
        copy = f"cp -t {shlex.quote(folder)}"
        program.run(
            ["crontab", "-e"],
            environment={**os.environ, "VISUAL": copy, "EDITOR": copy},
            timeout=30,
            what="crontab -e",
            hint=r"remove carriage returns (shown as \r by 'crontab -l') from the crontab",
        )
        (only,) = Path(folder).iterdir()
        return only.read_bytes()
