"""The port of databases for real MariaDB servers: query, dump, load and exchange databases.

Sessions use PyMySQL, through `runtime.endpoint`; `mariadb-dump` is the server's own, run beside it
through `runtime.run_tool`. The parts: `session` connects, `instant` holds databases at one moment,
`catalog` reads them, `digest` compares their rows, `client` runs the client, `dump` completes one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from quiesce.adapters.files import write_synced
from quiesce.adapters.lock_watch import LockWatch
from quiesce.adapters.mariadb import catalog, create, exchange, probe
from quiesce.adapters.mariadb.activity import external_sessions, watch_locks
from quiesce.adapters.mariadb.digest import ALGORITHM, digest_tables
from quiesce.adapters.mariadb.dump import complete
from quiesce.adapters.mariadb.errors import SessionError
from quiesce.adapters.mariadb.instant import Held, take_instant
from quiesce.adapters.mariadb.load import check_script, load_script, read_dump, refuse_contents
from quiesce.adapters.mariadb.made import existing, remove_mark
from quiesce.adapters.mariadb.objects import read_objects
from quiesce.adapters.mariadb.rehearsal import problems_of
from quiesce.adapters.mariadb.rights import missing_for_restore, read_rights
from quiesce.adapters.mariadb.servers import Servers
from quiesce.adapters.mariadb.session import Session, identifier
from quiesce.adapters.mariadb.shell import shell
from quiesce.adapters.mariadb.users import (
    create_users,
    existing_users,
    needed_users,
    read_users,
    write_users,
)
from quiesce.adapters.servers import one_per_server, require_suffix, require_undeclared, server_of
from quiesce.errors import CannotDrop, QuiesceError
from quiesce.model import Database, DatabaseRecord, DatabaseSwap, SetKind
from quiesce.observed import Activity, ExternalSession, MissingRight, MissingRoles, WrittenBetween
from quiesce.obstacles import Obstacle
from quiesce.ports import DatabaseContents, DumpReading, Progress, Runtime, Shell


class MariaDbAdmin(Servers):
    """The servers of these databases. `run` is the id of the current run.

    Several databases may be dumped at once by several threads, each database by one thread. When a
    dump blocks another session for longer than `lock_patience` seconds (None: no limit), it is
    ended and raises `BlockedAnotherSession`. `scratch` is a folder of the run, created when needed
    and removed by the caller. It needs room for the scripts of all databases that are held, not
    compressed.
    """

    def __init__(
        self,
        runtime: Runtime,
        databases: Sequence[Database],
        run: str,
        lock_patience: float | None = None,
        scratch: Path = Path("/nowhere"),
    ) -> None:
        super().__init__(runtime, databases, run, scratch)
        self._patience = lock_patience
        self._held: dict[str, Held] = {}
        self._watches: dict[str, LockWatch[Session]] = {}
        #: Databases that this run will hold, by key; see `rehearse`.
        self._announced: dict[str, Database] = {}
        #: By server: the first instant that was held.
        self._first: dict[tuple[str, int], float] = {}
        self._written: dict[str, WrittenBetween] = {}

    # ------------------------------------------------------------------------------- asking

    def contents(self, database: Database, name: str, algorithm: str) -> DatabaseContents:
        if algorithm != ALGORITHM:
            raise QuiesceError(
                f"digests of kind {algorithm} are not known", "use a newer version of Quiesce"
            )
        with self._open(database, name) as session:
            session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            shape = catalog.read_shape(session, name)
            return DatabaseContents(
                digest_tables(session, name, shape),
                catalog.read_sequences(session, name, shape),
                (),
                read_objects(session, name),
            )

    def missing_rights(self, database: Database) -> tuple[MissingRight, ...]:
        with self._open(database, database.name) as session:
            return missing_for_restore(read_rights(session), database.name)

    def mark(self, database: Database, word: str) -> None:
        with self._open(database, database.name) as session:
            probe.mark(session, word)

    def marks(self, database: Database) -> tuple[str, ...]:
        with self._open(database, database.name) as session:
            return probe.marks(session)

    def unmark(self, database: Database) -> None:
        with self._open(database, database.name) as session:
            probe.unmark(session)

    def ask(self, database: Database, query: str) -> object:
        with self._open(database, database.name) as session:
            return probe.first_value(session, query)

    def shell(self, database: Database, argv: Sequence[str], run: str) -> Shell:
        return shell(database, argv, run)

    # ------------------------------------------------------------------------------ dumping

    def obstacles(self, database: Database) -> tuple[Obstacle, ...]:
        del database  # none that catalogs alone would show
        return ()

    def rehearse(self, databases: Sequence[Database]) -> tuple[str, ...]:
        """See the port. Those of one server are then held together by the first `hold`."""
        self._announced = {database.key: database for database in databases}
        return problems_of([(d, partial(self._open, d, d.name)) for d in databases])

    def hold(self, database: Database, kind: SetKind = "full") -> None:
        if database.key in self._held:
            if self._held[database.key].database.name == database.name:
                return
            self.release(database)  # it was another copy
        # A copy of another name was not announced: it is held alone.
        announced = self._announced if self._is_live(database) else {}
        together = {
            key: (other, kind)
            for key, other in {**announced, database.key: database}.items()
            if server_of(other) == server_of(database) and key not in self._held
        }
        held = take_instant(self._runtime, self._open, together, self._scratch, self._run)
        self._held |= held
        for key, one in held.items():
            if self._is_live(one.database):
                self._first.setdefault(server_of(one.database), one.instant)
            if self._patience is not None:
                self._watches[key] = watch_locks(
                    self._open(one.database, one.database.name),
                    key,
                    one.database.name,
                    self._patience,
                    one.cancel,
                )

    def activity(self, databases: Sequence[Database]) -> Activity:
        found: list[ExternalSession] = []
        for one in one_per_server(databases):
            names = [d.name for d in databases if server_of(d) == server_of(one)]
            own = {number for held in self._held.values() for number in held.own}
            since = time.monotonic() - self._first.get(server_of(one), time.monotonic())
            with self._open(one) as session:
                found += external_sessions(session, names, self._run, since, own)
        moved = tuple(d.key for d in databases if self._is_later(d))
        return Activity(tuple(found), moved, maintenance=False)

    def written_between(self, database: Database) -> WrittenBetween:
        return self._written.get(database.key, WrittenBetween())

    def release(self, database: Database) -> None:
        if watch := self._watches.pop(database.key, None):
            watch.stop()
        if held := self._held.pop(database.key, None):
            held.end()

    def dump(
        self, database: Database, kind: SetKind, directory: Path, file: str, progress: Progress
    ) -> DatabaseRecord:
        own = database.key not in self._held
        self.hold(database, kind)
        held, watch = self._held[database.key], self._watches.get(database.key)
        if self._is_later(database):
            # What was written between the two instants is not known.
            tables = tuple(table.name for table in held.shape.measured)
            self._written[database.key] = WrittenBetween(1, unread=tables)
        if held.kind != kind:
            raise QuiesceError(f"database {database.key} is held for a dump of {held.kind}")
        try:
            return complete(held, lambda: self._open(database), directory, file, progress)
        except QuiesceError as problem:
            if watch is not None and watch.problem is not None:
                raise watch.problem from problem
            raise
        finally:
            if own:
                self.release(database)

    def read_dump(
        self, record: DatabaseRecord, directory: Path, file: str, *, running: bool
    ) -> DumpReading:
        del record, running  # no server is needed
        return read_dump(directory / file)

    # -------------------------------------------------------------------------------- users

    def dump_globals(self, service: str, directory: Path, file: str) -> None:
        with_passwords = any(d.role_passwords for d in self._databases if d.service == service)
        with self._open(self._of(service)) as session:
            text = write_users(session, with_passwords=with_passwords)
        path = directory / file
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_synced(path, text.encode())

    def missing_roles(
        self, database: Database, script: Path, wanted: Collection[str]
    ) -> MissingRoles:
        accounts = read_users(script.read_text())
        with self._open(database) as session:
            there = existing_users(session)
            rights = read_rights(session)
            fresh = catalog.is_new(session)
        return MissingRoles(
            every=tuple(name for name in accounts if name not in there),
            needed=tuple(sorted(needed_users(accounts, database.name, wanted) - there)),
            fresh=fresh,
            allowed=not rights.lacks(["CREATE USER"], ""),
        )

    def create_roles(
        self, service: str, script: Path, names: Collection[str], *, whole: bool
    ) -> tuple[str, ...]:
        accounts = read_users(script.read_text())
        with self._open(self._of(service)) as session:
            return create_users(session, accounts, names, whole=whole)

    # --------------------------------------------------------------------------- restoring

    def check_loadable(
        self, database: Database, record: DatabaseRecord, made: Collection[str] = ()
    ) -> tuple[str, ...]:
        with self._open(database) as session:
            return create.problems(session, database.name, record, made)

    def create(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        with self._open(database) as session:
            create.create(session, database, name, record, self._run)

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
        """See the port. The whole script is read before its first statement is run."""
        del not_valid, skip_broken  # capabilities that MariaDB does not have
        check_script(directory / file)
        with self._open(database, name) as session:
            refuse_contents(session, name)
            load_script(session, name, directory / file, record)
        return ()

    def finish(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        del record
        with self._open(database, name) as session:
            for table in catalog.read_shape(session, name).measured:
                session.run(f"ANALYZE NO_WRITE_TO_BINLOG TABLE {identifier(table.name)}")

    def block_connections(self, service: str, names: Sequence[str]) -> None:
        """End all sessions in these databases. MariaDB cannot refuse new ones."""
        with self._open(self._of(service)) as session:
            for number, name in session.rows(
                "SELECT id, db FROM information_schema.processlist WHERE id <> connection_id()"
            ):
                if name in names:
                    with contextlib.suppress(SessionError):  # it may have ended by itself
                        session.run(f"KILL {int(number)}")

    def allow_connections(self, service: str, names: Sequence[str]) -> None:
        """Nothing to do: they were never refused."""

    def swap(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        with self._open(self._of(service)) as session:
            exchange.swap(session, swaps, self._run)

    def put_back(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        with self._open(self._of(service)) as session:
            exchange.put_back(session, swaps, self._run)

    def unmark_made(self, database: Database, name: str) -> None:
        with self._open(database) as session:
            if existing(session, [name]):
                remove_mark(session, name)

    def drop(self, database: Database, name: str, suffix: str) -> None:
        require_undeclared(database, name, self._databases)
        require_suffix(name, suffix)
        with self._open(database) as session:
            if not existing(session, [name]):
                return
            try:
                session.run(f"DROP DATABASE {identifier(name)}")
            except SessionError as problem:
                raise CannotDrop(
                    f"database {name} cannot be dropped: {problem.fact}",
                    "it is no longer needed; remove what blocks the drop",
                ) from problem

    def close(self) -> None:
        for watch in self._watches.values():
            watch.stop()
        for held in self._held.values():
            held.end()
        self._watches.clear()
        self._held.clear()

    def _is_later(self, database: Database) -> bool:
        """Whether a database is held at a later instant than the first one of its server."""
        held = self._held.get(database.key)
        if held is None or not self._is_live(held.database):
            return False  # nobody writes into a copy
        return held.instant != self._first.get(server_of(database))

    def _is_live(self, database: Database) -> bool:
        return any((d.key, d.name) == (database.key, database.name) for d in self._databases)
