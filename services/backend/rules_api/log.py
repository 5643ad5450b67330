"""One line per event, to standard error and, if there is a folder for it, to a file."""

import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

_lock = threading.Lock()
_streams: list[TextIO] = [sys.stderr]


def open_log(folder: Path) -> None:
    """Also write to ``backend.log`` in the folder; one that cannot be written is only reported."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _streams.append((folder / "backend.log").open("a", encoding="utf-8"))
    except OSError as error:
        log(f"no log file in {folder}: {error.strerror}")


def log(message: str) -> None:
    """Write one line; what a client sent cannot make it two."""
    clean = "".join(c if c.isprintable() else "?" for c in message)
    line = f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {clean}\n"
    with _lock:
        for stream in _streams:
            # a full disk must not turn an answer into an error
            with suppress(OSError):
                stream.write(line)
                stream.flush()
