"""What a backup set contains, locally and in a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from quiesce.codec import SPARSE
from quiesce.exclusion import LeftOut
from quiesce.model.engines import DEFAULT_ENGINE
from quiesce.model.gaps import LeftOutFile, Undeclared
from quiesce.model.sqlite import SqliteRecord
from quiesce.model.stack import Noun, RuntimeKind
from quiesce.obstacles import Obstacle

SetKind = Literal["full", "data", "schema"]
Mode = Literal["consistent", "live", "cold"]
#: How thoroughly a set was verified: sums, every member decoded, or a test restore.
Level = Literal["sums", "deep", "restore"]
MemberKind = Literal["database", "settings", "globals", "volume", "gone", "stack", "document"]


@dataclass(frozen=True, slots=True)
class OffsiteObject:
    """One file of a set in a store. Bytes and sum are those of the stored object, which may be
    encrypted."""

    file: str
    object: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OffsiteSet:
    """A set in a store, as described by its index; files that are not in the index are ignored.

    `contents` are the keys of its databases and volumes, or one digest of them if it is encrypted
    with `encryption` (`age`, `gpg`, "" for none).
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
    #: Amounts by unit and source ("files photos"); sources have pseudonyms if it is encrypted.
    #: Empty in indexes of earlier versions.
    amounts: Mapping[str, int] = field(default_factory=dict)
    #: Made with the key of the installation that uploaded it; see `adapters/sets/signing.py`.
    signature: str = ""
    #: As in the manifest.
    safety: bool = False

    def describes(self, backup: BackupSet) -> bool:
        """Whether it is a copy of this set, as far as this can be determined without decrypting."""
        manifest = backup.manifest
        facts = (manifest.name, manifest.instance, manifest.created_at, manifest.kind)
        if (self.name, self.instance, self.created_at, self.kind) != facts:
            return False
        there = {entry.file: entry.sha256 for entry in self.objects}
        return all(
            member.file in there and (bool(self.encryption) or there[member.file] == member.sha256)
            for member in manifest.members
        )

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.objects)


@dataclass(frozen=True, slots=True)
class Plain:
    """A decrypted member: its file, relative to the set, bytes and sum.

    The sum is "" if the set's `private.json` contains it; older sets have it here.
    """

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a set. `file` is relative to the set; `source` is the key in `stack.yaml`.

    If the set is encrypted, `file`, `bytes` and `sha256` are those of the ciphertext.
    """

    name: str
    kind: MemberKind
    source: str
    file: str
    bytes: int
    sha256: str
    plain: Plain | None = None


@dataclass(frozen=True, slots=True)
class TableRecord:
    """Rows and content digest of one table, read in the dump's own snapshot.

    `columns` are the column types as the server prints them, by name; older sets have none.
    `schema` is "" for an engine whose databases have no schemas.
    """

    schema: str
    name: str
    rows: int
    digest: str
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """A sequence's state; `last_value` is text because sequences may exceed JSON's numbers.

    `owner` is the column that owns it, as schema, table and column, or None.
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
    """What a set records of one database, all of it read in the dump's own snapshot.

    A field that an engine has no use for is empty. `snapshot` and `wal_position` are the names
    that the server gives to the snapshot and to its position in the log of changes. `objects` are
    digests of what else the database contains, by kind and name ("view totals"), where an engine's
    driver reads them; a load is compared with them. `revision` holds the rows of Alembic's version
    table (none: not migrated; several: branches).
    `digest_algorithm` names how `TableRecord.digest` was computed, so that it can be computed
    again. `settings` are the statements that recreate the database object's settings, grants and
    comment. They may contain secrets, so a set keeps them in a separate member, which is encrypted
    like the dump, and not in its manifest; manifests of earlier versions still have them.
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
    #: Materialized views that contain rows, quoted; and the database's search path.
    populated: tuple[str, ...] = ()
    search_path: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    #: A key of `ENGINES`; in sets of earlier versions always this one.
    engine: str = DEFAULT_ENGINE
    objects: Mapping[str, str] = field(default_factory=dict, metadata=SPARSE)


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """What a set records of one volume, or of a folder in `paths`, whose `name` is then an absolute
    path: its contents after a restore, and what is left out."""

    key: str
    name: str
    files: int
    bytes: int
    levels: tuple[str, ...]
    gone: str | None
    compression: str
    excluded: tuple[LeftOut, ...] = ()
    #: Entries and bytes of level 0 alone, to limit what is unpacked; None in older sets.
    level_0: tuple[int, int] | None = None
    #: None in sets of earlier versions, which did not look for them.
    sqlite: tuple[SqliteRecord, ...] | None = None

    @property
    def noun(self) -> Noun:
        """Its kind, as messages name it: `volume` or `path`."""
        return "path" if self.name.startswith("/") else "volume"


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """A PostgreSQL data directory in a volume, as described by its control file.

    `volume` is the volume's key, `directory` the data directory below the volume's root ("." for
    the root itself), `version` the major version in `PG_VERSION`. `state` is as printed by
    `pg_controldata`; `open` says that a `postmaster.pid` exists. `checkpoint` is the WAL
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
    """From the stop request until healthy again, per service; `overall` is from the first stop
    until the last service is back."""

    overall: float
    services: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The sealed description of a set: `manifest.json`. `format` 1 is described here.

    `encryption` is `age` or `gpg` if the members are encrypted, otherwise "". `doubt` says what
    could not be proven about `consistent`, "" if it is proven. `safety` marks a safety set: a
    restore made it of the data that it replaced. Name and label do not matter.
    `stack_left_out` are files of the stack's definition that `stack/` does not have as they are.
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
    safety: bool = False
    stack_left_out: tuple[LeftOutFile, ...] = ()
    #: Data that the set lacks because stack.yaml neither lists nor excludes it; see
    #: `quiesce/undeclared.py`.
    undeclared: tuple[Undeclared, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The keys of the databases and volumes in the set, sorted."""
        databases = (record.key for record in self.databases)
        return tuple(sorted((*databases, *(record.key for record in self.volumes))))


@dataclass(frozen=True, slots=True)
class Check:
    """The result of verifying a set, and when."""

    at: datetime
    good: bool


@dataclass(frozen=True, slots=True)
class SetState:
    """Facts about a set that change after it is published, kept in `backups/.state/<set>.json`."""

    pinned: bool = False
    verified_at: datetime | None = None
    verified_level: str | None = None
    verified_good: bool | None = None
    #: The last result at each level.
    checks: Mapping[str, Check] = field(default_factory=dict)
    #: The user accepted that the set contains much less than the previous one.
    accepted: bool = False
    #: The stores that contain it, and since when.
    pushed: Mapping[str, datetime] = field(default_factory=dict)

    def checked(self, level: Level, at: datetime, *, good: bool) -> SetState:
        """Return a copy with this result. A set is good unless a level's last result is bad."""
        check = Check(at, good)
        # Deeper verification checks the sums first.
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
    def rows_only(self) -> bool:
        """Whether it holds rows and no schema."""
        return self.manifest.kind == "data"

    @property
    def clusters(self) -> tuple[ClusterRecord, ...]:
        return self.manifest.clusters

    @property
    def database_keys(self) -> tuple[str, ...]:
        return tuple(record.key for record in self.manifest.databases)

    @property
    def volume_keys(self) -> tuple[str, ...]:
        return tuple(record.key for record in self.manifest.volumes)

    def database(self, key: str) -> DatabaseRecord:
        return next(record for record in self.manifest.databases if record.key == key)

    def volume(self, key: str) -> VolumeRecord:
        return next(record for record in self.manifest.volumes if record.key == key)

    def dump_of(self, key: str) -> str:
        """Return the dump of a database, relative to `path`."""
        members = self.manifest.members
        return next(m.file for m in members if m.kind == "database" and m.source == key)

    @property
    def amounts(self) -> dict[tuple[str, str], int]:
        """Return amounts by unit and source: rows, files and bytes."""
        found: dict[tuple[str, str], int] = {("bytes", "the whole set"): self.bytes}
        for database in self.manifest.databases:
            found["rows", database.key] = sum(table.rows for table in database.tables)
        for volume in self.manifest.volumes:
            found["files", volume.key] = volume.files
            found["bytes", volume.key] = volume.bytes
        return found


@dataclass(frozen=True, slots=True)
class DatabaseSwap:
    """Two renames: `live` becomes `aside` (if it exists), `side` becomes `live`."""

    database: str
    live: str
    side: str
    aside: str
