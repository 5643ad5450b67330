"""Values over time as the geometry of a small drawing. Pure numbers; the template draws it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Literal

from quiesce.report import words

Unit = Literal["bytes", "seconds"]

#: The size of the drawing; the page scales it to its width.
WIDTH, HEIGHT = 420, 170
LEFT, RIGHT, TOP, BOTTOM = 74, 10, 10, 28
#: Steps between ticks of the vertical axis: sizes in powers of 1024, times in round units.
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60)
_LONGER = (120, 300, 600, 1200, 1800, 3600, 7200, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a time, and the name of its set."""

    at: datetime
    value: float
    name: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A tick on an axis and its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of the drawing and its label."""

    x: float
    y: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Row:
    """A point as text, for the table below the drawing."""

    name: str
    at: str
    value: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing. Without `dots` there is nothing to draw."""

    line: str
    dots: tuple[Dot, ...]
    columns: tuple[Mark, ...]
    lines: tuple[Mark, ...]
    rows: tuple[Row, ...]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def make_plot(points: Sequence[Point], unit: Unit, zone: tzinfo) -> Plot:
    """Return the drawing of these points, oldest first; its vertical axis starts at zero."""
    if not points:
        return Plot("", (), (), (), (), "no data yet")
    ordered = sorted(points, key=lambda point: point.at)
    step = step_between(max(point.value for point in ordered), unit)
    count = max(1, math.ceil(max(point.value for point in ordered) / step - 1e-9))
    first, last = ordered[0].at, ordered[-1].at
    span = max((last - first) / timedelta(seconds=1), 1.0)

    def x_of(at: datetime) -> float:
        if first == last:
            return (LEFT + WIDTH - RIGHT) / 2
        part = (at - first) / timedelta(seconds=1) / span
        return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)

    def y_of(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / (step * count) * (HEIGHT - TOP - BOTTOM), 1)

    label = _formatter(unit)
    dots = tuple(
        Dot(
            x_of(point.at),
            y_of(point.value),
            f"{point.at.astimezone(zone):%Y-%m-%d %H:%M}: {label(point.value)}",
        )
        for point in ordered
    )
    ends = (first, last) if first != last else (first,)
    values = [point.value for point in ordered]
    return Plot(
        line=" ".join(f"{dot.x:g},{dot.y:g}" for dot in dots),
        dots=dots,
        columns=tuple(Mark(x_of(at), f"{at.astimezone(zone):%Y-%m-%d}") for at in ends),
        lines=tuple(Mark(y_of(step * n), label(step * n)) for n in range(count + 1)),
        rows=tuple(
            Row(p.name, f"{p.at.astimezone(zone):%Y-%m-%d %H:%M}", label(p.value))
            for p in reversed(ordered)
        ),
        summary=(
            f"{words.counted(len(values), 'value')} from {label(min(values))} to "
            f"{label(max(values))}, the newest {label(values[-1])}"
        ),
    )


def step_between(most: float, unit: Unit) -> float:
    """Return a round step so that four or five of them reach `most`."""
    wanted = max(most, 1e-9) / 4
    if unit == "seconds":
        known = next((step for step in (*_SECONDS, *_LONGER) if step >= wanted), None)
        return float(known) if known else math.ceil(wanted / 86400) * 86400.0
    power = 1.0
    while wanted >= power * 1024:
        power *= 1024
    round_steps = (1, 2, 5, 10, 20, 50, 100, 200, 256, 512, 1024)
    return power * next(step for step in round_steps if step * power >= wanted)


def _formatter(unit: Unit) -> Callable[[float], str]:
    return (lambda value: words.size(round(value))) if unit == "bytes" else words.duration
