"""What Quiesce needs from database servers of every engine, and from migrations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from quiesce.errors import QuiesceError
from quiesce.model import (
    Database,
    DatabaseRecord,
    DatabaseSwap,
    SetKind,
)
from quiesce.observed import (
    Activity,
    DatabaseState,
    MissingRight,
    WrittenBetween,
)
from quiesce.obstacles import Obstacle
from quiesce.ports.capabilities import DatabaseContents, Globals, Rows, Scripts, Tied
from quiesce.ports.runtime import Progress


@dataclass(frozen=True, slots=True)
class Handover:
    """The owner of the objects that a script created. `members` have the owner's rights. `invokers`
    are functions that were changed from SECURITY DEFINER to SECURITY INVOKER."""

    owner: str
    members: tuple[str, ...]
    invokers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DumpReading:
    """The result of reading a dump to its end: `wrong` is its defect, `unread` the reason why it
    could not be read; both are "" for a good dump."""

    wrong: str = ""
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Shell:
    """The command line of a server's own client, to run beside its service. `typed`: it is
    interactive, so it gets a terminal."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    typed: bool


class BlockedAnotherSession(QuiesceError):
    """Locks of a driver blocked another session for too long, and were released."""


class DatabaseDriver(Protocol):
    """The methods that every engine has: queries, dumps, loads and exchanges.

    A driver is an adapter for the servers of one engine. It is given databases of that engine only.
    The protocols for the capabilities of `model/engines.py`, which only some engines have, are in
    `capabilities.py`. Several databases may be dumped at once by several threads, each database by
    one thread. A driver finds and ends the sessions that a dead run left on the servers, so their
    names contain the run's id.
    """

    def observe(self, databases: Sequence[Database]) -> tuple[DatabaseState, ...]:
        """Return each database's state, in this order. A server that cannot be reached is
        `reachable=False` with a `problem`, never an exception."""
        ...

    def await_answer(self, database: Database, seconds: float, still_up: Callable[[], None]) -> str:
        """Wait until the server of this database answers a query, and return "".

        The server is reached as clients reach it, so the temporary server of an image's first
        start, which listens on its socket only, does not count. If the server refuses the declared
        user, return the reason: it answers, but cannot be queried. `still_up` is called between
        attempts and may raise. Raise QuiesceError if it does not answer within `seconds`.
        """
        ...

    def undeclared(self, databases: Sequence[Database]) -> tuple[str, ...]:
        """Return the databases on these servers that are neither declared nor the server's own."""
        ...

    def obstacles(self, database: Database) -> tuple[Obstacle, ...]:
        """Return the obstacles in the live database's catalogs that would make a restore of its
        dump fail. Reads no rows."""
        ...

    def rehearse(self, databases: Sequence[Database]) -> tuple[str, ...]:
        """Hold all these databases at once for a moment, and return the problems: limits,
        connections, rights. Afterwards, the `hold` of one of them may also hold the others of its
        server, so that all show one moment. Locks of other sessions do not count, because a backup
        may stop the services that hold them."""
        ...

    def hold(self, database: Database, kind: SetKind = "full") -> None:
        """Hold the current committed content of this database for its next dump or script, until
        `release`. Later writes of other sessions are not in the dump (for an engine without
        `snapshots`, no other session may write). Returns only when it is certain that the dump will
        show this content: the server has exported the snapshot, or the dump of `kind` has begun and
        provably uses it. Has no effect on a database that is held. Blocks no readers and, once it
        has returned, no writers of rows. Schema changes that would be missing from the dump are
        prevented or detected: the dump fails and names the tables. If the hold blocks another
        session for longer than `lock_patience` of stack.yaml, it is released, and the dump raises
        `BlockedAnotherSession`.
        """
        ...

    def activity(self, databases: Sequence[Database]) -> Activity:
        """Return the other sessions in these databases, and the databases whose held content
        includes transactions that the content held first on the server does not include. Changes
        nothing."""
        ...

    def written_between(self, database: Database) -> WrittenBetween:
        """Return the writes to a database by transactions that its snapshot contains and the first
        snapshot of the server does not. Call it after the dump."""
        ...

    def release(self, database: Database) -> None:
        """End the hold of this database, if there is one."""
        ...

    def dump(
        self, database: Database, kind: SetKind, directory: Path, file: str, progress: Progress
    ) -> DatabaseRecord:
        """Dump the held content to `directory/file` and return a record of it. The record is of the
        same instant as the dump. If the database is not held, it is held and released for the dump.
        The file is complete and synced, or an error is raised. The format is the engine's own;
        `load` reads it.
        """
        ...

    def read_dump(
        self, record: DatabaseRecord, directory: Path, file: str, *, running: bool
    ) -> DumpReading:
        """Read `directory/file`, a dump with this record, to its end. `running`: the record's
        service runs, so its client may be used. Changes nothing. Raise QuiesceError if the dump
        could not be checked for a reason that has nothing to do with it."""
        ...

    def check_loadable(
        self, database: Database, record: DatabaseRecord, made: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Return everything that would prevent the record's dump from loading: version,
        extensions, roles (except `made`, which will exist by then), locale, rights of the user.
        Changes nothing."""
        ...

    def missing_rights(self, database: Database) -> tuple[MissingRight, ...]:
        """Return which rights the database's user lacks for a restore. Changes nothing."""
        ...

    def create(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        """Create an empty database `name` on the server of `database`, like the record or the
        live one. It is marked as made by this run. If this run created it before, it is created
        again; any other existing database, and the live one, is refused."""
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
        `not_valid` (a capability), violated constraints are restored for new rows only; with
        `skip_broken` (another capability), other entries are left out, but never rows. Other errors
        are raised as they are. `record` is the set's record of the database.
        """
        ...

    def contents(self, database: Database, name: str, algorithm: str) -> DatabaseContents:
        """Rows and digests of database `name`, by the algorithm named in a record. Raise
        QuiesceError for an unknown one."""
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

    def shell(self, database: Database, argv: Sequence[str], run: str) -> Shell:
        """Return the command of an interactive client that is connected to the live database.
        `argv` are further arguments; none of the arguments contains a password.
        `remove_orphans(run)` ends its session. Contacts nothing."""
        ...

    def finish(
        self, database: Database, name: str, record: DatabaseRecord | None
    ) -> Handover | None:
        """Renew the statistics of database `name`, and apply owner, settings and grants of the
        database object. If a script was loaded, its objects get an owner that is not a superuser,
        and this owner is returned."""
        ...

    def block_connections(self, service: str, names: Sequence[str]) -> None:
        """Terminate all sessions in these databases and block new ones."""
        ...

    def allow_connections(self, service: str, names: Sequence[str]) -> None:
        """Let sessions connect to these databases again, those that exist."""
        ...

    def swap(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        """Exchange all databases at once, and allow connections to the live ones.

        Either all of it happens or an error is raised, and then `put_back` restores the state
        before. A repeated call has no effect. If a staging database is missing, nothing changes.
        """
        ...

    def put_back(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        """Undo `swap`, however far it got, and allow connections to the live databases."""
        ...

    def unmark_made(self, database: Database, name: str) -> None:
        """Remove the marker of a run from database `name`, if that database exists."""
        ...

    def drop(self, database: Database, name: str, suffix: str) -> None:
        """Drop database `name`. Refuses a declared database, and one whose name, read back from the
        server, does not end with `suffix`. Its replication objects are dropped too. Raise
        CannotDrop if the server refuses.
        """
        ...

    def size(self, database: Database, name: str) -> int | None:
        """Return the bytes of database `name` on the server of `database`, None if absent."""
        ...

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        """End sessions that a dead run left on the servers. Return what was ended."""
        ...

    def close(self) -> None: ...


class DatabaseAdmin(DatabaseDriver, Globals, Rows, Scripts, Tied, Protocol):
    """The databases of a stack, of all engines.

    Each call goes to the driver of the database's engine. If an engine lacks a capability, its
    methods raise a RequestError that names the engine; only `ties` and `missing_roles` return an
    empty result instead. A sequence of databases may mix engines, but all databases of one service
    have the same engine.
    """


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
