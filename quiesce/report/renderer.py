"""The interface of renderers, and the running steps that they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from quiesce.report.blocks import Block

#: How many lines of an error's details are printed; the rest is only counted.
DETAIL_LINES = 40


@dataclass(frozen=True, slots=True)
class Instant:
    """When an event happened: the time of day, and seconds of the monotonic clock."""

    when: datetime
    clock: float


@dataclass(slots=True)
class Running:
    """A running step. `thread` is the one that began it and reports its progress."""

    position: str
    sentence: str
    why: str
    depth: int
    thread: int
    #: The part of the run that it belongs to, "" for none.
    phase: str = ""
    text: str = ""
    done: int = 0
    reported_at: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """An error to show: a fact, details and a hint."""

    fact: str
    details: tuple[str, ...]
    hint: str
    trace: str = ""


class Renderer(Protocol):
    """Renders events and results for one kind of output. Called from one thread at a time."""

    #: The time zone of printed times; None is this machine's.
    zone: tzinfo | None

    def begins(self, step: Running, at: Instant, /) -> None: ...

    def ends(
        self, position: str, sentence: str, seconds: float, result: str, at: Instant
    ) -> None: ...

    def fails(self, position: str, sentence: str, reason: str, at: Instant, /) -> None: ...

    def progress(self, thread: int, text: str, done: int, at: Instant, /) -> None: ...

    def note(self, text: str, at: Instant, /) -> None: ...

    def warn(self, text: str, at: Instant, /) -> None: ...

    def show(self, blocks: Sequence[Block], at: Instant, /) -> None:
        """Print a result."""
        ...

    def failure(self, failure: Failure) -> None: ...

    def prompt(self, question: str, banner: Sequence[str]) -> None:
        """Leave the cursor behind the question."""
        ...

    def answered(self) -> None:
        """End the line of the question if the answer did not."""
        ...

    def leave(self) -> None:
        """Remove live lines from the screen."""
        ...

    def tick(self, at: Instant, /) -> None:
        """Update live output; called regularly."""
        ...

    @property
    def busy(self) -> bool:
        """Whether `tick` has something to do."""
        ...


class Steps:
    """The steps that run now, in the order they began."""

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}

    def add(self, step: Running) -> None:
        self._running[step.position] = step

    def remove(self, position: str) -> Running | None:
        return self._running.pop(position, None)

    def progressing(self, thread: int) -> Running | None:
        """The step whose progress this thread reports: its own newest, or else the newest."""
        own = [step for step in self._running.values() if step.thread == thread]
        steps = own or list(self._running.values())
        return steps[-1] if steps else None

    def all(self) -> tuple[Running, ...]:
        return tuple(self._running.values())

    def __bool__(self) -> bool:
        return bool(self._running)
