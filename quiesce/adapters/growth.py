"""Reports how much a program has written while it runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from quiesce.ports import Progress

_EVERY_SECONDS = 0.25


@contextlib.contextmanager
def report_growth(paths: Callable[[], list[Path]], text: str, progress: Progress) -> Iterator[None]:
    """Report the size of these files together, four times a second and at the end. A file that
    does not exist counts as empty."""
    done = threading.Event()

    def tell() -> None:
        total = 0
        for path in paths():
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        progress(text, total)

    def repeat() -> None:
        while not done.wait(_EVERY_SECONDS):
            tell()

    thread = threading.Thread(target=repeat, name=f"size: {text}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    tell()
