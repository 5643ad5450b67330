"""How long services are down for a restore, with more and more data: it should not grow.

In each round, with each amount: `inv restore`; the same with its safety set made before the
exchange, as `--safety-first` does; plain commands that replace the data; and a bare stop and start
of the same service until it runs again.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.contestants import Plain, Quiesce
from benchmarks.stack import Amounts, Bench

#: Files and rows of about the same size; together 0.2, 1 and 2 GB.
AMOUNTS = {
    "0.2 GB": Amounts(3_000, 100_000_000, 100_000),
    "1 GB": Amounts(15_000, 500_000_000, 500_000),
    "2 GB": Amounts(30_000, 1_000_000_000, 1_000_000),
}
OURS, FIRST, PLAIN, BARE = "quiesce", "quiesce --safety-first", "plain commands", "bare restart"


def measure(folder: Path, *, rounds: int, tell: Callable[[str], None]) -> Mapping[str, object]:
    """Restore each amount in every round, by each means in turn.

    Raise RuntimeError if something fails.
    """
    down: dict[str, dict[str, float]] = {}
    for name, amounts in AMOUNTS.items():
        below = folder / name.replace(" ", "-")
        below.mkdir()
        bench = Bench(below, amounts)
        try:
            tell(f"{name}: filling {amounts.files} files and {amounts.rows} rows")
            bench.begin()
            down[name] = _restored(bench, rounds, lambda text, name=name: tell(f"{name}: {text}"))
        finally:
            bench.destroy()
    ours = {name: found[OURS] for name, found in down.items()}
    bare = {name: found[BARE] for name, found in down.items()}
    return {
        **{f"downtime_seconds_{name}": found for name, found in down.items()},
        "largest_to_smallest": round(max(ours.values()) / min(ours.values()), 2),
        "to_bare_restart": {name: round(ours[name] / bare[name], 2) for name in ours},
        "rounds": rounds,
        "load_at_the_end": f"{os.getloadavg()[0]:.1f}",
    }


def _restored(bench: Bench, rounds: int, tell: Callable[[str], None]) -> dict[str, float]:
    ours, plain = Quiesce(bench), Plain(bench, bench.folder / "plain")
    ours()
    plain.back_up()
    contestants: Mapping[str, Callable[[], float]] = {
        BARE: lambda: ours.restart().down,
        OURS: ours.restore_with_safety_set,
        FIRST: lambda: ours.restore_with_safety_set(first=True),
        PLAIN: plain.restore_in_the_window,
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, contestant in contestants.items():
            times[name].append(contestant())
            tell(f"round {number + 1}: {name}: {times[name][-1]:.2f} s")
    return {name: round(statistics.median(found), 2) for name, found in times.items()}
