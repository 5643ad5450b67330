"""The clock of the reporter, as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time of day, and seconds for durations."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


class ThisMachine:
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
