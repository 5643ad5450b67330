"""What `stack.yaml` declares, resolved for one instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

RuntimeKind = Literal["compose", "host"]
Priority = Literal["critical", "important", "regenerable", "optional"]
VolumeBackup = Literal["files", "by-dump", "never"]
CleanGroup = Literal["logs", "cache"]
#: Who sent a set that is in a store. `signed`: signed with this installation's key. `noted`: its
#: index is the one that was noted here when it was sent. `unsigned`: nobody signed it. `foreign`:
#: signed with another key. `changed`: it is not what was signed or noted. `unknown`: there is
#: neither a key nor a note here.
Trust = Literal["signed", "noted", "unsigned", "foreign", "changed", "unknown"]


def without_query(path: str) -> str:
    """Return a path as it may be shown: what follows its question mark may be a token."""
    before, mark, query = path.partition("?")
    return f"{before}{mark}{'***' if query else ''}"


class Secret:
    """A value that prints as `***`; `reveal()` at the moment of use is the only way out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Instance:
    """One place where the stack runs.

    `environment` is what Compose and host services get: the env file's variables. It holds
    secrets, so it never prints. `state` is where this instance keeps runtime files of its own
    (host runtime only).
    """

    name: str
    runtime: RuntimeKind
    project: str
    directory: Path
    env_file: Path | None
    files: tuple[Path, ...]
    context: str | None
    retention: str
    profiles: tuple[str, ...]
    state: Path
    environment: Mapping[str, str] = field(repr=False)
    #: Where stack.yaml names no project: what else the stack may be called on its engine.
    other_projects: tuple[str, ...] = ()
    #: A copy that is removed anyway: nothing of it is owed to anybody, so no guard is kept.
    throwaway: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command that is run in a service around a backup. `timeout` is in seconds."""

    service: str
    argv: tuple[str, ...]
    timeout: float


@dataclass(frozen=True, slots=True)
class Probe:
    """What is asked after a restore: a path over HTTP, or a query whose first value is true."""

    service: str = ""
    port: int = 0
    path: str = ""
    database: str = ""
    query: str = ""

    @property
    def words(self) -> str:
        """What it asks, without the query of a path."""
        if self.database:
            return self.query
        return f"{self.service}:{self.port}{without_query(self.path)}"


@dataclass(frozen=True, slots=True)
class DrillWrite:
    """Something that a drill writes through a service's API. `{mark}` in `path` and `body` is the
    drill's word; `read` is asked for it afterwards, `remove` removes it. In these two, other names
    in braces are members of the answer to the writing."""

    service: str
    port: int
    path: str
    read: str
    method: str = "POST"
    body: str | None = None
    remove: str | None = None


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL database to keep. `key` is its name in `stack.yaml`, `name` on the server."""

    key: str
    name: str
    service: str
    user: str
    password: Secret | None
    port: int
    migrations: Path | None
    #: Whether sets hold the hashes of the passwords of its server's roles.
    role_passwords: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """A named volume. `key` is Compose's volume key; its real name is looked up when observed."""

    key: str
    purpose: str
    priority: Priority
    backup: VolumeBackup
    clean: CleanGroup | None
    exclude: tuple[str, ...]
    max_size: int | None


@dataclass(frozen=True, slots=True)
class PathEntry:
    """A bind-mounted path of the stack's folder that cleaning or backup looks after."""

    key: str
    path: Path
    backup: VolumeBackup
    clean: CleanGroup | None


@dataclass(frozen=True, slots=True)
class Restart:
    """How services come back: declared order, and the least patience for stop and health."""

    order: tuple[str, ...]
    stop_timeout: float
    health_timeout: float
    keep_running: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retention:
    """A retention profile; rules are ORed per whole set. `keep_within` is in seconds."""

    name: str
    keep_last: int | None = None
    keep_within: float | None = None
    keep_hourly: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None


@dataclass(frozen=True, slots=True)
class Recipients:
    """For whom sets are encrypted. Public keys only: who backs up can read nothing of it again.

    `age` are recipients of age, `gpg` key ids or addresses that the gpg of this machine knows.
    """

    age: tuple[str, ...] = ()
    gpg: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.method)

    @property
    def method(self) -> str:
        """`age` or `gpg`, or "" where nobody is named."""
        return "age" if self.age else "gpg" if self.gpg else ""


Event = Literal["success", "failure", "recovery", "overdue"]


@dataclass(frozen=True, slots=True)
class Notify:
    """Somebody who is told: any address that Apprise knows, and of what."""

    url: Secret
    on: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Addresses of a monitor that misses a run which does not come."""

    start: Secret | None = None
    success: Secret | None = None
    fail: Secret | None = None


@dataclass(frozen=True, slots=True)
class OffsiteStore:
    """A place for copies of sets away from here. `retention` is its own; None keeps everything.

    `credentials_file` holds variables like AWS_ACCESS_KEY_ID; without it they come from the
    environment, or from what the platform itself gives.
    """

    name: str
    url: str
    endpoint: str | None = None
    region: str | None = None
    credentials_file: Path | None = None
    retention: Retention | None = None
    recipients: Recipients = Recipients()


@dataclass(frozen=True, slots=True)
class Timing:
    """An entry of `schedule:`: as it was written, its cron expression, and what is done then."""

    text: str
    cron: str
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostService:
    """A service of `runtime: host`: a process of ours, or the embedded PostgreSQL.

    `volumes` maps a volume key to the environment variable that receives its directory.
    `health` is a command (exit 0 is healthy) or, with `health_http`, a path asked on `port`.
    """

    name: str
    command: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str] = field(repr=False)
    port: int | None
    postgres: Literal["embedded"] | None
    postgres_user: str
    postgres_password: Secret | None
    volumes: Mapping[str, str]
    health: tuple[str, ...]
    health_http: str | None
    depends_on: tuple[str, ...]
    stop_signal: str
    stop_timeout: float


@dataclass(frozen=True, slots=True)
class Stack:
    """A whole `stack.yaml`, resolved for one instance."""

    file: Path
    digest: str
    timezone: str
    instance: Instance
    instance_names: tuple[str, ...]
    databases: tuple[Database, ...]
    excluded_databases: tuple[str, ...]
    volumes: tuple[Volume, ...]
    excluded_volumes: tuple[str, ...]
    paths: tuple[PathEntry, ...]
    writers: tuple[str, ...]
    ignored_writers: tuple[str, ...]
    restart: Restart
    retention: Retention
    host_services: tuple[HostService, ...]
    max_downtime: float | None
    lock_patience: float
    helper_image: str | None
    #: The key that signs what is sent to stores; None: one in `backups/`, made when it is needed.
    signing_key_file: Path | None = None
    schedule: tuple[Timing, ...] = ()
    probes: tuple[Probe, ...] = ()
    #: Whether a drill's copy may reach other networks than its own.
    drill_open: bool = False
    drill_writes: tuple[DrillWrite, ...] = ()
    #: Run while services still run, before they rest for a backup; and once they are back.
    before: tuple[Command, ...] = ()
    after: tuple[Command, ...] = ()
    #: The places away from here that hold this instance's sets, too.
    stores: tuple[OffsiteStore, ...] = ()
    #: For whom sets here are encrypted: nobody unless `encrypt.where` is `everywhere`.
    recipients: Recipients = Recipients()
    notify: tuple[Notify, ...] = ()
    #: By task.
    ping: Mapping[str, Ping] = field(default_factory=dict)
    #: The folder that a collector reads figures for Prometheus from.
    metrics: Path | None = None
    #: Where the parts of an older script's archive go: `db`, `media`, `static` to their keys.
    legacy: Mapping[str, str] = field(default_factory=dict)
    #: Whether this is the instance that is meant where none is named.
    is_default: bool = True

    @property
    def directory(self) -> Path:
        """The folder of `stack.yaml`; relative paths in it start here."""
        return self.file.parent

    @property
    def backups(self) -> Path:
        return self.directory / "backups"

    def database(self, key: str) -> Database:
        return next(entry for entry in self.databases if entry.key == key)

    def volume(self, key: str) -> Volume:
        return next(entry for entry in self.volumes if entry.key == key)


#: The digest of rows that were counted and not read: that would have run code of others.
UNREAD = "unread"
