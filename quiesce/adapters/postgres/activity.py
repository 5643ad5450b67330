"""Who else is there while snapshots are held, and what was written between them.

Snapshots of one server are compared by the transactions they show. What differs is in the later
snapshot and not in the first; only that can keep the two from showing one instant: a transaction
that no snapshot shows, or all of them, does no harm. That one took place says nothing yet, since
ANALYZE by autovacuum is a transaction like any other, and other databases of the server have
theirs. So the rows are asked: each carries the transaction that wrote it (`xmin`). A row in the
later snapshot with one of these transactions was written in between, and nothing but a client
writes rows of tables. What a transaction only deleted leaves nothing to see: then it cannot be told
from housekeeping, and the set says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quiesce.adapters.postgres.catalog import read_tables
from quiesce.adapters.postgres.safe_reads import guarded_tables
from quiesce.adapters.postgres.session import SQL, Session
from quiesce.observed import Activity, ExternalSession, Meanwhile

#: More transactions than these are looked for among the last of them.
MOST = 10_000

# A session that is not at work, and was not since the first snapshot, ran nothing in between.
_EXTERNAL_SESSIONS = """
SELECT pid, datname, coalesce(usename, ''), coalesce(application_name, ''),
       coalesce(state IN ('idle', 'idle in transaction', 'idle in transaction (aborted)')
                AND state_change < %s::timestamptz, false)
  FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname = ANY (%s) AND pid <> pg_backend_pid()
   AND application_name <> left(%s, 63)
 ORDER BY pid
"""
_MAINTENANCE = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"

# Made, emptied or rewritten meanwhile: the rows themselves may carry older transactions.
_CHANGED = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema' AND c.xmin = ANY (%s::xid[]) ORDER BY 1
"""
_WRITTEN = SQL("SELECT 1 FROM ONLY {table} WHERE xmin = ANY (%s::xid[]) LIMIT 1")


def look_around(
    session: Session, names: Sequence[str], application: str, since: str | None
) -> tuple[tuple[ExternalSession, ...], bool]:
    """Return the visitors of these databases of the session's server, and whether housekeeping is
    at work. `since` is a moment before the first snapshot, by the server's clock.

    Sessions that carry `application` are ours.
    """
    values = [since or "infinity", list(names), application]
    external_sessions = tuple(
        ExternalSession(*row) for row in session.rows(_EXTERNAL_SESSIONS, values)
    )
    return external_sessions, bool(session.value(_MAINTENANCE))


def between(first: str, later: str) -> tuple[int, ...]:
    """Return the transactions that one snapshot shows and an earlier one of the same server does
    not, as their numbers in rows: all that ended in between, and those of them that failed.

    Both are texts like `xmin:xmax:running,running`.
    """
    _, first_next, first_running = _parts(first)
    _, next_, running = _parts(later)
    started = range(max(first_next, next_ - MOST), next_)
    ended = {x for x in (*first_running, *started) if x not in running and x < next_}
    # A row has 32 bits for it.
    return tuple(sorted(x % 2**32 for x in ended))


def written_between(reader: Session, transactions: Sequence[int]) -> Meanwhile:
    """Return what these transactions wrote that the reader's snapshot shows."""
    if not transactions:
        return Meanwhile()
    wanted = ["{" + ",".join(map(str, transactions)) + "}"]
    guarded = guarded_tables(reader)
    tables = {name for (name,) in reader.rows(_CHANGED, wanted)}
    unread = []
    for table in read_tables(reader):
        name = f"{table.schema}.{table.name}"
        if table.partitioned:
            continue
        if table.oid in guarded:
            unread.append(name)
        elif reader.rows(_WRITTEN.format(table=table.quoted), wanted):
            tables.add(name)
    return Meanwhile(len(transactions), tuple(sorted(tables)), tuple(unread))


def together(
    parts: Sequence[tuple[tuple[ExternalSession, ...], bool]], moved: Mapping[str, Sequence[int]]
) -> Activity:
    """Join what was seen per server, and what each database's snapshot shows more."""
    return Activity(
        tuple(each for external_sessions, _ in parts for each in external_sessions),
        tuple(key for key, transactions in moved.items() if transactions),
        any(maintenance for _, maintenance in parts),
    )


def _parts(snapshot: str) -> tuple[int, int, frozenset[int]]:
    oldest, next_, running = snapshot.split(":")
    return int(oldest), int(next_), frozenset(map(int, filter(None, running.split(","))))
