"""Opens sessions with the servers of a run's databases, and terminates clients' sessions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from quiesce.adapters.postgres.client import Client
from quiesce.adapters.postgres.session import (
    NoDatabase,
    Session,
    SessionError,
    Unreachable,
    end_sessions,
    open_session,
)
from quiesce.adapters.servers import await_answer, server_of
from quiesce.errors import QuiesceError
from quiesce.model import Database
from quiesce.ports import Runtime

MAINTENANCE = ("postgres", "template1")


class Servers:
    """The base of all parts of the adapter. `scratch` is a folder of the run."""

    def __init__(
        self, runtime: Runtime, databases: Sequence[Database], run: str, scratch: Path
    ) -> None:
        self._runtime = runtime
        self._databases = tuple(databases)
        self._run = run
        self._scratch = scratch
        self._application = f"quiesce:{run}"
        self._client = Client(runtime, run)

    def _open(self, database: Database, name: str) -> Session:
        endpoint = self._runtime.endpoint(database.service, database.port)
        return open_session(database, name, endpoint, self._application)

    def _maintenance(self, database: Database) -> Session:
        """Open a session in a database of the server that this run never renames or closes."""
        first, second = MAINTENANCE
        kept = {d.name for d in self._databases if server_of(d) == server_of(database)}
        if first in kept and second not in kept:
            first, second = second, first
        try:
            return self._open(database, first)
        except NoDatabase:
            return self._open(database, second)

    def await_answer(self, database: Database, seconds: float, still_up: Callable[[], None]) -> str:
        """Wait until the server answers a query; see `ports.DatabaseDriver`."""

        def ask() -> None:
            with self._maintenance(database) as session:
                session.run("SELECT 1")

        return await_answer(ask, _is_refusal, seconds, still_up)

    def _of(self, service: str) -> Database:
        for database in self._databases:
            if database.service == service:
                return database
        raise QuiesceError(f"no database is declared for service {service}", "see stack.yaml")

    def _end_clients(self, database: Database, name: str, spared: Sequence[int] = ()) -> None:
        """Terminate the sessions that Quiesce's clients left in `name`: killing a client does not
        end its session."""
        with contextlib.suppress(QuiesceError), self._maintenance(database) as session:
            end_sessions(session, self._application, name, spared)


def _is_refusal(error: QuiesceError) -> bool:
    return isinstance(error, SessionError) and not isinstance(error, Unreachable)
