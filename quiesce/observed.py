"""What was seen of the running world, once, before deciding: frozen values, no clients.

`Service` joins what the Compose model (or `stack.yaml`, on the host runtime) declares with the
containers or processes (`Unit`) that exist for it now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

UnitState = Literal["running", "paused", "restarting", "created", "exited", "dead", "removing"]
Health = Literal["healthy", "unhealthy", "starting", "none"]
Condition = Literal["started", "healthy", "completed"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a unit is reached in one of its networks."""

    network: str
    ip: str


@dataclass(frozen=True, slots=True)
class Unit:
    """One container or process of a service, as it was when looked at.

    `id` is the container's id, or the process's `<pid>:<start time>`. `health` is `none` when
    the service declares no health check. Plans and journals carry units whole, so a recovery
    needs neither the Compose file nor `stack.yaml`.
    """

    service: str
    id: str
    name: str
    state: UnitState
    health: Health
    exit_code: int | None = None
    stop_timeout: float | None = None
    restart_policy: str = "no"
    started_at: datetime | None = None
    addresses: tuple[Address, ...] = ()

    @property
    def runs(self) -> bool:
        return self.state in ("running", "restarting", "paused")


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume or folder inside a service. `volume` is the volume's key, or None for a bind."""

    volume: str | None
    source: str
    target: str
    writable: bool


@dataclass(frozen=True, slots=True)
class Dependency:
    """A service that has to be started, healthy or completed before another one starts."""

    service: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class ForeignMount:
    """A running container outside of the project that may write where a service of ours writes.

    `volume` is the volume's key, or the path of a folder; `project` the Compose project that the
    container belongs to, "" for none. `server`: a declared database's server keeps its files
    there, so a second one would destroy them.
    """

    container: str
    project: str
    volume: str
    server: bool = False

    @property
    def fact(self) -> str:
        """Who it is, and what it has mounted."""
        of = f" of project {self.project}" if self.project else ""
        what = "folder" if self.volume.startswith("/") else "volume"
        data = ", the data of a database server" if self.server else ""
        return f"container {self.container}{of} has {what} {self.volume} mounted{data}"

    def hint(self, *, alone: bool) -> str:
        """What to do about it, safe to the letter. `alone`: the project has no container here,
        so that the other project may be this stack, under another name."""
        if self.project and alone:
            return (
                f"if project {self.project} is this stack, add 'project: {self.project}' to its "
                f"instance in stack.yaml; otherwise stop {self.container} first"
            )
        permit = "" if self.server else ", or add it to writers.ignore in stack.yaml"
        return f"stop {self.container} first{permit}"


@dataclass(frozen=True, slots=True)
class Service:
    """A service: what it is declared to be, and the units that exist for it now.

    `foreign_mounts` are containers that keep it from being started; those that `writers.ignore`
    of stack.yaml permits are left out.
    """

    name: str
    depends_on: tuple[Dependency, ...]
    mounts: tuple[Mount, ...]
    units: tuple[Unit, ...]
    image: str
    has_health: bool
    foreign_mounts: tuple[ForeignMount, ...] = ()

    @property
    def running(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.units if unit.runs)


@dataclass(frozen=True, slots=True)
class VolumeState:
    """A volume as the engine has it. `name` is its real name, `outside` who else uses it, and
    `outside_writers` those of them that run and have it mounted writably.

    `external`: the Compose file says that it is not the stack's. `project` is the one that its
    label names, "" without a label.
    """

    key: str
    name: str
    exists: bool
    driver: str
    options: Mapping[str, str]
    mountpoint: Path | None
    outside: tuple[str, ...]
    external: bool = False
    project: str = ""
    outside_writers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """A declared database on its server.

    `revision` are the rows of its Alembic version table; `bytes` is its size on the server;
    `problem` says why nothing more is known when the server cannot be asked, and `remedy` what to
    do about it where that is not starting its service.
    """

    key: str
    name: str
    reachable: bool
    exists: bool
    server_version: str
    revision: tuple[str, ...]
    bytes: int
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ExternalSession:
    """A session that is not ours in a database that is held. `database` is its name there.

    `idle`: it ran no statement since the first snapshot, so it wrote nothing.
    """

    pid: int
    database: str
    user: str
    application: str
    idle: bool = False


@dataclass(frozen=True, slots=True)
class PreparedTransaction:
    """A transaction that was prepared and neither committed nor rolled back, `seconds` ago.

    `locks` are the tables that nobody else can even read meanwhile.
    """

    gid: str
    owner: str
    database: str
    seconds: int
    locks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ties:
    """What binds a database to others, and what an exchange by names would leave behind.

    `subscriptions` follow other databases; those of owners that we are not are in `of_others`.
    `slots` are logical ones, each with its plugin: others follow this database by them.
    """

    subscriptions: tuple[str, ...] = ()
    of_others: tuple[str, ...] = ()
    slots: tuple[tuple[str, str], ...] = ()
    prepared: tuple[PreparedTransaction, ...] = ()


@dataclass(frozen=True, slots=True)
class MissingRight:
    """What the user of a database may not do, and what would change that; `always`: every restore
    needs it."""

    fact: str
    hint: str
    always: bool = True


@dataclass(frozen=True, slots=True)
class MissingRoles:
    """Roles of a set that the server lacks: `every` one, and those that are `needed`.

    `fresh`: the server has no roles of its own. `allowed`: we may create roles there.
    """

    every: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    fresh: bool = False
    allowed: bool = True


@dataclass(frozen=True, slots=True)
class Activity:
    """What was seen around held snapshots.

    `moved` are the keys of databases whose snapshot shows transactions that the first snapshot of
    its server does not: whoever they are of, and whatever they did. `maintenance`: the server's
    own housekeeping was at work there.
    """

    external_sessions: tuple[ExternalSession, ...]
    moved: tuple[str, ...]
    maintenance: bool


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What the snapshot of a database shows that the first snapshot of its server does not.

    `transactions` ended in between; `tables` hold rows that they wrote. `unread` are tables whose
    rows could not be asked for that.
    """

    transactions: int = 0
    tables: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Engine:
    """Where services run. `local` only when proven to share this machine's file systems."""

    id: str
    kind: str
    version: str
    local: bool


@dataclass(frozen=True, slots=True)
class ProjectResources:
    """Names of all that carries the project's label on the engine, declared or not."""

    containers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShadowedFolder:
    """A folder of an image that is not empty and that a bind mount hides.

    `entries` are some of the names in it.
    """

    service: str
    source: str
    target: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a planner may look at, taken at one time."""

    engine: Engine
    services: tuple[Service, ...]
    volumes: tuple[VolumeState, ...]
    databases: tuple[DatabaseState, ...]
    undeclared_databases: tuple[str, ...]
    free_bytes: int

    def with_volumes(self, volumes: tuple[VolumeState, ...]) -> Observed:
        """The same, but for volumes that were made or removed since."""
        return replace(self, volumes=volumes)

    def service(self, name: str) -> Service:
        return next(service for service in self.services if service.name == name)

    def volume(self, key: str) -> VolumeState:
        return next(volume for volume in self.volumes if volume.key == key)

    def database(self, key: str) -> DatabaseState:
        return next(database for database in self.databases if database.key == key)

    @property
    def running(self) -> tuple[Unit, ...]:
        return tuple(unit for service in self.services for unit in service.running)


#: What is known of the world where nobody looks: sets are files, and need no engine.
NOTHING = Observed(Engine("", "none", "", local=False), (), (), (), (), 0)
