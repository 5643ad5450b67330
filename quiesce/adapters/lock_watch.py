"""Watches whether what a run holds in a database blocks another session for too long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from quiesce.errors import QuiesceError
from quiesce.ports import BlockedAnotherSession

PAUSE_SECONDS = 0.25


class Closable(Protocol):
    """A session with a server."""

    def close(self) -> None: ...


_Session = TypeVar("_Session", bound=Closable)


class LockWatch(Generic[_Session]):
    """Looks at one database, in a separate thread and session, until `stop` or until another
    session is blocked.

    `blocked` returns that session as an error, or None; `release` then ends what blocks it.
    `problem` is that error, when `release` has begun.
    """

    def __init__(
        self,
        session: _Session,
        key: str,
        blocked: Callable[[_Session], BlockedAnotherSession | None],
        release: Callable[[_Session], object],
    ) -> None:
        self.problem: BlockedAnotherSession | None = None
        self._session, self._blocked, self._release = session, blocked, release
        self._done = threading.Event()
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
                if problem := self._blocked(self._session):
                    self.problem = problem
                    self._release(self._session)
                    return
        except QuiesceError:
            return  # the server is down, and the locks are released
