"""Releases Quiesce's locks when they block another session for longer than `lock_patience`.

An exported snapshot blocks `ALTER TABLE`, and a waiting `ALTER TABLE` blocks everyone who reads
that table. A service that changes tables at its start would never become healthy. So when one of
Quiesce's sessions blocks another for too long, all of Quiesce's sessions in that database are
terminated; the dump fails and names the session that was blocked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from quiesce.adapters.postgres.session import Session, end_sessions
from quiesce.errors import QuiesceError
from quiesce.ports import BlockedAnotherSession

PAUSE_SECONDS = 0.25

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


class Watch:
    """Watches one database, in a separate thread and session, until `stop`.

    `problem` names the session that was blocked; by then Quiesce's sessions there have been
    terminated.
    """

    def __init__(
        self, open_one: Callable[[], Session], application: str, key: str, patience: float
    ) -> None:
        self.problem: BlockedAnotherSession | None = None
        self._application = application
        self._key = key
        self._patience = patience
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
        values = [self._application, self._application, self._patience]
        try:
            while not self._done.wait(PAUSE_SECONDS):
                if found := self._session.rows(_WAITING, values):
                    pid, application, query = found[0]
                    self.problem = BlockedAnotherSession(
                        f"the dump of {self._key} blocked pid {pid} ({application}) for more than "
                        f"{self._patience:g} seconds, so it was cancelled",
                        "change the tables at another time, or raise lock_patience",
                        details=(f"it waits to run: {' '.join(query.split())}",),
                    )
                    end_sessions(self._session, self._application, self._session.database)
                    return
        except QuiesceError:
            return  # the server is down, and the locks are released
