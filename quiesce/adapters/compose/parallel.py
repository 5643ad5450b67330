"""Applies an operation to several containers at the same time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from quiesce.adapters.compose.engine import EngineConnection, translate_engine_errors
from quiesce.errors import QuiesceError, ServiceFailed
from quiesce.observed import Unit

if TYPE_CHECKING:
    from quiesce.adapters.compose.inspected import Inspected

T = TypeVar("T")
#: More requests at a time make an engine slower.
AT_ONCE = 8


def with_each(act: Callable[[Unit], T], units: Sequence[Unit]) -> tuple[T, ...]:
    """Return the result for each unit, in their order.

    All units are tried, and a signal is raised only when no operation is in progress any more.
    Raise ServiceFailed naming each that failed; an error of the connection comes first.
    """
    failures: dict[str, QuiesceError] = {}
    found = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(act, unit) for unit in units]
        for unit, future in zip(units, futures, strict=True):
            try:
                found.append(future.result())
            except QuiesceError as error:
                failures.setdefault(unit.service, error)
    if lost := [error for error in failures.values() if error.lost_engine]:
        raise lost[0]
    if failures:
        raise ServiceFailed.of(failures)
    return tuple(found)


def is_shared(
    connection: EngineConnection, containers: Sequence[Inspected], project: Collection[str]
) -> bool:
    """Whether a container outside of `project` (ids of containers) runs in a network of these
    units. It may remember their addresses, which the engine assigns in the order of starts."""
    networks = {
        str(network.get("NetworkID") or name)
        for container in containers
        for name, network in (container["NetworkSettings"].get("Networks") or {}).items()
        if name not in ("host", "none")
    }
    own = set(project)
    with translate_engine_errors("a network cannot be inspected"):
        return any(
            set(connection.api.inspect_network(name).get("Containers") or {}) - own
            for name in sorted(networks)
        )
