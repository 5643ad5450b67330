"""Paused services: their processes are frozen, so they neither work nor count as stopped. Pure."""

from __future__ import annotations

from collections.abc import Collection

from quiesce.errors import RequestError
from quiesce.observed import Observed, Unit


def resume_command(unit: Unit, engine_kind: str) -> str:
    """Return the command that resumes a paused unit and changes nothing else."""
    if engine_kind == "host":
        return f"kill -CONT -{unit.id.partition(':')[0]}"
    return f"docker unpause {unit.name}"


def refuse_paused(observed: Observed, names: Collection[str], why: str) -> None:
    """Raise RequestError for the first paused one of these services."""
    for service in observed.services:
        paused = [unit for unit in service.units if unit.state == "paused"]
        if service.name in names and paused:
            command = resume_command(paused[0], observed.engine.kind)
            raise RequestError(
                f"service {service.name} is paused{why}",
                f"resume it with '{command}', then try again",
            )
