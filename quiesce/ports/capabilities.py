"""One protocol for each capability that has methods and that only some database engines have.

`model/engines.py` says which engines have which. A driver implements the protocols of the
capabilities that its engine has there, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from quiesce.model import (
    Database,
    RowsRecord,
    SequenceRecord,
    SetKind,
    TableRecord,
)
from quiesce.observed import MissingRoles, Ties
from quiesce.ports.runtime import Progress


@dataclass(frozen=True, slots=True)
class DatabaseContents:
    """The content of a database, to compare with the fields of a `DatabaseRecord`."""

    tables: tuple[TableRecord, ...]
    sequences: tuple[SequenceRecord, ...]
    revision: tuple[str, ...]
    objects: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drift:
    """How a database differs from the one that rows were dumped from. `problems` prevent the rows
    from being loaded. `lossy` are type changes that could change values silently, in the tables
    `changed`. `left` are tables that contain rows and are not in the dump: they would keep their
    rows. `code` are tables that would call functions from a restored file while rows are loaded,
    with the rights of a superuser.
    """

    problems: tuple[str, ...] = ()
    lossy: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    left: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """The numbers of tables and rows that were loaded, and what was restored differently, in
    words."""

    tables: int
    rows: int
    deviations: tuple[str, ...] = ()


@runtime_checkable
class Globals(Protocol):
    """The capability `globals`: users or roles that belong to the server."""

    def dump_globals(self, service: str, directory: Path, file: str) -> None:
        """Write the roles of the service's server, and other objects of the whole server. Passwords
        are left out unless `roles` in stack.yaml requests them."""
        ...

    def missing_roles(
        self, database: Database, script: Path, wanted: Collection[str]
    ) -> MissingRoles:
        """Return the roles of a set's `globals.sql` that are missing on the server. Those in
        `wanted`, and the roles of which these are members, are needed."""
        ...

    def create_roles(
        self, service: str, script: Path, names: Collection[str], *, whole: bool
    ) -> tuple[str, ...]:
        """Create the roles `names` that do not exist, as defined in the set's `globals.sql`.

        Existing roles are never changed, except that with `whole` they may get new members.
        Without `whole`, new roles get no server-wide rights. Return what was left out, in words.
        """
        ...


@runtime_checkable
class Rows(Protocol):
    """The capability `rows`: rows restored into a schema that stays. Dumps have the kind `data`."""

    def copy_schema(self, database: Database, name: str) -> None:
        """Copy the live database's schema into the empty database `name`, without rows."""
        ...

    def drift(
        self, database: Database, name: str, record: RowsRecord, directory: Path, file: str
    ) -> Drift:
        """Return how database `name` differs from the one that `directory/file` was dumped from."""
        ...

    def replace_rows(
        self,
        database: Database,
        name: str,
        record: RowsRecord,
        directory: Path,
        file: str,
        check: Callable[[DatabaseContents], None],
        *,
        not_valid: bool = False,
        skip_broken: bool = False,
    ) -> LoadedRows:
        """Replace the rows of the tables in `directory/file` with those in the file.

        In one transaction: if `name` is the live database, other sessions see either the old or the
        new rows. Alembic's version table is not changed. `check` is called with the new contents,
        and an exception from it rolls everything back. Return all differences from the backup.
        Foreign keys that rows violated when the set was made stay as they are in the schema; checks
        that rows violated then are restored for new rows only. Other violated constraints need
        `not_valid`; materialized views that cannot be refreshed need `skip_broken`.
        """
        ...


@runtime_checkable
class Scripts(Protocol):
    """The capability `scripts`: plain SQL files, also those that others wrote."""

    def script(self, database: Database, kind: SetKind, progress: Progress) -> Path:
        """Write the held content as a complete plain SQL script into the run's scratch folder, and
        return its path."""
        ...

    def write_out(self, database: Database, archive: Path) -> Path:
        """Write a dump of this engine as a plain SQL script into the run's scratch folder."""
        ...

    def missing_for_script(self, database: Database, script: Path, name: str) -> tuple[str, ...]:
        """Return what is missing on the server for this script: roles, extensions. Reads all of
        it. Raise RequestError with the line for anything damaged or not permitted. `name` is for
        messages."""
        ...

    def load_script(self, database: Database, name: str, script: Path) -> tuple[int, int]:
        """Load a plain SQL script into the empty database `name` in one transaction, as a role
        without rights; return how many tables and rows were loaded. The role owns what it created
        until `finish`."""
        ...

    def login_for(self, database: Database, name: str) -> Database:
        """Return the database with the login that may run code in database `name`: between
        `load_script` and `finish` the login of the role without rights, otherwise the database's
        own."""
        ...


@runtime_checkable
class Tied(Protocol):
    """The capability `ties`: finds objects that an exchange would lose, or that prevent it."""

    def ties(self, database: Database) -> Ties:
        """Return the replication objects of the live database, such as slots, and transactions that
        were prepared and never ended. Changes nothing."""
        ...
