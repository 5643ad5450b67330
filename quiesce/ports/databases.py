"""What Quiesce needs from database servers and migrations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quiesce.model import (
    Database,
    DatabaseRecord,
    DatabaseSwap,
    RowsRecord,
    SequenceRecord,
    SetKind,
    TableRecord,
)
from quiesce.observed import (
    Activity,
    DatabaseState,
    Meanwhile,
    MissingRight,
    MissingRoles,
    Ties,
)
from quiesce.obstacles import Obstacle
from quiesce.ports.runtime import Progress


@dataclass(frozen=True, slots=True)
class DatabaseContents:
    """What a database contains, for comparing with a `DatabaseRecord`."""

    tables: tuple[TableRecord, ...]
    sequences: tuple[SequenceRecord, ...]
    revision: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """How a database differs from the one that rows were dumped from.

    `problems` prevent them from being loaded. `lossy` are changes of types that could change
    values silently, in the tables `changed`. `left` are tables that contain rows and are not in
    the dump: they would keep their rows. `code` are tables that would call functions from a
    restored file while rows are loaded, with the rights of a superuser.
    """

    problems: tuple[str, ...] = ()
    lossy: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    left: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handover:
    """The owner of what a script created. `members` can use it as the owner does. `invokers` are
    functions that were changed from SECURITY DEFINER to SECURITY INVOKER."""

    owner: str
    members: tuple[str, ...]
    invokers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """How many tables and rows were loaded, and what was restored differently, in words."""

    tables: int
    rows: int
    eased: tuple[str, ...] = ()


class DatabaseAdmin(Protocol):
    """PostgreSQL: queries, dumps, loads and exchanges. Session names contain the run's id."""

    def observe(self, databases: Sequence[Database]) -> tuple[DatabaseState, ...]:
        """Return each database's state. A server that cannot be reached is `reachable=False`
        with a `problem`, never an exception."""
        ...

    def await_answer(self, database: Database, seconds: float, still_up: Callable[[], None]) -> str:
        """Wait until the server of this database answers a query, and return "".

        The server is reached as clients reach it, so the temporary server of an image's first
        start, which listens on its socket only, does not count. Return why if the server refuses
        the declared user: it answers, but cannot be asked. `still_up` is called between attempts
        and may raise. Raise QuiesceError if it does not answer within so many seconds.
        """
        ...

    def undeclared(self, databases: Sequence[Database]) -> tuple[str, ...]:
        """Return the databases on these servers that are neither declared nor PostgreSQL's own."""
        ...

    def obstacles(self, database: Database) -> tuple[Obstacle, ...]:
        """Return what in the live database's catalogs would make a restore of its dump fail.
        Reads no rows."""
        ...

    def preparing(self, databases: Sequence[Database]) -> tuple[str, ...]:
        """Try briefly to export snapshots of all these databases at once, and return why that is
        not possible: lock table size, connections, rights. Empty if it is. Locks of other
        sessions do not count, because a backup may stop the services that hold them."""
        ...

    def export_snapshot(self, database: Database) -> None:
        """Lock every table in ACCESS SHARE mode, then export a snapshot, and keep the session."""
        ...

    def activity(self, databases: Sequence[Database]) -> Activity:
        """Return the other sessions in these databases, and the databases whose snapshot contains
        transactions that the first snapshot of the server does not. Changes nothing."""
        ...

    def meanwhile(self, database: Database) -> Meanwhile:
        """Return what was written into a database by transactions that its snapshot contains and
        the first snapshot of the server does not. Call it after the dump."""
        ...

    def release(self, database: Database) -> None:
        """End the session that exports a snapshot of this database, if there is one."""
        ...

    def dump(
        self, database: Database, kind: SetKind, directory: Path, file: str, progress: Progress
    ) -> DatabaseRecord:
        """Dump the exported snapshot to `directory/file` and return a record of its contents.

        Without an exported snapshot it takes one. All kinds are custom-format archives. The file
        is complete and synced, or an error is raised.
        """
        ...

    def script(self, database: Database, kind: SetKind, progress: Progress) -> Path:
        """Write the exported snapshot as a complete plain SQL script into the run's scratch
        folder, and return its path."""
        ...

    def dump_globals(self, service: str, directory: Path, file: str) -> None:
        """Write the roles and tablespaces of the service's server, without passwords."""
        ...

    def check_loadable(
        self, database: Database, record: DatabaseRecord, made: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Return everything that would prevent the record's dump from loading: version,
        extensions, roles (except `made`, which will exist by then), locale, rights of the user.
        Changes nothing."""
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

    def ties(self, database: Database) -> Ties:
        """Return the subscriptions, logical slots and prepared transactions of the live database,
        which would stay with the previous copy in an exchange. Changes nothing."""
        ...

    def missing_rights(self, database: Database) -> tuple[MissingRight, ...]:
        """Return which rights the database's user lacks for a restore. Changes nothing."""
        ...

    def create(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        """Create an empty database `name` from template0, like the record or the live one."""
        ...

    def load(
        self,
        database: Database,
        name: str,
        directory: Path,
        file: str,
        record: DatabaseRecord | None = None,
        *,
        not_valid: bool = False,
        skip_broken: bool = False,
    ) -> tuple[str, ...]:
        """Load `directory/file` into the empty database `name`; return what was restored
        differently.

        Raise NotRestorable, listing everything, if entries of the dump cannot be restored. With
        `not_valid`, violated constraints are restored as NOT VALID; with `skip_broken`, other
        entries are left out, but never rows. Any other error is raised as well. `record` is the
        set's record of the database.
        """
        ...

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

        In one transaction: if `name` is the live database, other sessions see either the old or
        the new rows. Alembic's version table is not changed. `check` is called with the new
        contents, and an exception from it rolls everything back. Return what differs from the
        backup or from what one would expect. Foreign keys that rows violated when the set was
        made stay as they are in the schema; such checks become NOT VALID. Other violated
        constraints need `not_valid`; materialized views that cannot be refreshed need
        `skip_broken`.
        """
        ...

    def contents(self, database: Database, name: str, algorithm: str) -> DatabaseContents:
        """Rows and digests of database `name`, by the algorithm named in a record."""
        ...

    def write_out(self, database: Database, archive: Path) -> Path:
        """Write a custom-format archive as a plain SQL script into the run's scratch folder."""
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

    def working_as(self, database: Database, name: str) -> Database:
        """Return the database with the login to use for code in database `name`: between
        `load_script` and `finish` that of the role without rights, otherwise its own."""
        ...

    def mark(self, database: Database, word: str) -> None:
        """Write a row with this word into a table of Quiesce in the live database."""
        ...

    def marks(self, database: Database) -> tuple[str, ...]:
        """Return the words in that table; none if it does not exist."""
        ...

    def unmark(self, database: Database) -> None:
        """Drop that table."""
        ...

    def ask(self, database: Database, query: str) -> object:
        """Return the first value of a query that runs read-only; None for no row."""
        ...

    def finish(
        self, database: Database, name: str, record: DatabaseRecord | None
    ) -> Handover | None:
        """Run ANALYZE, and apply owner, settings and grants of the database object.

        What a script created gets an owner that is not a superuser, which is returned."""
        ...

    def block_connections(self, service: str, names: Sequence[str]) -> None:
        """Terminate all sessions in these databases and block new connections."""
        ...

    def swap(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        """Rename all databases in one transaction, and allow connections to the live ones."""
        ...

    def put_back(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        """Undo `swap`, however far it got, and allow connections to the live databases."""
        ...

    def unmark_made(self, database: Database, name: str) -> None:
        """Remove the marker of a run from database `name`, if that database exists."""
        ...

    def drop(self, database: Database, name: str, suffix: str) -> None:
        """Drop database `name`. Refuses a name that, read back from the server, lacks `suffix`.

        Its subscriptions and logical slots are dropped too. Raise CannotDrop if the server
        refuses.
        """
        ...

    def size(self, database: Database, name: str) -> int | None:
        """Return the bytes of database `name` on the server of `database`, None if absent."""
        ...

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        """End sessions that a dead run left on the servers. Return what was ended."""
        ...

    def close(self) -> None: ...


class Migrator(Protocol):
    """Alembic, one history per database."""

    def heads(self, database: Database) -> tuple[str, ...]:
        """The newest revisions of the database's history; several only with branches."""
        ...

    def known(self, database: Database, revision: str) -> bool:
        """Whether the history contains this revision."""
        ...

    def pending(self, database: Database, current: Sequence[str]) -> tuple[str, ...]:
        """Revisions between `current` and the heads, oldest first."""
        ...

    def upgrade(
        self, database: Database, name: str, revision: str, login: Database | None = None
    ) -> None:
        """Migrate database `name` up to `revision` (`head` and `heads` allowed), logged in as
        `login`, which is the database's own user unless it is given."""
        ...
