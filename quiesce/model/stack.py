"""What `stack.yaml` declares, resolved for one instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from quiesce.model.engines import DEFAULT_ENGINE
from quiesce.model.secrets import Secret

RuntimeKind = Literal["compose", "host"]
Priority = Literal["critical", "important", "regenerable", "optional"]
VolumeBackup = Literal["files", "by-dump", "never"]
CleanGroup = Literal["logs", "cache"]
#: The two kinds of sources of files, as plans and messages call them.
Noun = Literal["volume", "path"]
#: The origin of a set in a store. `signed`: signed with this installation's key. `noted`: its index
#: is the one that was recorded here when it was uploaded. `unsigned`: it has no signature.
#: `foreign`: signed with another key. `changed`: it differs from what was signed or recorded.
#: `unknown`: there is neither a key nor a record here.
Trust = Literal["signed", "noted", "unsigned", "foreign", "changed", "unknown"]


def is_sibling(project: str, siblings: Sequence[str]) -> bool:
    """Whether a project may be another instance's; `*` in a sibling stands for any text."""
    return any(fnmatchcase(project, sibling) for sibling in siblings)


def without_query(path: str) -> str:
    """Return a path without its query, which may contain a token."""
    before, mark, query = path.partition("?")
    return f"{before}{mark}{'***' if query else ''}"


@dataclass(frozen=True, slots=True)
class Instance:
    """One place where the stack runs.

    `environment` is what Compose and host services get: the env file's variables. It contains
    secrets, so it is never printed. `state` is the folder of this instance's runtime files (host
    runtime only).
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
    #: What sets the project: `stack.yaml`, `environment`, `env file`, `Compose file`, `folder` or
    #: `instance` (several instances without a project).
    project_from: str = "stack.yaml"
    #: If stack.yaml sets no project: other names that the project may have on its engine.
    other_projects: tuple[str, ...] = ()
    #: The projects of the other instances; `*` stands for text that only their env file defines.
    siblings: tuple[str, ...] = ()
    #: A temporary copy, which is removed in any case: it needs no watchdog and no recovery.
    throwaway: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run in a service before or after a backup. `timeout` is in seconds."""

    service: str
    argv: tuple[str, ...]
    timeout: float


@dataclass(frozen=True, slots=True)
class Probe:
    """A check after a restore: an HTTP path, or a query whose first value must be true."""

    service: str = ""
    port: int = 0
    path: str = ""
    database: str = ""
    query: str = ""

    @property
    def words(self) -> str:
        """Return what it checks, without the query part of a path."""
        if self.database:
            return self.query
        return f"{self.service}:{self.port}{without_query(self.path)}"


@dataclass(frozen=True, slots=True)
class DrillWrite:
    """Data that a drill writes through a service's API. `{mark}` in `path` and `body` is the
    drill's marker; `read` must return it afterwards, `remove` deletes it. In these two, other names
    in braces are members of the response to the write."""

    service: str
    port: int
    path: str
    read: str
    method: str = "POST"
    body: str | None = None
    remove: str | None = None


@dataclass(frozen=True, slots=True)
class Database:
    """A database to back up. `key` is its name in `stack.yaml`, `name` on the server.

    `engine` is a key of `ENGINES`. The databases of one service have the same.
    """

    key: str
    name: str
    service: str
    user: str
    password: Secret | None
    port: int
    migrations: Path | None
    #: Whether sets contain the password hashes of its server's roles.
    role_passwords: bool = False
    #: The variable of the service's environment that contains the password; see `LateSecret`.
    password_from: str = ""
    engine: str = DEFAULT_ENGINE


@dataclass(frozen=True, slots=True)
class Volume:
    """A source of files: a named volume, or an entry of `paths` that sets contain.

    `key` is Compose's volume key, whose real name is looked up when observed; or the key in
    `paths`, and then `folder` is the folder on the engine's machine.
    """

    key: str
    purpose: str
    priority: Priority
    backup: VolumeBackup
    clean: CleanGroup | None
    exclude: tuple[str, ...]
    max_size: int | None
    folder: Path | None = None

    @property
    def noun(self) -> Noun:
        """Its kind, as messages name it: `volume` or `path`."""
        return "volume" if self.folder is None else "path"

    @property
    def stem(self) -> str:
        """The beginning of the names of its archives, relative to the set."""
        return f"{self.noun}s/{self.key}"


@dataclass(frozen=True, slots=True)
class PathEntry:
    """A folder of the engine's machine that services mount: an entry of `paths`.

    One that sets contain is also in `Stack.volumes`.
    """

    key: str
    path: Path
    backup: VolumeBackup
    clean: CleanGroup | None


@dataclass(frozen=True, slots=True)
class Restart:
    """How services restart: declared order, and minimum timeouts for stopping and health."""

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
    """The recipients of encrypted sets. Public keys only: backing up needs no private key.

    `age` are age recipients, `gpg` key ids or addresses known to gpg on this machine.
    """

    age: tuple[str, ...] = ()
    gpg: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.method)

    @property
    def method(self) -> str:
        """`age` or `gpg`, or "" without recipients."""
        return "age" if self.age else "gpg" if self.gpg else ""


Event = Literal["success", "failure", "recovery", "overdue"]


@dataclass(frozen=True, slots=True)
class Notify:
    """Where to send notifications: an Apprise URL, and the events to report."""

    url: Secret
    on: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """URLs of a monitor that raises an alarm if a run does not report."""

    start: Secret | None = None
    success: Secret | None = None
    fail: Secret | None = None


@dataclass(frozen=True, slots=True)
class OffsiteStore:
    """An off-site place for copies of sets. `retention` is its own; None keeps everything.

    `credentials_file` contains variables like AWS_ACCESS_KEY_ID; without it they come from the
    environment or the platform.
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
    """An entry of `schedule:`: its text, its cron expression, and the jobs to run."""

    text: str
    cron: str
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostService:
    """A service of `runtime: host`: a process started by Quiesce, or the embedded PostgreSQL.

    `volumes` maps a volume key to the environment variable that receives its directory.
    `health` is a command (exit 0 is healthy); `health_http` is a path to request on `port`.
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
    #: The named volumes, then the paths that sets contain.
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
    #: The key that signs uploaded sets; None: one in `backups/`, created when it is needed.
    signing_key_file: Path | None = None
    schedule: tuple[Timing, ...] = ()
    probes: tuple[Probe, ...] = ()
    #: Whether the copy of a drill may reach networks other than its own.
    drill_open: bool = False
    drill_writes: tuple[DrillWrite, ...] = ()
    #: Run before services stop for a backup, and after they have restarted.
    before: tuple[Command, ...] = ()
    after: tuple[Command, ...] = ()
    #: The off-site stores of this instance.
    stores: tuple[OffsiteStore, ...] = ()
    #: Recipients of local sets: none unless `encrypt.where` is `everywhere`.
    recipients: Recipients = Recipients()
    notify: tuple[Notify, ...] = ()
    #: By task.
    ping: Mapping[str, Ping] = field(default_factory=dict)
    #: The folder of Prometheus's textfile collector.
    metrics: Path | None = None
    #: Where to restore parts of an older script's archive: `db`, `media`, `static` to keys.
    legacy: Mapping[str, str] = field(default_factory=dict)
    #: Whether this is the default instance.
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

    @property
    def folders(self) -> tuple[Volume, ...]:
        """The sources of files that are folders, not volumes."""
        return tuple(entry for entry in self.volumes if entry.folder is not None)

    @property
    def unkept_paths(self) -> tuple[PathEntry, ...]:
        """The entries of `paths` that no set contains."""
        return tuple(entry for entry in self.paths if entry.backup == "never")

    def volume(self, key: str) -> Volume:
        return next(entry for entry in self.volumes if entry.key == key)


#: Used instead of a digest if rows were only counted, because reading them would run untrusted
#: code.
UNREAD = "unread"
