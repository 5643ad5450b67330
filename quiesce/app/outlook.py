"""What a run is expected to need, in its plan: space for its set, and downtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from quiesce.app.run_reports import read_reports
from quiesce.app.volume_sizes import measure
from quiesce.execute.run import Ports
from quiesce.findings import Finding
from quiesce.model import BackupSet, RestoreSource, Stack
from quiesce.observe import free_bytes, on_same_disk
from quiesce.observed import Observed
from quiesce.plan import outlook, room
from quiesce.plan.expected import Expected, NewSet, Sizes, expect
from quiesce.plan.steps import MakeSafetySet, Plan, steps_of
from quiesce.plan.window import stopped_services
from quiesce.report import words

#: The exit code of a run that did its work, but in which a check failed at the end.
_CHECK_FAILED = 7


def with_room(stack: Stack, ports: Ports, seen: Observed, plan: Plan) -> Plan:
    """Return the plan of a backup with the space that its set needs.

    Raise RequestError if the disk has clearly less, and warn if it may have.
    """
    new = room.new_set(stack, plan)
    if new is None:
        return plan
    needed = _expected(stack, ports, seen, new)
    if warning := room.require_room(needed, seen.free_bytes, stack.backups):
        ports.sink.warn(warning)
    return replace(plan, outlook=replace(plan.outlook, room=needed, free_bytes=seen.free_bytes))


def require_room_to_restore(
    stack: Stack, ports: Ports, seen: Observed, plan: Plan, source: RestoreSource
) -> None:
    """Raise RequestError if a safety set that is made after the exchange clearly cannot fit.

    One that is made before the exchange is not checked: if it fails, nothing was replaced.
    """
    made = next((s for _, s in steps_of(plan.nodes) if isinstance(s, MakeSafetySet)), None)
    new = room.new_set(stack, plan)
    if made is None or new is None:
        return
    needed = _expected(stack, ports, seen, new)
    states = [seen.volume(key) for key in made.volumes]
    unpacked = 0
    if isinstance(source, BackupSet):
        on_disk = [s for s in states if on_same_disk(stack.backups, s.mountpoint)]
        unpacked = sum(source.volume(state.key).bytes for state in on_disk)
    room.require_room_beside(needed, unpacked, source.name, seen.free_bytes, stack.backups)


def with_downtime(stack: Stack, plan: Plan) -> Plan:
    """Return the plan with the downtimes of the last runs of the same task that stopped the same
    services."""
    spans = outlook.last(_spans(stack, plan.verb), stopped_services(plan.nodes))
    return replace(plan, outlook=replace(plan.outlook, downtimes=spans))


def room_for_next(stack: Stack, ports: Ports, seen: Observed) -> Finding:
    """Return whether the set of a backup without options would fit."""
    needed = _expected(stack, ports, seen, room.default_set(stack, seen))
    return room.room_finding(needed, seen.free_bytes, stack.backups)


def room_without_engine(stack: Stack, sets: Sequence[BackupSet]) -> Finding:
    """Return whether another set like the newest full one would fit."""
    free = free_bytes(stack.backups)
    own = stack.instance.name
    full = [
        found
        for found in sets
        if found.manifest.instance == own
        and found.manifest.kind == "full"
        and not found.manifest.safety
    ]
    if not full:
        return Finding("ok", "free space", f"{words.size(free)} free")
    needed = expect(own, room.set_like(full[-1]), sets, Sizes())
    return room.room_finding(needed, free, stack.backups)


def _expected(stack: Stack, ports: Ports, seen: Observed, new: NewSet) -> Expected:
    sets, sizes = ports.store.sets(), room.database_sizes(seen)
    keys = room.to_measure(stack, new, sets, seen)
    exclude = {volume.key: volume.exclude for volume in stack.volumes}
    found = measure(ports, [state for state in seen.volumes if state.key in keys], exclude)
    measured = {key: size[1] for key, size in found.items() if size is not None}
    return expect(stack.instance.name, new, sets, Sizes(sizes.databases, measured))


def _spans(stack: Stack, task: str) -> Iterator[tuple[frozenset[str], float]]:
    """Yield services and seconds of downtime of earlier runs, newest first."""
    for document in read_reports(stack):
        if document["task"] != task or document["exit_code"] not in (0, _CHECK_FAILED):
            continue
        try:
            downtime = document["downtime_seconds"]
            yield frozenset(downtime["services"]), float(downtime["overall"])
        except (TypeError, KeyError, ValueError):
            continue
