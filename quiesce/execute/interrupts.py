"""Turns INT, TERM and HUP into one exception, which is delayed while services are put back.

Invoke itself skips `finally` blocks on SIGTERM, so Quiesce installs its own handlers.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from quiesce.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Turns the first signal into `Interrupted`; inside `shield()` it is only recorded.

    Further signals are ignored, so that putting back is not interrupted.
    """

    def __init__(self) -> None:
        self._shields = 0
        self._pending: int | None = None
        self._raised = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals while the block runs. Does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Let no signal interrupt the block. `check` raises for signals that came meanwhile."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    def check(self) -> None:
        """Raise Interrupted if a signal came while shielded."""
        if self._pending is not None and not self._shields and not self._raised:
            self._raised = True
            raise Interrupted(self._pending)

    @property
    def pending(self) -> int | None:
        """The first signal that came, if one did."""
        return self._pending

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._pending is None:
            self._pending = number
        if not self._shields and not self._raised:
            self._raised = True
            raise Interrupted(self._pending)
