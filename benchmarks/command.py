"""`inv bench`: everything in one run, and a table of it."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import machine
from benchmarks.contestants import InTheWindow, Plain, Quiesce, Result, in_the_window
from benchmarks.databases import measure
from benchmarks.restore import measure as measure_restore
from benchmarks.stack import FULL, SMALL, Bench, is_reachable
from benchmarks.stores import measure as measure_stores
from benchmarks.window import measure as measure_window

OURS = "quiesce"
OUR_BARE = "quiesce restart"
BARE = "bare stop and start"
CLASSIC = "stop, docker run tar czf, start"


def main(
    *,
    full: bool,
    rounds: int,
    as_json: bool,
    databases: bool = False,
    stores: bool = False,
    window: bool = False,
    restore: bool = False,
) -> int:
    """Measure, print, and return the exit code: 0, or 2 where nothing can be measured."""
    if not stores and (reason := is_reachable()):
        print(f"nothing is measured: {reason}", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="quiesce-bench-"))
    try:
        if stores:
            facts = measure_stores(folder, full=full, rounds=rounds, tell=_tell)
        elif restore:
            facts = measure_restore(folder, rounds=rounds, tell=_tell)
        elif window:
            facts = measure_window(folder, rounds=rounds, tell=_tell)
        elif databases:
            facts = measure(folder, full=full, rounds=rounds, tell=_tell)
        else:
            facts = _measure(Bench(folder, FULL if full else SMALL), rounds)
    except RuntimeError as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _print(facts)
    return 0


def _measure(bench: Bench, rounds: int) -> Mapping[str, object]:
    try:
        return _everybody(bench, rounds)
    finally:
        bench.destroy()


def _everybody(bench: Bench, rounds: int) -> Mapping[str, object]:
    facts: dict[str, object] = {"machine": machine.describe(bench.folder)}
    _tell(
        f"filling {bench.amounts.files} files, {bench.amounts.bytes / 1e6:.0f} MB, and a database"
    )
    bench.begin()
    facts["data"] = {
        "files": bench.amounts.files,
        "file_bytes": bench.amounts.bytes,
        "database_bytes": int(bench.psql("SELECT pg_database_size('benchdb')")),
        "churn": "1 % of the files in every round",
        "rounds": rounds,
    }
    rivals = bench.folder / "rivals"
    rivals.mkdir()
    _tell("first, full copies of restic and borg, which are not measured")
    window, absent = in_the_window(bench, rivals)
    ours, plain = Quiesce(bench), Plain(bench, bench.folder / "plain")
    results, backups, restores = _rounds(window, ours, plain, rounds)
    facts["absent"] = dict(absent)
    down = {name: statistics.median(r.down for r in found) for name, found in results.items()}
    facts["downtime_seconds"] = {name: round(value, 2) for name, value in down.items()}
    facts["downtime_ratio_of_ours"] = {
        name: round(down[OURS] / value, 2) for name, value in down.items() if name != OURS
    }
    copied = [name for name in down if name not in (BARE, OUR_BARE, OURS)]
    beyond = {name: down[name] - down[BARE] for name in copied}
    # Each beside the bare stop and start by its own means: ours makes fewer calls than a script.
    beyond[OURS] = down[OURS] - down[OUR_BARE]
    facts["beyond_bare_seconds"] = {name: round(value, 2) for name, value in beyond.items()}
    facts["beyond_bare_ratio_of_ours"] = {
        name: _ratio(beyond[OURS], beyond[name]) for name in copied
    }
    whole: dict[str, float] = {}
    for what, times in (("backup", backups), ("restore", restores)):
        ours_whole, plain_whole = (statistics.median(times[name]) for name in (OURS, "plain"))
        whole[f"{what}_seconds"] = round(ours_whole, 2)
        whole[f"{what}_ratio_to_plain"] = round(ours_whole / plain_whole, 2)
    facts["whole"] = whole
    facts["killed_in_the_window"] = _killed(ours, down[OUR_BARE], rounds)
    facts["doubled_database"] = _doubled(bench, ours, down[OURS], rounds)
    facts["resident_megabytes"] = round(ours.resident_megabytes())
    facts["load_at_the_end"] = f"{os.getloadavg()[0]:.1f}"
    return facts


Times = dict[str, list[float]]
Contestant = TypeVar("Contestant")


def _rounds(
    window: Mapping[str, InTheWindow], ours: Quiesce, plain: Plain, rounds: int
) -> tuple[dict[str, list[Result]], Times, Times]:
    """Everybody once in every round, each round beginning with another one; then whole backups
    and whole restores, ours and by plain commands."""
    order: list[tuple[str, Callable[[], Result]]] = [*window.items()]
    order += [(OURS, ours), (OUR_BARE, ours.restart)]
    results: dict[str, list[Result]] = {name: [] for name, _ in order}
    backups: Times = {"plain": [], OURS: []}
    restores: Times = {"plain": [], OURS: []}
    wholes: tuple[tuple[str, Times, Mapping[str, Callable[[], float]]], ...] = (
        ("backup", backups, {OURS: lambda: ours().whole, "plain": plain.back_up}),
        ("restore", restores, {OURS: ours.restore, "plain": plain.restore}),
    )
    for number in range(rounds):
        for name, contestant in _turned(order, number):
            os.sync()  # so that nobody writes what the one before left to be written
            results[name].append(contestant())
            _tell(f"round {number + 1}: {name}: down {results[name][-1].down:.2f} s")
        for what, times, works in wholes:
            # Directly after each other: both find the machine and its caches alike.
            for name, work in _turned([*works.items()], number):
                os.sync()
                times[name].append(work())
                _tell(f"round {number + 1}: whole {what}, {name}: {times[name][-1]:.2f} s")
    return results, backups, restores


def _turned(
    entries: Sequence[tuple[str, Contestant]], number: int
) -> Sequence[tuple[str, Contestant]]:
    """Return the entries, beginning with another one in every round."""
    turn = number % len(entries)
    return (*entries[turn:], *entries[:turn])


def _ratio(ours: float, other: float) -> str:
    if min(ours, other) <= 0:
        return "lost in the noise"
    return f"{ours / other:.2f}"


def _killed(ours: Quiesce, bare: float, rounds: int) -> Mapping[str, object]:
    """How long the guard needs, beside a stop and a start by the same code."""
    _tell("killing backups in their window")
    took = statistics.median(ours.killed() for _ in range(rounds))
    return {"seconds_to_running": round(took, 2), "beyond_stop_and_start": round(took - bare, 2)}


def _doubled(bench: Bench, ours: Quiesce, before: float, rounds: int) -> Mapping[str, object]:
    """How our downtime grows when the database doubles."""
    _tell("doubling the database")
    bench.add_rows(bench.amounts.rows)
    after = statistics.median(ours().down for _ in range(rounds))
    return {"downtime_seconds": round(after, 2), "ratio": round(after / before, 2)}


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(facts: Mapping[str, object], names: Sequence[str] = ()) -> None:
    for name, value in facts.items():
        words = ".".join((*names, name.replace("_", " ")))
        if isinstance(value, Mapping):
            print(words)
            for key, entry in value.items():
                print(f"  {str(key).replace('_', ' '):<34} {entry}")
        else:
            print(f"{words:<36} {value}")
