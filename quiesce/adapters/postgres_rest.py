"""Who else is there while snapshots are held, and whether anybody wrote meanwhile.

Snapshots of one server are compared by the transactions they show, not by WAL positions: those
move by checkpoints and statistics alone. A transaction that was open all the time and writes is
in none of the snapshots, so it does no harm; one that committed between two of them does.
"""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.adapters.postgres_session import Session
from quiesce.adapters.postgres_snapshot import INSTANT
from quiesce.observed import AtRest, Visitor

_VISITORS = """
SELECT pid, datname, coalesce(usename, ''), coalesce(application_name, '') FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname = ANY (%s) AND pid <> pg_backend_pid()
   AND application_name <> left(%s, 63)
 ORDER BY pid
"""
_MAINTENANCE = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"


def look_around(
    session: Session, names: Sequence[str], application: str, instants: Sequence[str]
) -> tuple[tuple[Visitor, ...], bool, bool]:
    """Return the visitors of these databases of the session's server, whether anything was
    written between the snapshots of `instants` and now, and whether housekeeping is at work.

    Sessions that carry `application` are ours.
    """
    # First of all: whatever is looked at afterwards takes time.
    now = session.value(f"SELECT {INSTANT}")
    visitors = tuple(Visitor(*row) for row in session.rows(_VISITORS, [list(names), application]))
    maintenance = bool(session.value(_MAINTENANCE))
    return visitors, len({now, *instants}) > 1, maintenance


def together(
    parts: Sequence[tuple[Sequence[str], tuple[Visitor, ...], bool, bool]],
) -> AtRest:
    """Join what was seen per server: keys of its databases, and what `look_around` returned."""
    return AtRest(
        tuple(visitor for _, visitors, _, _ in parts for visitor in visitors),
        tuple(key for keys, _, moved, _ in parts if moved for key in keys),
        any(maintenance for _, _, _, maintenance in parts),
    )
