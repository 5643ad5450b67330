"""Sessions that are active while snapshots are exported, and rows written between two snapshots.

Snapshots of one server are compared by their transactions. Only a transaction that the later
snapshot contains and the first does not can keep the two from showing one instant. Its existence
alone proves nothing, because autovacuum's ANALYZE and other databases of the server have
transactions too. So the rows are checked: each carries the transaction that wrote it (`xmin`). A
row in the later snapshot with one of these transactions was written in between, and only clients
write rows of tables. A transaction that only deleted rows leaves no trace. It cannot be
distinguished from housekeeping, and the set records that doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quiesce.adapters.postgres.catalog import read_tables
from quiesce.adapters.postgres.safe_reads import guarded_tables
from quiesce.adapters.postgres.session import SQL, Session
from quiesce.observed import Activity, ExternalSession, WrittenBetween

#: If there are more transactions, only the last of them are checked.
MOST = 10_000

# A session that has been idle since before the first snapshot ran nothing in between.
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

# Created, truncated or rewritten meanwhile: the rows may carry older transactions.
_CHANGED = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema' AND c.xmin = ANY (%s::xid[]) ORDER BY 1
"""
_WRITTEN = SQL("SELECT 1 FROM ONLY {table} WHERE xmin = ANY (%s::xid[]) LIMIT 1")


def observe_activity(
    session: Session, names: Sequence[str], application: str, since: str | None
) -> tuple[tuple[ExternalSession, ...], bool]:
    """Return the external sessions in these databases of the session's server, and whether
    housekeeping is running. `since` is a time before the first snapshot, by the server's clock.

    Sessions with the application name `application` are Quiesce's own.
    """
    values = [since or "infinity", list(names), application]
    external_sessions = tuple(
        ExternalSession(*row) for row in session.rows(_EXTERNAL_SESSIONS, values)
    )
    return external_sessions, bool(session.value(_MAINTENANCE))


def between(first: str, later: str) -> tuple[int, ...]:
    """Return the transactions that the later snapshot of a server shows and the first does not, as
    they are stored in rows: all that ended in between, including failed ones.

    Both are texts like `xmin:xmax:running,running`.
    """
    _, first_next, first_running = _parts(first)
    _, next_, running = _parts(later)
    started = range(max(first_next, next_ - MOST), next_)
    ended = {x for x in (*first_running, *started) if x not in running and x < next_}
    # Rows store 32 bits of it.
    return tuple(sorted(x % 2**32 for x in ended))


def written_between(reader: Session, transactions: Sequence[int]) -> WrittenBetween:
    """Return what these transactions wrote, as far as the reader's snapshot shows it."""
    if not transactions:
        return WrittenBetween()
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
    return WrittenBetween(len(transactions), tuple(sorted(tables)), tuple(unread))


def combine_activity(
    parts: Sequence[tuple[tuple[ExternalSession, ...], bool]], moved: Mapping[str, Sequence[int]]
) -> Activity:
    """Combine the activity of all servers with the additional transactions of each database's
    snapshot."""
    return Activity(
        tuple(each for external_sessions, _ in parts for each in external_sessions),
        tuple(key for key, transactions in moved.items() if transactions),
        any(maintenance for _, maintenance in parts),
    )


def _parts(snapshot: str) -> tuple[int, int, frozenset[int]]:
    oldest, next_, running = snapshot.split(":")
    return int(oldest), int(next_), frozenset(map(int, filter(None, running.split(","))))
