"""Observes an instance: queries the ports once and returns a frozen `Observed`."""

from __future__ import annotations

import os
from pathlib import Path

from quiesce.model import Stack
from quiesce.observed import DatabaseState, Observed, Service
from quiesce.plan.foreign_mounts import foreign_hint
from quiesce.plan.paused import resume_command
from quiesce.ports import DatabaseAdmin, Runtime


def observe(stack: Stack, runtime: Runtime, databases: DatabaseAdmin) -> Observed:
    """Return the current state of the instance.

    Raise RequestError if the engine cannot be reached or contradicts the declaration. A database
    that cannot be reached is recorded and is not an error.
    """
    engine = runtime.engine()
    services = runtime.services()
    volumes = runtime.volumes(stack.volumes)
    running = {s.name for s in services if any(unit.state != "paused" for unit in s.running)}
    askable = [database for database in stack.databases if database.service in running]
    states = {state.key: state for state in databases.observe(askable)}
    for database in stack.databases:
        if database.key not in states:
            problem, remedy = _why_not(database.service, services, engine.kind)
            states[database.key] = DatabaseState(
                database.key,
                database.name,
                False,
                False,
                "",
                (),
                0,
                problem,
                remedy,
                database.engine,
            )
    reachable = [database for database in askable if states[database.key].reachable]
    return Observed(
        engine=engine,
        services=services,
        volumes=volumes,
        databases=tuple(states[database.key] for database in stack.databases),
        undeclared_databases=databases.undeclared(reachable),
        free_bytes=free_bytes(stack.backups),
        other_projects=runtime.other_projects(),
    )


def _why_not(name: str, services: tuple[Service, ...], kind: str) -> tuple[str, str]:
    """Return why a server cannot be reached, and a remedy if that is not `inv up`."""
    service = next((service for service in services if service.name == name), None)
    if service is None:
        return f"{name} is not a service of the stack", ""
    if service.running:
        go_on = resume_command(service.running[0], kind)
        return f"{name} is paused", f"resume it with '{go_on}', then try again"
    if service.foreign_mounts:
        first = service.foreign_mounts[0]
        return f"{name} is not running here, and {first.fact}", foreign_hint(first, services)
    return f"{name} is not running", ""


def on_same_disk(folder: Path, other: Path | None) -> bool:
    """Whether two folders of this machine are known to be on one file system. An ordinary user may
    not look into the folders of an engine."""
    if other is None:
        return False
    while not folder.exists():
        folder = folder.parent
    try:
        return folder.stat().st_dev == other.stat().st_dev
    except OSError:
        return False


def free_bytes(folder: Path) -> int:
    """Return the bytes that an ordinary user can still write on the disk of `folder`."""
    while not folder.exists():
        folder = folder.parent
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
