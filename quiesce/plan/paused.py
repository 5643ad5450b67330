"""Paused services: frozen in the middle of something, neither at work nor down. Pure."""

from __future__ import annotations

from collections.abc import Collection

from quiesce.errors import RequestError
from quiesce.observed import Observed, Unit


def unpausing(unit: Unit, engine_kind: str) -> str:
    """Return the command by which a paused unit goes on, and nothing else happens."""
    if engine_kind == "host":
        return f"kill -CONT -{unit.id.partition(':')[0]}"
    return f"docker unpause {unit.name}"


def refuse_paused(observed: Observed, names: Collection[str], why: str) -> None:
    """Raise RequestError for the first paused one of these services."""
    for service in observed.services:
        paused = [unit for unit in service.units if unit.state == "paused"]
        if service.name in names and paused:
            raise RequestError(
                f"service {service.name} is paused{why}",
                f"resume it with '{unpausing(paused[0], observed.engine.kind)}', then try again",
            )
