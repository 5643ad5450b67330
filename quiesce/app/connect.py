"""Where adapters meet the rest: the ports of one run, put together from `stack.yaml`.

Drivers are imported in here, when a verb needs them: `inv --list` needs none.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from quiesce.execute.run import Ports
from quiesce.model import Stack
from quiesce.ports import EventSink, Runtime, VolumeIO


class SystemClock:
    """`ports.Clock` of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def connect(stack: Stack, run: str, sink: EventSink) -> Ports:
    """Return the ports for this run. Nothing is contacted yet."""
    from quiesce.adapters.alembic_env import AlembicMigrator
    from quiesce.adapters.postgres import PostgresAdmin
    from quiesce.adapters.store import LocalStore

    runtime, volumes = _world(stack, run)
    return Ports(
        runtime=runtime,
        databases=PostgresAdmin(runtime, stack.databases, run),
        volumes=volumes,
        migrator=AlembicMigrator(runtime, stack.databases, run),
        store=LocalStore(stack.backups),
        sink=sink,
        clock=SystemClock(),
    )


def _world(stack: Stack, run: str) -> tuple[Runtime, VolumeIO]:
    raise NotImplementedError


def disconnect(ports: Ports) -> None:
    """Close every session and helper of this run, whatever state they are in."""
    ports.databases.close()
    ports.volumes.close()
    ports.runtime.close()
