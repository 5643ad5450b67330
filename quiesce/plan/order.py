"""In which order services start and stop. Pure and deterministic."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence

from quiesce.errors import RequestError
from quiesce.observed import Service, Unit


def dependencies(services: Sequence[Service]) -> dict[str, tuple[str, ...]]:
    """Return, per service, the names of the services it depends on."""
    known = {service.name for service in services}
    return {
        service.name: tuple(entry.service for entry in service.depends_on if entry.service in known)
        for service in services
    }


def start_order(needs: Mapping[str, Sequence[str]], declared: Sequence[str]) -> tuple[str, ...]:
    """Return the services so that each follows everything it needs.

    Ties follow `declared` (`restart.order` of stack.yaml), then the name. Raise RequestError
    with the path of a dependency cycle, or naming both services where `declared` contradicts
    a dependency.
    """
    _refuse_contradiction(needs, declared)
    rank = {name: index for index, name in enumerate(declared)}
    waiting = {name: set(required) for name, required in needs.items()}
    ready = [(rank.get(name, len(rank)), name) for name, open_ in waiting.items() if not open_]
    heapq.heapify(ready)
    ordered: list[str] = []
    while ready:
        _, name = heapq.heappop(ready)
        ordered.append(name)
        for other, open_ in waiting.items():
            if name in open_:
                open_.discard(name)
                if not open_:
                    heapq.heappush(ready, (rank.get(other, len(rank)), other))
    if len(ordered) < len(needs):
        path = " → ".join(_cycle({name: needs[name] for name in needs if name not in ordered}))
        raise RequestError(
            f"services depend on each other: {path}", "break the cycle in depends_on"
        )
    return tuple(ordered)


def _refuse_contradiction(needs: Mapping[str, Sequence[str]], declared: Sequence[str]) -> None:
    for index, name in enumerate(declared):
        later = set(declared[index + 1 :]) & set(all_needed(needs, [name]))
        if later:
            raise RequestError(
                f"restart.order starts {name} before {min(later)}, but {name} depends on it",
                f"move {min(later)} before {name} in restart.order",
            )


def _cycle(needs: Mapping[str, Sequence[str]]) -> list[str]:
    name, path = min(needs), []
    while name not in path:
        path.append(name)
        name = min(required for required in needs[name] if required in needs)
    return [*path[path.index(name) :], name]


def all_needed(needs: Mapping[str, Sequence[str]], names: Iterable[str]) -> tuple[str, ...]:
    """Return everything these services need, directly or not, without themselves, sorted."""
    found: set[str] = set()
    open_ = list(names)
    first = set(open_)
    while open_:
        for required in needs.get(open_.pop(), ()):
            if required not in found:
                found.add(required)
                open_.append(required)
    return tuple(sorted(found - first))


def all_dependents(needs: Mapping[str, Sequence[str]], names: Collection[str]) -> tuple[str, ...]:
    """Return everything that depends on these services, directly or not, without them, sorted."""
    reverse: dict[str, list[str]] = {name: [] for name in needs}
    for name, required in needs.items():
        for other in required:
            reverse.setdefault(other, []).append(name)
    return all_needed(reverse, names)


def in_start_order(units: Iterable[Unit], order: Sequence[str]) -> tuple[Unit, ...]:
    """Return the units sorted by their services' place in `order`, replicas by name."""
    rank = {name: index for index, name in enumerate(order)}
    return tuple(sorted(units, key=lambda unit: (rank.get(unit.service, len(rank)), unit.name)))


def in_stop_order(units: Iterable[Unit], order: Sequence[str]) -> tuple[Unit, ...]:
    """Return the units in the reverse of `in_start_order`."""
    return tuple(reversed(in_start_order(units, order)))


def start_waves(
    units: Iterable[Unit],
    services: Sequence[Service],
    order: Sequence[str],
    declared: Sequence[str] = (),
) -> tuple[tuple[Unit, ...], ...]:
    """Return the units in as few waves as possible. Each wave starts when the one before is
    healthy.

    A service is in a later wave than those that it depends on with condition `healthy` or
    `completed`, directly or not, as Compose waits for them on `up`. Of the services in `declared`
    (`restart.order`), none is in an earlier wave than the one before it. Everything else starts
    together, in `order` within its wave.
    """
    sorted_units = in_start_order(units, order)
    starting = {unit.service for unit in sorted_units}
    known = {service.name: service for service in services}
    wave_of: dict[str, int] = {}
    declared_so_far = 0
    for name in dict.fromkeys((*order, *(unit.service for unit in sorted_units))):
        wave = declared_so_far if name in declared else 0
        for need in known[name].depends_on if name in known else ():
            patient = need.condition != "started" and need.service in starting
            wave = max(wave, wave_of.get(need.service, 0) + patient)
        wave_of[name] = wave
        if name in declared and name in starting:
            declared_so_far = wave
    waves: dict[int, list[Unit]] = {}
    for unit in sorted_units:
        waves.setdefault(wave_of[unit.service], []).append(unit)
    return tuple(tuple(waves[wave]) for wave in sorted(waves))


def start_groups(
    units: Sequence[Unit], services: Sequence[Service], declared: Sequence[str]
) -> tuple[tuple[Unit, ...], ...]:
    """Return units, given in start order, in as few groups as possible. All units of a group may
    start, or stop, at the same time.

    A service is in a later group than those that it depends on, directly or not, and than those
    before it in `declared` (`restart.order`). Replicas are in one group.
    """
    needs = dependencies(services)
    present = list(dict.fromkeys(unit.service for unit in units))
    group_of: dict[str, int] = {}
    for name in present:
        before = set(all_needed(needs, [name])) if name in needs else set()
        if name in declared:
            before |= set(declared[: declared.index(name)])
        group_of[name] = 1 + max((group_of[other] for other in before & group_of.keys()), default=0)
    groups: dict[int, list[Unit]] = {}
    for unit in units:
        groups.setdefault(group_of[unit.service], []).append(unit)
    return tuple(tuple(groups[number]) for number in sorted(groups))
