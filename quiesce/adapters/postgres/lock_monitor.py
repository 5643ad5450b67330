"""Releases Quiesce's locks when they block another session for longer than `lock_patience`.

An exported snapshot blocks `ALTER TABLE`, and a waiting `ALTER TABLE` blocks everyone who reads
that table. A service that changes tables at its start would never become healthy. So when one of
Quiesce's sessions blocks another for too long, all of Quiesce's sessions in that database are
terminated; the dump fails and names the session that was blocked.
"""

from __future__ import annotations

from quiesce.adapters.lock_watch import LockWatch
from quiesce.adapters.postgres.session import Session, end_sessions
from quiesce.ports import BlockedAnotherSession

# waitstart is empty at the beginning of a wait
_WAITING = """
WITH ours AS (SELECT array_agg(pid) AS pids FROM pg_stat_activity
               WHERE application_name = left(%s, 63) AND datname = current_database())
SELECT a.pid, coalesce(nullif(a.application_name, ''), a.backend_type), left(a.query, 200)
  FROM pg_stat_activity a, ours
 WHERE a.wait_event_type = 'Lock' AND a.datname = current_database()
   AND a.application_name <> left(%s, 63) AND pg_blocking_pids(a.pid) && ours.pids
   AND (SELECT min(l.waitstart) FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted)
       < clock_timestamp() - make_interval(secs => %s)
 LIMIT 1
"""


def watch_locks(
    session: Session, application: str, key: str, patience: float
) -> LockWatch[Session]:
    """Watch the session's database. When one of Quiesce's sessions, which have this application
    name, has blocked another for longer than `patience` seconds, all of them there are
    terminated."""

    def blocked(session: Session) -> BlockedAnotherSession | None:
        found = session.rows(_WAITING, [application, application, patience])
        if not found:
            return None
        pid, name, query = found[0]
        return BlockedAnotherSession(
            f"the dump of {key} blocked pid {pid} ({name}) for more than {patience:g} seconds, so "
            "it was cancelled",
            "change the tables at another time, or raise lock_patience",
            details=(f"it waits to run: {' '.join(query.split())}",),
        )

    return LockWatch(
        session, key, blocked, lambda own: end_sessions(own, application, own.database)
    )
