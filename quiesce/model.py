"""The nouns of Quiesce, all frozen: what a stack declares and what a backup set holds.

What is observed of the running world (services, volumes, databases) is in `observed.py`.
Units: sizes in bytes, durations in seconds, times as aware datetimes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from quiesce.exclusion import LeftOut
from quiesce.obstacles import Obstacle

RuntimeKind = Literal["compose", "host"]
Priority = Literal["critical", "important", "regenerable", "optional"]
VolumeBackup = Literal["files", "by-dump", "never"]
CleanGroup = Literal["logs", "cache"]
SetKind = Literal["full", "data", "schema"]
Mode = Literal["consistent", "live", "cold"]
#: Who sent a set that is in a store. `signed`: signed with this installation's key. `noted`: its
#: index is the one that was noted here when it was sent. `unsigned`: nobody signed it. `foreign`:
#: signed with another key. `changed`: it is not what was signed or noted. `unknown`: there is
#: neither a key nor a note here.
Trust = Literal["signed", "noted", "unsigned", "foreign", "changed", "unknown"]
#: How far a set was read: its sums, every member decoded to its end, or a real restore of it.
Level = Literal["sums", "deep", "restore"]
MemberKind = Literal["database", "settings", "globals", "volume", "gone", "stack", "document"]


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


# --------------------------------------------------------------------- what stack.yaml declares


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
        """What it asks."""
        return self.query if self.database else f"{self.service}:{self.port}{self.path}"


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
class OffsiteObject:
    """One file of a set as it lies in a store. Bytes and sum are those of the object; what is
    encrypted has others once it is decrypted."""

    file: str
    object: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OffsiteSet:
    """A set in a store, as its index there says; what is not named in it does not exist.

    `contents` are the keys of what it holds, or one digest of them where it is encrypted with
    `encryption` (`age`, `gpg`, "" for none).
    """

    format: int
    name: str
    instance: str
    created_at: datetime
    kind: SetKind
    contents: tuple[str, ...]
    pinned: bool
    encryption: str
    objects: tuple[OffsiteObject, ...]
    #: How much it holds, by unit and source ("files photos"); sources have pseudonyms where it is
    #: encrypted. Empty in indexes of earlier versions.
    amounts: Mapping[str, int] = field(default_factory=dict)
    #: By the key of the installation that sent it; see `adapters/signing`.
    signature: str = ""

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.objects)


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


# ------------------------------------------------------------------------- what a set holds


@dataclass(frozen=True, slots=True)
class Plain:
    """What a member is once it is decrypted: its file, relative to the set, bytes and sum."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a set. `file` is relative to the set; `source` is the key in `stack.yaml`.

    Where the set is encrypted, `file`, `bytes` and `sha256` are those of the ciphertext.
    """

    name: str
    kind: MemberKind
    source: str
    file: str
    bytes: int
    sha256: str
    plain: Plain | None = None


#: The digest of rows that were counted and not read: that would have run code of others.
UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class TableRecord:
    """Rows and content digest of one table, read in the dump's own snapshot.

    `columns` are its types as PostgreSQL writes them, by name; older sets have none.
    """

    schema: str
    name: str
    rows: int
    digest: str
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """A sequence's state; `last_value` is text because sequences may exceed JSON's numbers.

    `owner` is the column it counts for, as schema, table and column; none where it has none.
    """

    schema: str
    name: str
    last_value: str
    is_called: bool
    owner: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtensionRecord:
    """An installed extension, and the schema its objects live in."""

    name: str
    version: str
    schema: str


@dataclass(frozen=True, slots=True)
class DatabaseRecord:
    """What a set knows of one database, all of it read in the dump's own snapshot.

    `revision` holds the rows of Alembic's version table (none: not migrated; several: branches).
    `digest_algorithm` names how `TableRecord.digest` was made, so that it can be made again.
    `settings` are the texts needed to make the database object anew: settings, grants, comment.
    They may hold secrets, so a set keeps them in a member of their own, which is encrypted like
    the dump, and not in its manifest; manifests of earlier versions still have them.
    """

    key: str
    name: str
    service: str
    server_version: str
    client_version: str
    revision: tuple[str, ...]
    version_table: str | None
    snapshot: str
    wal_position: str
    encoding: str
    collate: str
    ctype: str
    locale_provider: str
    locale: str | None
    owner: str
    digest_algorithm: str
    tables: tuple[TableRecord, ...]
    sequences: tuple[SequenceRecord, ...]
    extensions: tuple[ExtensionRecord, ...]
    roles: tuple[str, ...]
    settings: tuple[str, ...]
    large_objects: int
    #: Materialized views that hold rows, each quoted; the schemas where sessions look for names.
    populated: tuple[str, ...] = ()
    search_path: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """What a set knows of one volume: what a restore of it will have, and what is left out."""

    key: str
    name: str
    files: int
    bytes: int
    levels: tuple[str, ...]
    gone: str | None
    compression: str
    excluded: tuple[LeftOut, ...] = ()
    #: Entries and bytes of level 0 by itself, for a bound on what is unpacked; none in older sets.
    level_0: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """A PostgreSQL data directory in a volume, as its own control file describes it.

    `volume` is the volume's key, `directory` the data directory below the volume's root ("." for
    the root itself), `version` the major version in `PG_VERSION`. `state` is in the words of
    `pg_controldata`; `open` says that a `postmaster.pid` is there. `checkpoint` is the WAL
    position of the last checkpoint.
    """

    volume: str
    directory: str
    version: str
    state: str
    open: bool
    system_identifier: str
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Downtime:
    """From the stop request to healthy again, per service; `overall` is first stop to last back."""

    overall: float
    services: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The sealed description of a set: `manifest.json`. `format` 1 is described here.

    `encryption` is `age` or `gpg` where the members are encrypted, "" where they are not. `doubt`
    says what of `consistent` nobody can prove, "" where it is proven.
    """

    format: int
    tool: str
    name: str
    instance: str
    project: str
    engine: str
    runtime: RuntimeKind
    created_at: datetime
    mode: Mode
    kind: SetKind
    label: str
    pinned: bool
    consistent: bool
    inconsistency: str
    duration_seconds: float
    downtime_seconds: Downtime
    services_running_before: tuple[str, ...]
    services_stopped: tuple[str, ...]
    members: tuple[Member, ...]
    databases: tuple[DatabaseRecord, ...]
    volumes: tuple[VolumeRecord, ...]
    images: Mapping[str, str]
    clusters: tuple[ClusterRecord, ...] = ()
    encryption: str = ""
    doubt: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """The keys of the databases and volumes in the set, sorted."""
        databases = (record.key for record in self.databases)
        return tuple(sorted((*databases, *(record.key for record in self.volumes))))


@dataclass(frozen=True, slots=True)
class Check:
    """What came of reading a set, and when."""

    at: datetime
    good: bool


@dataclass(frozen=True, slots=True)
class SetState:
    """Facts about a set that change after sealing, kept in `backups/.state/<set>.json`."""

    pinned: bool = False
    verified_at: datetime | None = None
    verified_level: str | None = None
    verified_good: bool | None = None
    #: The last result at each level.
    checks: Mapping[str, Check] = field(default_factory=dict)
    #: Somebody said that it is right that the set holds so much less than the one before.
    accepted: bool = False
    #: The stores that hold it, and since when.
    pushed: Mapping[str, datetime] = field(default_factory=dict)

    def checked(self, level: Level, at: datetime, *, good: bool) -> SetState:
        """The same with this result. A set is good while the last result of no level is bad."""
        check = Check(at, good)
        # Reading a set deeply takes its sums first.
        checks = {**self.checks, "sums": check, level: check}
        return replace(
            self,
            verified_at=at,
            verified_level=level,
            verified_good=all(check.good for check in checks.values()),
            checks=checks,
        )


@dataclass(frozen=True, slots=True)
class BackupSet:
    """A published set: its folder, its manifest, its mutable state, its size on disk."""

    path: Path
    manifest: Manifest
    state: SetState
    bytes: int

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def amounts(self) -> dict[tuple[str, str], int]:
        """How much it holds, by unit and source: rows, files and bytes."""
        found: dict[tuple[str, str], int] = {("bytes", "the whole set"): self.bytes}
        for database in self.manifest.databases:
            found["rows", database.key] = sum(table.rows for table in database.tables)
        for volume in self.manifest.volumes:
            found["files", volume.key] = volume.files
            found["bytes", volume.key] = volume.bytes
        return found


@dataclass(frozen=True, slots=True)
class DatabaseSwap:
    """`live` becomes `aside` (when it exists), `side` becomes `live`."""

    database: str
    live: str
    side: str
    aside: str
