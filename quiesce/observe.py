"""Looking: asks the ports once and returns one frozen `Observed`. Decides nothing."""

from __future__ import annotations

import os
from pathlib import Path

from quiesce.model import Stack
from quiesce.observed import DatabaseState, Observed, Service
from quiesce.ports import DatabaseAdmin, Runtime


def observe(stack: Stack, runtime: Runtime, databases: DatabaseAdmin) -> Observed:
    """Return how the instance is now.

    Raise RequestError when the engine cannot be reached or what is declared contradicts it. A
    database that cannot be asked is an observation, not an error.
    """
    engine = runtime.engine()
    services = runtime.services()
    volumes = runtime.volumes(stack.volumes)
    running = {service.name for service in services if service.running}
    askable = [database for database in stack.databases if database.service in running]
    states = {state.key: state for state in databases.observe(askable)}
    for database in stack.databases:
        if database.key not in states:
            problem = _why_not(database.service, services)
            states[database.key] = DatabaseState(
                database.key, database.name, False, False, "", (), 0, problem
            )
    reachable = [database for database in askable if states[database.key].reachable]
    return Observed(
        engine=engine,
        services=services,
        volumes=volumes,
        databases=tuple(states[database.key] for database in stack.databases),
        undeclared_databases=databases.undeclared(reachable),
        free_bytes=free_bytes(stack.backups),
    )


def _why_not(name: str, services: tuple[Service, ...]) -> str:
    if any(service.name == name for service in services):
        return f"{name} is not running"
    return f"{name} is no service of the stack"


def free_bytes(folder: Path) -> int:
    """Return the bytes an ordinary user can still write where `folder` is or will be."""
    while not folder.exists():
        folder = folder.parent
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
