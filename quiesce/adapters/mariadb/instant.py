"""The instant: what several databases of one server contain at one moment.

One session takes the global read lock. While it holds the lock, every database gets a session with
a consistent snapshot, for the digests, and a mariadb-dump that is seen to have its own. Tables
without transactions are in no snapshot, so their dump and their digests are complete before the
lock is released. Nothing can be written while the lock is held, so all of these are one instant.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quiesce.adapters.mariadb import catalog
from quiesce.adapters.mariadb.catalog import KEPT, Shape
from quiesce.adapters.mariadb.client import Dumping, dump_arguments
from quiesce.adapters.mariadb.digest import digest_table
from quiesce.adapters.mariadb.errors import LOCK_WAIT_TIMEOUT, SessionError
from quiesce.adapters.mariadb.made import COMPANION
from quiesce.adapters.mariadb.session import Session
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Database, SequenceRecord, SetKind, TableRecord
from quiesce.ports import Runtime

#: Running statements may delay the lock, and everybody else's writes with it, by so many seconds.
LOCK_PATIENCE = 30
LOOK_EVERY = 0.01

_DUMPING = """
SELECT id FROM information_schema.processlist
 WHERE db = %s AND user = substring_index(current_user(), '@', 1) AND command = 'Query'
   AND info LIKE 'SELECT /*!40001 SQL_NO_CACHE */%%'
"""
#: While the lock is held, clients are the last that connected with the user's name.
_CLIENTS = """
SELECT id FROM information_schema.processlist
 WHERE db = %s AND user = substring_index(current_user(), '@', 1) AND id > %s
"""


@dataclass
class Held:
    """A database at the instant: its session with a snapshot, and the dumps that have begun."""

    database: Database
    kind: SetKind
    session: Session
    shape: Shape
    sequences: tuple[SequenceRecord, ...]
    #: Character set and collation of the database.
    defaults: tuple[str, str]
    #: Rows and digests of tables without transactions, read while the lock was held.
    locked: tuple[TableRecord, ...]
    dumps: list[Dumping] = field(default_factory=list)
    #: Equal for databases that are held at one instant; by the clock of `time.monotonic`.
    instant: float = 0.0
    #: The numbers of the sessions in which clients may be dumping.
    clients: frozenset[int] = frozenset()

    @property
    def own(self) -> frozenset[int]:
        """The numbers of the sessions that hold it."""
        return self.clients | {self.session.id}

    def cancel(self, session: Session) -> None:
        """End its sessions through another one, so that its dump fails."""
        for number in self.own:
            with contextlib.suppress(SessionError):  # it may have ended by itself
                session.run(f"KILL {number}")

    def end(self) -> None:
        """Give up the snapshot, and end the clients."""
        while not all(dump.ended for dump in self.dumps):
            try:
                self._end_client()
            except SessionError:
                break  # the server is gone, so the clients end by themselves
            time.sleep(LOOK_EVERY)
        self.session.close()
        for dump in self.dumps:
            with contextlib.suppress(QuiesceError):
                dump.wait()
            dump.remove()

    def _end_client(self) -> None:
        """End the session of a client that dumps this database. If somebody else dumps it too, the
        two cannot be told apart: then it is waited for."""
        found = self.session.rows(_DUMPING, [self.database.name])
        if len(found) == 1:
            self.session.run(f"KILL {int(found[0][0])}")


def take_instant(
    runtime: Runtime,
    open_session: Callable[[Database, str | None], Session],
    databases: Mapping[str, tuple[Database, SetKind]],
    scratch: Path,
    run: str,
) -> dict[str, Held]:
    """Hold these databases of one server as they are at one moment, by key.

    Raise RequestError if a database has tables whose rows are kept elsewhere.
    """
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    first = next(iter(databases.values()))[0]
    held: dict[str, Held] = {}
    try:
        with open_session(first, None) as locker, read_lock(locker, first.service):
            instant = time.monotonic()
            for key, (database, kind) in databases.items():
                held[key] = _hold(open_session, database, kind)
                held[key].instant = instant
                _start_dumps(runtime, held[key], scratch, run)
            _await(locker, held)
    except BaseException:
        for one in held.values():
            one.end()
        raise
    return held


@contextlib.contextmanager
def read_lock(session: Session, service: str) -> Iterator[None]:
    """Hold the global read lock of the server."""
    session.run(f"SET SESSION lock_wait_timeout = {LOCK_PATIENCE}")
    try:
        session.run("FLUSH TABLES WITH READ LOCK")
    except SessionError as problem:
        if problem.code != LOCK_WAIT_TIMEOUT:
            raise
        raise QuiesceError(
            f"the tables of service {service} could not be locked within {LOCK_PATIENCE} s",
            "wait until the statements below have ended, then try again",
            details=_running(session),
        ) from problem
    try:
        yield
    finally:
        with contextlib.suppress(SessionError):  # a lost session holds no lock
            session.run("UNLOCK TABLES")


def _hold(
    open_session: Callable[[Database, str | None], Session], database: Database, kind: SetKind
) -> Held:
    session = open_session(database, database.name)
    try:
        shape = catalog.read_shape(session, database.name)
        _refuse_unfit(database, shape)
        session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        sequences = catalog.read_sequences(session, database.name, shape)
        defaults = catalog.defaults(session, database.name)
        locked = tuple(
            digest_table(session, database.name, table) for table in shape.without_snapshot
        )
    except BaseException:
        session.close()
        raise
    return Held(database, kind, session, shape, sequences, defaults, locked)


def _refuse_unfit(database: Database, shape: Shape) -> None:
    if unfit := catalog.unfit_tables(shape):
        raise RequestError(
            f"database {database.key} has tables that cannot be backed up: {', '.join(unfit)}",
            "drop them, or back up the volume of the server instead of the database",
        )


def _start_dumps(runtime: Runtime, held: Held, scratch: Path, run: str) -> None:
    """Start one dump of the tables without transactions, if there are any, and one of the rest."""
    database, apart = held.database, [table.name for table in held.shape.without_snapshot]
    parts: list[tuple[str, list[str], list[str]]] = [("main", [], apart)]
    if apart:
        parts.insert(0, ("locked", apart, []))
    for part, only, left in parts:
        without = [*left, KEPT, COMPANION]
        file = f"{database.key}.{part}.sql"
        arguments = dump_arguments(database, held.kind, file, only=only, without=without,
                                   history=any(t.versioned for t in held.shape.tables))  # fmt: skip
        held.dumps.append(Dumping(runtime, database, arguments, scratch / file, run))


def _await(locker: Session, held: Mapping[str, Held]) -> None:
    """Wait until every dump has its snapshot, and those of tables without one are complete."""
    for one in held.values():
        *complete, main = one.dumps
        while not (main.has_snapshot() and all(dump.ended for dump in complete)):
            time.sleep(LOOK_EVERY)
        for dump in complete:
            dump.wait()
        one.clients = frozenset(
            int(number) for (number,) in locker.rows(_CLIENTS, [one.database.name, one.session.id])
        )
    locker.run("SELECT 1")  # a session that was lost meanwhile has lost its lock


def _running(session: Session) -> tuple[str, ...]:
    """Return the statements that other sessions run, for a message."""
    found = session.rows(
        "SELECT id, user, coalesce(db, ''), time, left(info, 80)"
        "  FROM information_schema.processlist"
        " WHERE id <> connection_id() AND info IS NOT NULL AND command <> 'Daemon'"
        " ORDER BY time DESC LIMIT 10"
    )
    return tuple(f"session {i} of {u} in {d}, for {s} s: {text}" for i, u, d, s, text in found)
