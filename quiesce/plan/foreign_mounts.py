"""Refuses plans that start services while outside containers use their data. Pure."""

from __future__ import annotations

from collections.abc import Collection

from quiesce.errors import RequestError
from quiesce.observed import ForeignMount, Observed, Service
from quiesce.plan.steps import Bracket, Node, Plan, StartServices, UpServices


def refuse_foreign_mounts(observed: Observed, plan: Plan) -> None:
    """Raise RequestError if the plan would start a service that must not run now.

    A backup is refused whenever an outside container writes, because it could not be consistent. A
    plan that only stops things is not refused, although it starts them again if it fails: starting
    checks again.
    """
    started = _started(plan.nodes)
    everybody = plan.verb == "backup" or any(not names for names in started)
    wanted = {name for names in started for name in names}
    for service in observed.services:
        if service.foreign_mounts and (everybody or service.name in wanted):
            first = service.foreign_mounts[0]
            raise RequestError(
                f"{first.fact}, which service {service.name} writes to; nothing was changed",
                foreign_hint(first, observed.services),
                details=[entry.fact for entry in service.foreign_mounts[1:]],
            )


def foreign_hint(mount: ForeignMount, services: Collection[Service]) -> str:
    """Return what to do about it; see `ForeignMount.hint`."""
    return mount.hint(alone=not any(service.units for service in services))


def _started(nodes: tuple[Node, ...]) -> list[Collection[str]]:
    found: list[Collection[str]] = []
    for node in nodes:
        if isinstance(node, Bracket):
            for part in (node.enter, node.body, node.on_success, node.always):
                found += _started(part)
        elif isinstance(node, StartServices):
            found.append({unit.service for unit in node.units} or {""})
        elif isinstance(node, UpServices):
            found.append(node.services)
    return found
