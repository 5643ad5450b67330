"""Creates the ports of a run from `stack.yaml`: the place where adapters meet the rest.

Drivers are imported when a verb needs them: `inv --list` needs none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from quiesce.execute.run import Ports
from quiesce.model import Database, Instance, Stack
from quiesce.ports import (
    BackupStore,
    DatabaseAdmin,
    DatabaseDriver,
    EventSink,
    Project,
    Runtime,
    VolumeIO,
)

if TYPE_CHECKING:
    from quiesce.adapters.compose.discovery import ComposeDiscovery
    from quiesce.adapters.compose.runtime import ComposeRuntime


class SystemClock:
    """Implements `ports.Clock` with this machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def connect(stack: Stack, run: str, sink: EventSink, identity: Path | None = None) -> Ports:
    """Return the ports for this run. Nothing is contacted yet. `identity` decrypts sets."""
    from quiesce.adapters.migrations import AlembicMigrator
    from quiesce.adapters.sets.offsite import OffsiteStores
    from quiesce.adapters.sets.signing import SigningKey

    if stack.instance.runtime == "host":
        runtime, volumes, project = _host(stack, run)
    else:
        runtime, volumes, project = _compose(stack, run)
    return Ports(
        runtime=runtime,
        databases=_databases(stack, runtime, run),
        volumes=volumes,
        migrator=AlembicMigrator(runtime.endpoint, run),
        store=open_store(stack.backups),
        sink=sink,
        clock=SystemClock(),
        project=project,
        offsite=OffsiteStores(
            stack.stores,
            stack.instance.name,
            staging_folder(stack.backups, run) / "encrypting",
            stack.backups / ".state" / ".pushing",
            identity=identity,
            key=SigningKey(signing_key_file(stack)),
            sent=stack.backups / ".state" / ".sent",
        ),
    )


class MakesDriver(Protocol):
    """The class of a driver."""

    def __call__(
        self,
        runtime: Runtime,
        databases: Sequence[Database],
        run: str,
        lock_patience: float | None,
        scratch: Path,
    ) -> DatabaseDriver:
        """Return the driver for these databases, all of one engine. Contacts nothing."""
        ...


def _postgres() -> MakesDriver:
    from quiesce.adapters.postgres.admin import PostgresAdmin

    return PostgresAdmin


def _mariadb() -> MakesDriver:
    from quiesce.adapters.mariadb.admin import MariaDbAdmin

    return MariaDbAdmin


#: The function that loads the driver of each engine: one row for each engine of `model/engines.py`.
#: No other place knows which driver belongs to which engine.
DRIVERS: Mapping[str, Callable[[], MakesDriver]] = {
    "postgres": _postgres,
    "mariadb": _mariadb,
}


def _databases(stack: Stack, runtime: Runtime, run: str) -> DatabaseAdmin:
    from quiesce.adapters.databases import EngineDatabases

    scratch = staging_folder(stack.backups, run)

    def maker(engine: str, load: Callable[[], MakesDriver]) -> Callable[[], DatabaseDriver]:
        of_engine = tuple(one for one in stack.databases if one.engine == engine)
        return lambda: load()(runtime, of_engine, run, stack.lock_patience, scratch)

    drivers = {engine: maker(engine, load) for engine, load in DRIVERS.items()}
    return EngineDatabases(drivers, stack.databases)


def open_store(backups: Path) -> BackupStore:
    """Return the store of the sets in this folder, for those who need no other port."""
    from quiesce.adapters.sets.local import LocalStore

    return LocalStore(backups)


@contextmanager
def compose_of(stack: Stack) -> Iterator[ComposeRuntime]:
    """Yield the Compose runtime of a stack, for what only Compose has; close it at the end."""
    from quiesce.adapters.compose.runtime import ComposeRuntime

    runtime = ComposeRuntime(stack)
    try:
        yield runtime
    finally:
        runtime.close()


def discovery_of(instance: Instance) -> ComposeDiscovery:
    """Return what reads the Compose files of an instance; its project's name may be empty."""
    from quiesce.adapters.compose.discovery import ComposeDiscovery

    return ComposeDiscovery(instance)


def signing_key_file(stack: Stack) -> Path:
    """Return the path of the key that signs uploaded sets."""
    return stack.signing_key_file or stack.backups / ".keys" / "signing.key"


def staging_folder(backups: Path, run: str) -> Path:
    """Return the working folder of a run; it is never listed as a set."""
    return backups / ".staging" / run


def _compose(stack: Stack, run: str) -> tuple[Runtime, VolumeIO, Project]:
    from quiesce.adapters.compose.runtime import ComposeRuntime
    from quiesce.adapters.volumes.direct import folders_of_engine
    from quiesce.adapters.volumes.helper import HelperEngine
    from quiesce.adapters.volumes.io import VolumeFiles

    runtime = ComposeRuntime(stack, run=run)

    def images() -> Sequence[str]:
        own = (stack.helper_image,) if stack.helper_image else ()
        return tuple(dict.fromkeys((*own, *runtime.image_ids())))

    helper = HelperEngine(
        api=runtime.api,
        images=images,
        is_local=runtime.is_local,
        labels=runtime.volume_labels,
        project=stack.instance.project,
    )
    staging = staging_folder(stack.backups, run)
    volumes = VolumeFiles(
        run=run,
        staging=staging,
        direct=folders_of_engine(runtime.is_local),
        helper=helper,
    )
    return runtime, volumes, runtime.project()


def _host(stack: Stack, run: str) -> tuple[Runtime, VolumeIO, Project]:
    from quiesce.adapters.host.project import HostProject
    from quiesce.adapters.host.runtime import HostRuntime
    from quiesce.adapters.volumes.direct import folder_of
    from quiesce.adapters.volumes.io import VolumeFiles

    runtime = HostRuntime(stack)
    staging = staging_folder(stack.backups, run)
    volumes = VolumeFiles(
        run=run,
        staging=staging,
        direct=folder_of,
    )
    return runtime, volumes, HostProject(stack, runtime)


def check_recipients(stack: Stack) -> None:
    """Raise RequestError if sets are encrypted for an invalid or unknown key."""
    from quiesce.adapters.sets import crypt

    crypt.check_recipients(stack.recipients)


def require_embedded() -> None:
    """Raise RequestError, with a hint, if the embedded PostgreSQL cannot run."""
    from quiesce.adapters.host import embedded_postgres

    embedded_postgres.find_binaries()


def end_host_processes(folder: Path) -> None:
    """Kill every process of host instances in this folder; for folders that are removed."""
    from quiesce.adapters.host.orphans import end_everything_in

    end_everything_in(folder)


def disconnect(ports: Ports, run: str) -> None:
    """Close every session and helper of this run, and remove its scratch files."""
    ports.databases.close()
    ports.volumes.close()
    ports.runtime.close()
    ports.store.discard(run)
