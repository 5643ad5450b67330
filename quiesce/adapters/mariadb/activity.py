"""Other sessions in databases that are held, and sessions that wait for what holds them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from quiesce.adapters.lock_watch import LockWatch
from quiesce.adapters.mariadb.session import Session, own_sessions
from quiesce.observed import ExternalSession
from quiesce.ports import BlockedAnotherSession

_SESSIONS = """
SELECT id, db, user, command = 'Sleep' AND time_ms > %s
  FROM information_schema.processlist WHERE id <> connection_id() AND db IS NOT NULL ORDER BY id
"""
#: A table that a dump reads cannot be changed; whoever wants to waits for its metadata lock.
_WAITING = """
SELECT id, user, left(info, 200) FROM information_schema.processlist
 WHERE db = %s AND state = 'Waiting for table metadata lock' AND time_ms > %s LIMIT 1
"""


def external_sessions(
    session: Session, names: Sequence[str], run: str, since: float, ignored: Collection[int]
) -> tuple[ExternalSession, ...]:
    """Return the sessions of other clients in these databases. Those in `ignored` are Quiesce's
    own. Those that slept for the last `since` seconds wrote nothing."""
    own = {*own_sessions(session, run), *ignored}
    return tuple(
        ExternalSession(int(number), str(name), str(user), "", bool(idle))
        for number, name, user, idle in session.rows(_SESSIONS, [since * 1000])
        if name in names and int(number) not in own
    )


def watch_locks(
    session: Session, key: str, name: str, patience: float, release: Callable[[Session], object]
) -> LockWatch[Session]:
    """Watch database `name` with this session. `release` is called when another session has waited
    for longer than `patience` seconds for a table's metadata."""

    def blocked(session: Session) -> BlockedAnotherSession | None:
        found = session.rows(_WAITING, [name, patience * 1000])
        if not found:
            return None
        number, user, query = found[0]
        return BlockedAnotherSession(
            f"session {number} of user {user} waited for more than {patience:g} seconds while "
            f"{key} was dumped, so the dump was cancelled",
            "change the tables at another time, or raise lock_patience",
            details=(f"it waits to run: {' '.join(str(query).split())}",),
        )

    return LockWatch(session, key, blocked, release)
