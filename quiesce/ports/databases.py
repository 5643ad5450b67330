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
    """What a database holds, for comparing with a `DatabaseRecord`."""

    tables: tuple[TableRecord, ...]
    sequences: tuple[SequenceRecord, ...]
    revision: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """How a database differs from the one that rows were dumped from.

    `problems` keep them from being loaded; `lossy` are changes of types that may change values
    without a word, in the tables `changed`. `left` are tables that hold rows and that the dump
    does not have: they would stay as they are. `code` are tables that would call functions from a
    restored file while rows are loaded, with the rights of a superuser.
    """

    problems: tuple[str, ...] = ()
    lossy: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    left: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handover:
    """Who owns what a script made. `members` may use it as the owner does; `invokers` are the
    functions that ran with their owner's rights and now run with their caller's."""

    owner: str
    members: tuple[str, ...]
    invokers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """How many tables and rows were put into a database, and what is not as it was, in words."""

    tables: int
    rows: int
    eased: tuple[str, ...] = ()


class DatabaseAdmin(Protocol):
    """PostgreSQL: asking, dumping, loading, swapping. Sessions carry the run's name."""

    def observe(self, databases: Sequence[Database]) -> tuple[DatabaseState, ...]:
        """Each database's state. A server that cannot be asked is `reachable=False` with a
        `problem`, never an exception."""
        ...

    def undeclared(self, databases: Sequence[Database]) -> tuple[str, ...]:
        """Databases on these servers that are neither declared nor PostgreSQL's own."""
        ...

    def obstacles(self, database: Database) -> tuple[Obstacle, ...]:
        """What in the live database's catalogs would stand in the way of restoring a dump of it.
        Reads no rows."""
        ...

    def preparing(self, databases: Sequence[Database]) -> tuple[str, ...]:
        """Everything that would keep these databases from being held all at once, in words: room
        for their locks, sessions, rights. They are held for a moment to see; what a session of
        somebody locks just now does not count, for it may be one that is stopped. Empty when
        nothing would."""
        ...

    def export_snapshot(self, database: Database) -> None:
        """Lock every table in ACCESS SHARE mode, then export a snapshot, and keep the session."""
        ...

    def activity(self, databases: Sequence[Database]) -> Activity:
        """Who else is connected to these held databases, and whose snapshot shows transactions
        that the first one of its server does not. Changes nothing."""
        ...

    def meanwhile(self, database: Database) -> Meanwhile:
        """What those transactions wrote into a database, known once it was dumped."""
        ...

    def release(self, database: Database) -> None:
        """End the session that holds a snapshot of this database, if there is one."""
        ...

    def dump(
        self, database: Database, kind: SetKind, directory: Path, file: str, progress: Progress
    ) -> DatabaseRecord:
        """Write the held snapshot to `directory/file` and return what it holds.

        Takes a snapshot of its own when none is held. `full` and `data` are custom-format
        archives, `schema` too. The file is complete and synced, or an error is raised.
        """
        ...

    def script(self, database: Database, kind: SetKind, progress: Progress) -> Path:
        """Write the held snapshot as a plain SQL script, complete to its last line, into the
        run's scratch folder, and return where it is."""
        ...

    def dump_globals(self, service: str, directory: Path, file: str) -> None:
        """Write the roles and tablespaces of the service's server, without passwords."""
        ...

    def check_loadable(
        self, database: Database, record: DatabaseRecord, made: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Everything that would keep the record's dump from loading: version, extensions, roles
        (those in `made` are there by then), locale, rights of the user. Empty when nothing would.
        Changes nothing."""
        ...

    def missing_roles(
        self, database: Database, script: Path, wanted: Collection[str]
    ) -> MissingRoles:
        """Which roles of a set's `globals.sql` the server lacks. Those of `wanted`, and what they
        are members of, are needed."""
        ...

    def create_roles(
        self, service: str, script: Path, names: Collection[str], *, whole: bool
    ) -> tuple[str, ...]:
        """The roles `names` exist, made as the set's `globals.sql` has them where they did not.

        Roles that exist are never changed, unless by new members when `whole`; without it, new
        ones get no rights over the whole server. Return what was left out, in words.
        """
        ...

    def ties(self, database: Database) -> Ties:
        """What binds the live database to others. Changes nothing."""
        ...

    def missing_rights(self, database: Database) -> tuple[MissingRight, ...]:
        """What the database's user may not do that bringing it back needs. Changes nothing."""
        ...

    def create(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        """An empty database `name` from template0, like the record or else like the live one."""
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
        """Load `directory/file` into the empty database `name`; return what is not as it was.

        Raise NotRestorable, naming everything, where something in the dump cannot come back. With
        `not_valid` constraints that rows break come back NOT VALID, with `skip_broken` other
        entries are left out; rows never are. Any other error is raised as well. `record` is what
        the set knows of the database.
        """
        ...

    def copy_schema(self, database: Database, name: str) -> None:
        """The empty database `name` has the live one's schema, and no rows."""
        ...

    def drift(
        self, database: Database, name: str, record: DatabaseRecord, directory: Path, file: str
    ) -> Drift:
        """How database `name` differs from what the rows in `directory/file` were dumped from."""
        ...

    def replace_rows(
        self,
        database: Database,
        name: str,
        record: DatabaseRecord,
        directory: Path,
        file: str,
        check: Callable[[DatabaseContents], None],
        *,
        not_valid: bool = False,
        skip_broken: bool = False,
    ) -> LoadedRows:
        """The rows of `directory/file` are all that the tables they belong to hold.

        One transaction: with `name` the live database, others see the old rows or the new ones.
        Alembic's version table stays as it is. `check` is called with what is there then, and
        what it raises undoes everything. Return what is not as it was, or as one would expect:
        foreign keys that rows broke when the set was made stay as the schema has them, checks
        come back NOT VALID. Others need `not_valid`; materialized views that cannot be refreshed
        need `skip_broken`.
        """
        ...

    def contents(self, database: Database, name: str, algorithm: str) -> DatabaseContents:
        """Rows and digests of database `name`, by the algorithm named in a record."""
        ...

    def write_out(self, database: Database, archive: Path) -> Path:
        """Write a custom-format archive as a plain SQL script into the run's scratch folder."""
        ...

    def missing_for_script(self, database: Database, script: Path, name: str) -> tuple[str, ...]:
        """What the server lacks for this script: roles, extensions. Reads it to its end; raise
        RequestError with the line for what is damaged or not loaded. `name` is for messages."""
        ...

    def load_script(self, database: Database, name: str, script: Path) -> tuple[int, int]:
        """Load a plain SQL script into the empty database `name` as a role that can do no harm,
        all of it or nothing; return how many tables and rows there are then. What it made belongs
        to that role until `finish`."""
        ...

    def working_as(self, database: Database, name: str) -> Database:
        """The database with the login that may run code in database `name`: after `load_script`
        and until `finish` that of the role without rights, otherwise its own."""
        ...

    def mark(self, database: Database, word: str) -> None:
        """A row with this word is in a table of ours in the live database."""
        ...

    def marks(self, database: Database) -> tuple[str, ...]:
        """The words in that table; none without it."""
        ...

    def unmark(self, database: Database) -> None:
        """No such table."""
        ...

    def ask(self, database: Database, query: str) -> object:
        """The first value of a query that may change nothing; None for no row."""
        ...

    def finish(
        self, database: Database, name: str, record: DatabaseRecord | None
    ) -> Handover | None:
        """Statistics gathered, and owner, settings and grants of the database object applied.

        What a script made goes to an owner who is no superuser, which is returned."""
        ...

    def block_connections(self, service: str, names: Sequence[str]) -> None:
        """No one is connected to these databases and no one can be."""
        ...

    def swap(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        """All renames in one transaction; what is live afterwards takes connections."""
        ...

    def put_back(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        """What was live before `swap` is live and takes connections, however far it had got."""
        ...

    def unmark_made(self, database: Database, name: str) -> None:
        """Database `name` carries no mark of a run any more. Without such a database: nothing."""
        ...

    def drop(self, database: Database, name: str, suffix: str) -> None:
        """No database `name`. Refuses a name that, read back from the server, lacks `suffix`.

        Subscriptions and logical slots go with it. Raise CannotDrop when the server refuses.
        """
        ...

    def size(self, database: Database, name: str) -> int | None:
        """Bytes of database `name` on the server of `database`; None where there is none."""
        ...

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        """End sessions that dead run left in the servers. Return what was ended."""
        ...

    def close(self) -> None: ...


class Migrator(Protocol):
    """Alembic, one history per database."""

    def heads(self, database: Database) -> tuple[str, ...]:
        """The newest revisions of the database's history; several only with branches."""
        ...

    def known(self, database: Database, revision: str) -> bool:
        """Whether the history has this revision."""
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
