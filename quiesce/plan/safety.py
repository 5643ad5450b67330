"""The steps that make the safety set of a restore. Pure.

    afterwards   of the copies that the exchange left beside the live data, when services run again
    levels       as a backup does: level 0 while services run, level 1 while they are stopped
    first        everything while services are stopped, before the exchange

`afterwards` is the default: the downtime does not grow with the data, and the set shows the instant
of the exchange. A restore of one path keeps only that path of the previous content. Its set, which
contains the whole volume, is therefore made in `levels`. `first` is for rows that are replaced in
the live database itself, because the previous rows are not kept there, for engines without the
capability `copies`, and for disks that may not have room for the previous data and its set
(`--safety-first`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quiesce.exclusion import previous_copy, replaced_copy
from quiesce.model import Database, DatabaseSwap, Mode, Stack, Volume
from quiesce.observed import Observed
from quiesce.plan import backup as backup_plan
from quiesce.plan.cold import copies
from quiesce.plan.dumping import dump_file, dumps, globals_of
from quiesce.plan.steps import (
    ArchiveVolume,
    CheckIdle,
    CheckShutdown,
    DumpDatabase,
    ExportSnapshot,
    MakeSafetySet,
    Node,
    OpenSet,
    RecordStack,
)

WHY = "so that 'inv undo-restore' can bring the previous data back"
_STOPPED = "the services that use it are stopped"


@dataclass(frozen=True, slots=True)
class Replaced:
    """The existing data that a restore replaces: databases and volumes. `servers` are those of the
    volumes that are the data directory of a server, each with its service."""

    databases: tuple[Database, ...]
    volumes: tuple[Volume, ...]
    servers: tuple[tuple[str, Volume], ...] = ()

    @property
    def mode(self) -> Mode:
        return "cold" if self.servers else "consistent"

    @property
    def plain(self) -> tuple[Volume, ...]:
        """The volumes that are not the data directory of a server."""
        whole = [volume for _, volume in self.servers]
        return tuple(volume for volume in self.volumes if volume not in whole)

    def __bool__(self) -> bool:
        return bool(self.databases or self.volumes)


@dataclass(frozen=True, slots=True)
class SafetySteps:
    """The steps of a safety set by their place in a restore.

    `hot`: while services still run; `stopped`: while they are stopped, before the exchange;
    `after`: when they run again. `kept_in` is the set that has to exist before the previous data
    may be removed, "" for none."""

    hot: tuple[Node, ...] = ()
    stopped: tuple[Node, ...] = ()
    after: tuple[Node, ...] = ()
    kept_in: str = ""


def afterwards(
    stack: Stack,
    observed: Observed,
    replaced: Replaced,
    swaps: Sequence[DatabaseSwap],
    name: str,
    run: str,
) -> SafetySteps:
    """Return the steps of a safety set that is made of the copies that the exchange leaves."""
    if not replaced:
        return SafetySteps()
    checks: tuple[Node, ...] = tuple(
        CheckShutdown("", service, v.key, "its files become the safety set", noun=v.noun)
        for service, v in replaced.servers
    )
    keys = tuple(database.key for database in replaced.databases)
    if keys:
        why = "their sessions end with the exchange"
        checks += (CheckIdle("", keys, stack.ignored_writers, why),)
    aside = {swap.database: swap.aside for swap in swaps}
    made = MakeSafetySet(
        name,
        run,
        tuple(swap for swap in swaps if swap.aside),
        tuple(volume.key for volume in replaced.volumes),
        _of_copies(stack, observed, replaced, aside, previous_copy(run), name),
        f"{WHY}; services run again",
    )
    return SafetySteps(stopped=checks, after=(made,), kept_in=name)


def of_undone(
    stack: Stack,
    observed: Observed,
    replaced: Replaced,
    swaps: Sequence[DatabaseSwap],
    name: str,
    run: str,
) -> MakeSafetySet:
    """Return the step that makes a safety set of the data that was live until the exchange of `run`
    was undone."""
    side = {swap.database: swap.side for swap in swaps}
    return MakeSafetySet(
        name,
        run,
        tuple(swaps),
        tuple(volume.key for volume in replaced.volumes),
        _of_copies(stack, observed, replaced, side, replaced_copy(run), name),
        "so that the undo can be undone, too",
    )


def levels(stack: Stack, observed: Observed, replaced: Replaced, name: str) -> SafetySteps:
    """Return the steps of a safety set of volumes alone that is made in two levels."""
    if not replaced:
        return SafetySteps()
    hot = tuple(backup_plan.archive(name, v, 0) for v in replaced.volumes)
    last = tuple(backup_plan.archive(name, v, 1) for v in replaced.volumes)
    return SafetySteps((_open(observed, replaced, name), *hot), (*last, *_closing(stack, name)))


def first(stack: Stack, observed: Observed, replaced: Replaced, name: str) -> SafetySteps:
    """Return the steps of a safety set that is made before the exchange, of the live data."""
    if not replaced:
        return SafetySteps()
    selection = backup_plan.Selection(replaced.databases, replaced.volumes)
    stopped: tuple[Node, ...] = (
        _open(observed, replaced, name),
        *(ExportSnapshot(d.key, _STOPPED) for d in replaced.databases),
        *backup_plan.check_idle(stack, name, selection),
        *copies(name, replaced.servers),
        *(ArchiveVolume(name, v.key, 0, v.stem, _STOPPED, noun=v.noun) for v in replaced.plain),
        *dumps(name, replaced.databases, "full"),
        *_closing(stack, name),
    )
    return SafetySteps(stopped=stopped)


def _of_copies(
    stack: Stack,
    observed: Observed,
    replaced: Replaced,
    names: dict[str, str],
    folder: str,
    name: str,
) -> tuple[Node, ...]:
    archived = "as it was at the exchange"
    return (
        _open(observed, replaced, name),
        *(
            CheckShutdown(name, service, v.key, archived, noun=v.noun, copy=folder)
            for service, v in replaced.servers
        ),
        *(
            ArchiveVolume(name, v.key, 0, v.stem, archived, noun=v.noun, copy=folder)
            for v in replaced.volumes
        ),
        *(
            DumpDatabase(name, d.key, "full", dump_file(d), archived, copy=names[d.key])
            for d in replaced.databases
        ),
        *globals_of(name, replaced.databases),
        *_closing(stack, name),
    )


def _open(observed: Observed, replaced: Replaced, name: str) -> OpenSet:
    running = tuple(dict.fromkeys(unit.service for unit in observed.running))
    return OpenSet(
        name, "full", replaced.mode, "before restore", False, running, (), WHY, safety=True
    )


def _closing(stack: Stack, name: str) -> tuple[Node, ...]:
    return (
        RecordStack(name, "so that the set documents its origin"),
        *backup_plan.seal_nodes(stack, name, WHY),
    )
