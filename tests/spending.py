"""Where the time of a run of the tests went: the machine's processors, and the slowest files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.outcome import Outcome

SLOWEST = 12


@dataclass(slots=True)
class Spending:
    """Seconds of the clock, of all processors while they worked, and of the tests' own processes.

    What `busy` has beyond `tests` is the engine with its containers, servers that tests left to
    themselves, and whoever else uses the machine. None where the system does not say.
    """

    wall: float = 0.0
    tests: float = 0.0
    busy: float | None = None


@contextmanager
def measured_processors() -> Iterator[Spending]:
    """Fill in what was spent meanwhile, by programs that have ended and were waited for."""
    took = Spending()
    begun, busy, ours = time.monotonic(), _busy(), _ours()
    try:
        yield took
    finally:
        took.wall, took.tests = time.monotonic() - begun, _ours() - ours
        after = _busy()
        took.busy = None if busy is None or after is None else after - busy


def print_spending(took: Spending, files: Sequence[Outcome]) -> None:
    """Print the processors and, slowest first, what the files of tests took."""
    count = os.cpu_count() or 1
    print(f"\n{took.wall:.0f} s; processor seconds: {took.tests:.0f} of the tests", end="")
    if took.busy is not None:
        others = max(0.0, took.busy - took.tests)
        idle = max(0.0, count * took.wall - took.busy)
        print(f", {others:.0f} of the engine and all else, {idle:.0f} idle", end="")
    print(f" ({count} processors)")
    print(f"\n{'slowest files (side by side)':<52}{'seconds':>9}{'cpu s':>9}")
    for file in files[:SLOWEST]:
        print(f"{file.stage:<52}{file.seconds:>9.1f}{file.cpu:>9.1f}")


def _ours() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _busy() -> float | None:
    """Seconds that the processors have worked since the machine started (Linux)."""
    try:
        line = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return None
    # proc(5): user nice system idle iowait irq softirq steal
    ticks = [int(word) for word in line.split()[1:8]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
