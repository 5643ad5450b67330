"""Exports snapshots of all databases briefly before services stop, to see whether it works.

Otherwise these problems would appear only after services have stopped: too little room for the
locks of all tables, too few sessions, a missing right on one table. So every table is locked twice
(as by the exporting session and by pg_dump), with as many sessions as a backup uses, in all
databases at once, and released again. ACCESS SHARE is the lock of any SELECT.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from quiesce.adapters.postgres.session import Session, SessionError
from quiesce.adapters.postgres.snapshot import ExportedSnapshot, Prepared, export_snapshot
from quiesce.errors import QuiesceError

#: A session with a longer lock may be stopped before the backup needs the table.
LOCK_SECONDS = 1
_OUT_OF_MEMORY = "53200"

_ROOM = """
SELECT current_setting('max_locks_per_transaction')::int,
       current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int
"""
#: All that share the lock table; PostgreSQL's documentation counts sessions only.
_SLOTS = """
SELECT current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int
     + current_setting('autovacuum_max_workers')::int
     + current_setting('max_worker_processes')::int + current_setting('max_wal_senders')::int + 1
"""
_TABLES = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
_EMPTIED = """
SELECT count(*) + count(nullif(t.reltoastrelid, 0)) * 2
     + coalesce(sum((SELECT count(*) FROM pg_index i WHERE i.indrelid = t.oid)), 0)
  FROM pg_class t WHERE t.oid = ANY (%s::oid[])
"""

Opener = Callable[[], Session]


def rehearse(databases: Sequence[tuple[str, Opener]]) -> tuple[str, ...]:
    """Return the problems that prevent exporting snapshots of these databases (by key, with a
    function that opens a session) at once."""
    sessions: list[Session] = []
    problems: list[str] = []
    tables = 0
    try:
        for key, open_one in databases:
            try:
                looker = open_one()
                sessions.append(looker)
                tables += int(looker.value(_TABLES))
                for _ in ("who holds the snapshot", "pg_dump"):
                    if held := _hold(open_one):
                        sessions.append(held.session)
            except SessionError as problem:
                if problem.sqlstate == _OUT_OF_MEMORY:
                    problems.append(_no_room(sessions[-1], tables))
                    break
                problems.append(f"{key}: {_said(problem)}")
            except QuiesceError as problem:
                problems.append(f"{key}: {_said(problem)}")
    finally:
        for session in sessions:
            session.close()
    return tuple(problems)


def room_to_empty(session: Session, tables: Sequence[int]) -> tuple[str, ...]:
    """Return why these tables cannot be truncated in one transaction, if so: it locks each table
    with its indexes and TOAST tables."""
    locks = int(session.value(_EMPTIED, [list(tables)]))
    each, _ = session.row(_ROOM)
    slots = int(session.value(_SLOTS))
    if locks <= each * slots:
        return ()
    return (
        f"emptying its tables at once needs {locks} locks, and the server has room for "
        f"{each * slots}: set max_locks_per_transaction to {_wanted(locks, slots)} or more in its "
        "configuration, and restart it",
    )


def _hold(open_one: Opener) -> ExportedSnapshot | None:
    try:
        return export_snapshot(open_one, LOCK_SECONDS)
    except (Prepared, SessionError):
        raise
    except QuiesceError:
        # Another session holds a lock or creates tables; that may have ended when the backup needs
        # it.
        return None


def _no_room(session: Session, tables: int) -> str:
    each, slots = session.row(_ROOM)
    return (
        f"the server has too little room for locks: {tables} tables are locked at once, and "
        f"max_locks_per_transaction is {each}; set it to {_wanted(tables * 2, slots)} or more in "
        "the server's configuration, and restart the server"
    )


def _wanted(locks: int, slots: int) -> int:
    """Return a value with twice the room, rounded to usual values."""
    return max(64, math.ceil(locks * 1.5 / slots / 64) * 64)


def _said(problem: QuiesceError) -> str:
    return f"{problem.fact} ({problem.hint})" if problem.hint else problem.fact
