"""The observed state of the instance before planning: frozen values, no clients. A `Service`
combines the declaration in the Compose model (or in `stack.yaml`, on the host runtime) with the
containers or processes (`Unit`) that exist for it now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from quiesce.model.engines import DEFAULT_ENGINE
from quiesce.model.stack import Noun

UnitState = Literal["running", "paused", "restarting", "created", "exited", "dead", "removing"]
Health = Literal["healthy", "unhealthy", "starting", "none"]
Condition = Literal["started", "healthy", "completed"]


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a unit in one of its networks."""

    network: str
    ip: str


@dataclass(frozen=True, slots=True)
class Unit:
    """One container or process of a service, as it was observed.

    `id` is the container's id, or the process's `<pid>:<start time>`. `health` is `none` if the
    service declares no health check. Plans and journals contain complete units, so a recovery
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
    """A volume or folder inside a service. `volume` is the volume's key, or None for a bind.

    A mount through which a service reaches an entry of `paths`, whole or in part, occurs once more
    with that entry's key in `volume`. An anonymous volume has no key; `source` is its real name,
    "" before its container exists, and `mountpoint` is its folder on the engine's machine.
    """

    volume: str | None
    source: str
    target: str
    writable: bool
    mountpoint: str = ""


@dataclass(frozen=True, slots=True)
class Dependency:
    """A service that must be started, healthy or completed before another one starts."""

    service: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class ForeignMount:
    """A running container outside of the project with write access to data of a service.

    `volume` is the volume's key, or the path of a folder; `project` the Compose project of the
    container, "" for none. `server`: it is the data directory of a declared database's server, so
    a second server would destroy it.
    """

    container: str
    project: str
    volume: str
    server: bool = False

    @property
    def fact(self) -> str:
        """Return which container it is, and what it has mounted."""
        of = f" of project {self.project}" if self.project else ""
        what = "folder" if self.volume.startswith("/") else "volume"
        data = ", the data of a database server" if self.server else ""
        return f"container {self.container}{of} has {what} {self.volume} mounted{data}"

    def hint(self, *, alone: bool) -> str:
        """Return what to do about it. `alone`: this project has no container here, so the other
        project may be this stack under another name."""
        if self.project and alone:
            return (
                f"if project {self.project} is this stack, add 'project: {self.project}' to its "
                f"instance in stack.yaml; otherwise stop {self.container} first"
            )
        permit = "" if self.server else ", or add it to writers.ignore in stack.yaml"
        return f"stop {self.container} first{permit}"


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its declaration, and the units that exist for it now.

    `foreign_mounts` are containers that prevent it from being started, without those that
    `writers.ignore` in stack.yaml permits.
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
    """A volume on the engine. `name` is its real name, `outside` are the containers outside of the
    project that use it; `outside_writers` are those of them that run and can write to it.

    For an entry of `paths`, `name` is the absolute path of its folder, without links.

    `external`: it is declared as external in the Compose file. `project` is the project in its
    label, "" without a label.
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

    @property
    def is_folder(self) -> bool:
        """Whether it is an entry of `paths`."""
        return self.name.startswith("/")

    @property
    def noun(self) -> Noun:
        """Its kind, as messages name it: `volume` or `path`."""
        return "path" if self.is_folder else "volume"


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """A declared database on its server.

    `revision` are the rows of its Alembic version table; `bytes` is its size on the server.
    `problem` says why the server cannot be reached, and `remedy` what to do about it if starting
    the service is not the answer. `engine` is the engine declared in `stack.yaml`.
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
    engine: str = DEFAULT_ENGINE


@dataclass(frozen=True, slots=True)
class ExternalSession:
    """A session of another client in a database whose snapshot is exported. `database` is the
    database's name on the server.

    `idle`: it ran no statement since the first snapshot, so it wrote nothing.
    """

    pid: int
    database: str
    user: str
    application: str
    idle: bool = False


@dataclass(frozen=True, slots=True)
class PreparedTransaction:
    """A prepared transaction that was neither committed nor rolled back, `seconds` old.

    `locks` are the tables that no other session can read because of it.
    """

    gid: str
    owner: str
    database: str
    seconds: int
    locks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ties:
    """Replication and prepared transactions of a database. An exchange would leave them with the
    previous copy.

    `subscriptions` replicate other databases; those owned by other roles are in `of_others`.
    `slots` are logical slots with their plugins, by which others replicate this database.
    """

    subscriptions: tuple[str, ...] = ()
    of_others: tuple[str, ...] = ()
    slots: tuple[tuple[str, str], ...] = ()
    prepared: tuple[PreparedTransaction, ...] = ()


@dataclass(frozen=True, slots=True)
class MissingRight:
    """A right that the user of a database lacks, and how to grant it; `always`: every restore
    needs it."""

    fact: str
    hint: str
    always: bool = True


@dataclass(frozen=True, slots=True)
class MissingRoles:
    """Roles of a set that are missing on the server: `every` one, and those that are `needed`.

    `fresh`: the server has no other roles. `allowed`: the user may create roles there.
    """

    every: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    fresh: bool = False
    allowed: bool = True


@dataclass(frozen=True, slots=True)
class Activity:
    """Activity on the servers while snapshots were exported.

    `moved` are the keys of databases whose snapshot contains transactions, of any kind, that the
    first snapshot of the server does not. `maintenance`: the server's own housekeeping was active.
    """

    external_sessions: tuple[ExternalSession, ...]
    moved: tuple[str, ...]
    maintenance: bool


@dataclass(frozen=True, slots=True)
class WrittenBetween:
    """Writes that the snapshot of a database contains and the first snapshot of its server does
    not. `transactions` is the number of transactions that ended in between; `tables` contain rows
    that these wrote. `unread` are tables whose rows could not be checked.
    """

    transactions: int = 0
    tables: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Engine:
    """Where services run. `local`: it is proven to share this machine's file systems."""

    id: str
    kind: str
    version: str
    local: bool


@dataclass(frozen=True, slots=True)
class Platform:
    """What runs the containers: versions, the API versions that the engine accepts, and its storage
    driver. `kind` is `docker` or `podman`; `users` is `rootless` or `userns-remap` if containers
    have other user numbers than the machine."""

    kind: str
    version: str
    api: tuple[str, str]
    compose: str
    storage: str
    users: str = ""


@dataclass(frozen=True, slots=True)
class ProjectResources:
    """Names of everything with the project's label on the engine, declared or not."""

    containers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Traces:
    """What exists of one Compose project on an engine. `containers`: some of its containers were
    created from this stack's Compose files; `running`: one of these runs now. `others` are Compose
    files of this machine from which its other containers were created. `volumes`: some of its
    volumes have keys of this stack.
    """

    containers: bool = False
    running: bool = False
    others: tuple[str, ...] = ()
    volumes: bool = False


@dataclass(frozen=True, slots=True)
class OtherProject:
    """A project that runs from this stack's Compose files and is not declared as an instance.

    `alone`: the instance's own project has no containers, so this may be the stack that is meant.
    """

    project: str
    alone: bool


@dataclass(frozen=True, slots=True)
class ShadowedFolder:
    """A non-empty folder of an image that a bind mount hides.

    `entries` are some of the names in it.
    """

    service: str
    source: str
    target: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that a planner may use, observed at one time."""

    engine: Engine
    services: tuple[Service, ...]
    volumes: tuple[VolumeState, ...]
    databases: tuple[DatabaseState, ...]
    undeclared_databases: tuple[str, ...]
    free_bytes: int
    other_projects: tuple[OtherProject, ...] = ()

    def with_volumes(self, volumes: tuple[VolumeState, ...]) -> Observed:
        """Return a copy with volumes that were created or removed since."""
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


#: An empty observation, for tasks that only handle sets and need no engine.
NOTHING = Observed(Engine("", "none", "", local=False), (), (), (), (), 0)
