"""Other sessions in databases that are held, and sessions that wait for what holds them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from quiesce.adapters.mariadb.session import Session, own_sessions
from quiesce.errors import QuiesceError
from quiesce.observed import ExternalSession
from quiesce.ports import BlockedAnotherSession

PAUSE_SECONDS = 0.25

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


class Watch:
    """Watches one database, in a separate thread and session, until `stop`. `release` is called
    when another session has waited for longer than `patience` seconds for a table's metadata.

    `problem` names that session.
    """

    def __init__(
        self,
        open_one: Callable[[], Session],
        key: str,
        name: str,
        patience: float,
        release: Callable[[Session], None],
    ) -> None:
        self.problem: BlockedAnotherSession | None = None
        self._key, self._name, self._patience = key, name, patience
        self._release = release
        self._done = threading.Event()
        self._session = open_one()
        self._thread = threading.Thread(target=self._look, name=f"locks {key}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching. Has no effect if it has stopped already."""
        self._done.set()
        self._thread.join()
        self._session.close()

    def _look(self) -> None:
        try:
            while not self._done.wait(PAUSE_SECONDS):
                found = self._session.rows(_WAITING, [self._name, self._patience * 1000])
                if found:
                    number, user, query = found[0]
                    self.problem = BlockedAnotherSession(
                        f"session {number} of user {user} waited for more than "
                        f"{self._patience:g} seconds while {self._key} was dumped, so the dump was "
                        "cancelled",
                        "change the tables at another time, or raise lock_patience",
                        details=(f"it waits to run: {' '.join(str(query).split())}",),
                    )
                    self._release(self._session)
                    return
        except QuiesceError:
            return  # the server is down, and the locks are released
