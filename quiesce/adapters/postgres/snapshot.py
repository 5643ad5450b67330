"""Exports a snapshot after every table was locked, so that no table can be rewritten in between.

A dump whose snapshot is older than its locks reads no rows of a table that was truncated or
rewritten in between, exits with 0, and a count in the same snapshot is zero too. `LOCK TABLE` takes
no snapshot itself, so a REPEATABLE READ transaction may begin with locks. Tables that appear
between listing and snapshot are found by listing again; then everything is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quiesce.adapters.postgres.replication import read_prepared
from quiesce.adapters.postgres.session import Session, SessionError, identifier, literal
from quiesce.errors import QuiesceError

LOCK_SECONDS = 5
ATTEMPTS = 5
TABLES_AT_ONCE = 500

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK = "40P01"
_CHANGED_MEANWHILE = frozenset({"42P01", "3F000", "42809", "42501", DEADLOCK})

_TABLES = """
SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
 ORDER BY c.oid
"""

#: The running and the next transaction of the whole server. Reading needs no transaction id, so
#: this does not change while nothing writes and no housekeeping runs; WAL positions also change by
#: checkpoints.
INSTANT = "txid_current_snapshot()::text"

_IN_THE_WAY = """
SELECT a.pid, coalesce(nullif(a.application_name, ''), a.backend_type),
       coalesce(a.usename, ''), left(a.query, 200), l.relation::regclass::text
  FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.relation = ANY (%s::oid[])
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
 ORDER BY l.granted DESC, a.xact_start LIMIT 1
"""

Table = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class ExportedSnapshot:
    """A session that keeps a snapshot and its locks until it is closed.

    `instant` tells which of the server's transactions the snapshot shows: equal texts mean the same
    instant, in any database of one server. `since` is a time before it, by the server's clock.
    """

    session: Session
    snapshot: str
    wal_position: str
    instant: str
    since: str


class Prepared(QuiesceError):
    """A prepared transaction has locked a table: there is no session that could be ended."""


def export_snapshot(
    open_one: Callable[[], Session], lock_seconds: int = LOCK_SECONDS
) -> ExportedSnapshot:
    """Lock every table, then export a snapshot, and return the session that keeps both.

    `open_one` opens a session in the database. Raise QuiesceError naming the session that blocks a
    table, if the lock is not obtained within `lock_seconds`.
    """
    with open_one() as looker:
        for _ in range(ATTEMPTS):
            holder = open_one()
            try:
                held = _try_once(holder, looker, lock_seconds)
            except BaseException:
                holder.close()
                raise
            if held:
                return held
            holder.close()
        raise QuiesceError(
            f"tables of {looker.where} keep being created and dropped",
            "wait until the migration that runs there has finished, then try again",
        )


def _try_once(holder: Session, looker: Session, lock_seconds: int) -> ExportedSnapshot | None:
    tables = _list(looker)
    holder.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    holder.run(f"SET LOCAL lock_timeout = '{lock_seconds}s'")
    try:
        for first in range(0, len(tables), TABLES_AT_ONCE):
            some = tables[first : first + TABLES_AT_ONCE]
            names = ", ".join(f"ONLY {identifier(s)}.{identifier(n)}" for _, s, n in some)
            holder.run(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
    except SessionError as problem:
        if problem.sqlstate == LOCK_NOT_AVAILABLE:
            raise _lock_held(looker, tables) from problem
        if problem.sqlstate in _CHANGED_MEANWHILE and _list(looker) != tables:
            return None
        raise
    holder.run("SET LOCAL lock_timeout = 0")
    since = looker.value("SELECT clock_timestamp()::text")
    # not inside a savepoint: a snapshot of a subtransaction cannot be exported
    snapshot, position, instant = holder.row(
        "SELECT pg_export_snapshot(), CASE WHEN pg_is_in_recovery()"
        " THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text, " + INSTANT
    )
    if _list(looker) != tables:
        return None
    return ExportedSnapshot(holder, snapshot, position, instant, since)


def _list(looker: Session) -> Sequence[Table]:
    return [
        (oid, schema, name)
        for oid, schema, name in looker.rows(_TABLES)
        if not schema.startswith(("pg_temp_", "pg_toast_temp_"))
    ]


def _lock_held(looker: Session, tables: Sequence[Table]) -> QuiesceError:
    found = looker.rows(_IN_THE_WAY, [[oid for oid, _, _ in tables]])
    prepared = [one for one in read_prepared(looker) if one.locks]
    if not found and prepared:
        one = prepared[0]
        return Prepared(
            f"table {one.locks[0]} of {looker.where} is locked by transaction {one.gid}, which "
            f"{one.owner} prepared and which was never committed or rolled back",
            f"ask {one.owner}, then run COMMIT PREPARED {literal(one.gid)} or ROLLBACK PREPARED "
            f"{literal(one.gid)} there",
        )
    if not found:
        return QuiesceError(
            f"a table of {looker.where} was locked by another session for {LOCK_SECONDS} seconds",
            "it may have ended by now; try again",
        )
    pid, application, user, query, table = found[0]
    return QuiesceError(
        f"table {table} of {looker.where} is locked by pid {pid} ({application}, user {user})",
        f"wait for it to end, or terminate it with SELECT pg_terminate_backend({pid})",
        details=(f"it runs: {' '.join(query.split())}",),
    )
