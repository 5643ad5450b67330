"""What a restore reads: a backup set, or a single file that another program made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from quiesce.model.sets import BackupSet, ClusterRecord, SequenceRecord, TableRecord
from quiesce.obstacles import Obstacle


@dataclass(frozen=True, slots=True)
class ImportedDatabase:
    """The SQL script of one database, and the facts in its header. Unlike a set, it records no row
    counts or digests.

    `file` is relative to the source's folder. `revision` contains the rows of its `alembic_version`
    table.
    """

    key: str
    file: str
    revision: tuple[str, ...] = ()
    sequences: tuple[SequenceRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedVolume:
    """The tar archive of one volume's content. Its number of files and bytes is not recorded."""

    key: str
    file: str


@dataclass(frozen=True, slots=True)
class ImportSource:
    """The content of a file that is not a set, unpacked into `path`, a folder of the run.

    `name` is the file's own name. `rows_only`: the script has rows and no tables.
    """

    name: str
    path: Path
    databases: tuple[ImportedDatabase, ...] = ()
    volumes: tuple[ImportedVolume, ...] = ()
    rows_only: bool = False

    @property
    def clusters(self) -> tuple[ClusterRecord, ...]:
        """Always empty: a file does not say which volume is a data directory of PostgreSQL."""
        return ()

    @property
    def database_keys(self) -> tuple[str, ...]:
        return tuple(database.key for database in self.databases)

    @property
    def volume_keys(self) -> tuple[str, ...]:
        return tuple(volume.key for volume in self.volumes)

    def database(self, key: str) -> ImportedDatabase:
        return next(database for database in self.databases if database.key == key)

    def volume(self, key: str) -> ImportedVolume:
        return next(volume for volume in self.volumes if volume.key == key)

    def dump_of(self, key: str) -> str:
        """Return the script of a database, relative to `path`."""
        return self.database(key).file


RestoreSource: TypeAlias = BackupSet | ImportSource


@dataclass(frozen=True, slots=True)
class RowsRecord:
    """The record of rows that are loaded into a schema. A set has all fields. A single file has at
    most a revision and sequences; then `tables` and `digest_algorithm` are empty, and the rows
    cannot be compared.
    """

    key: str
    revision: tuple[str, ...] = ()
    sequences: tuple[SequenceRecord, ...] = ()
    tables: tuple[TableRecord, ...] = ()
    digest_algorithm: str = ""
    large_objects: int = 0
    populated: tuple[str, ...] = ()
    search_path: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


def rows_record(source: RestoreSource, key: str) -> RowsRecord:
    """Return the source's record of the rows of one database."""
    if isinstance(source, ImportSource):
        found = source.database(key)
        return RowsRecord(key, found.revision, found.sequences)
    record = source.database(key)
    return RowsRecord(
        key,
        record.revision,
        record.sequences,
        record.tables,
        record.digest_algorithm,
        record.large_objects,
        record.populated,
        record.search_path,
        record.obstacles,
    )
