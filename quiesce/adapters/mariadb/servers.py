"""Opens sessions with the servers of a run's databases, and ends what a dead run left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from quiesce.adapters.mariadb import catalog
from quiesce.adapters.mariadb.errors import SessionError, Unreachable
from quiesce.adapters.mariadb.session import Session, end_sessions, open_session
from quiesce.adapters.servers import await_answer, one_per_server, server_of
from quiesce.errors import QuiesceError
from quiesce.model import Database
from quiesce.observed import DatabaseState
from quiesce.ports import Runtime


class Servers:
    """The base of all parts of the adapter. `scratch` is a folder of the run."""

    def __init__(
        self, runtime: Runtime, databases: Sequence[Database], run: str, scratch: Path
    ) -> None:
        self._runtime = runtime
        self._databases = tuple(databases)
        self._run = run
        self._scratch = scratch

    def _open(self, database: Database, name: str | None = None) -> Session:
        """Open a session with the server of `database`, in database `name` or in none."""
        endpoint = self._runtime.endpoint(database.service, database.port)
        return open_session(database, name, endpoint, self._run)

    def observe(self, databases: Sequence[Database]) -> tuple[DatabaseState, ...]:
        return tuple(self._observe(database) for database in databases)

    def await_answer(self, database: Database, seconds: float, still_up: Callable[[], None]) -> str:
        def ask() -> None:
            with self._open(database) as session:
                session.run("SELECT 1")

        return await_answer(ask, _is_refusal, seconds, still_up)

    def undeclared(self, databases: Sequence[Database]) -> tuple[str, ...]:
        names: set[str] = set()
        for first in one_per_server(databases):
            declared = {d.name for d in databases if server_of(d) == server_of(first)}
            with self._open(first) as session:
                names |= set(catalog.databases(session)) - declared
        return tuple(sorted(names))

    def size(self, database: Database, name: str) -> int | None:
        with self._open(database) as session:
            return catalog.size(session, name)

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        ended: list[str] = []
        for one in one_per_server(self._databases):
            try:
                session = self._open(one)
            except QuiesceError:
                continue  # a server that does not run has no sessions
            with session:
                ended += [f"session {number} of {one.service}"
                          for number in end_sessions(session, run)]  # fmt: skip
        return tuple(ended)

    def _of(self, service: str) -> Database:
        for database in self._databases:
            if database.service == service:
                return database
        raise QuiesceError(f"no database is declared for service {service}", "see stack.yaml")

    def _observe(self, database: Database) -> DatabaseState:
        def state(version: str = "", size: int | None = None, **more: str) -> DatabaseState:
            return DatabaseState(
                key=database.key,
                name=database.name,
                reachable=bool(version),
                exists=size is not None,
                server_version=version,
                revision=(),
                bytes=size or 0,
                **more,
            )

        try:
            with self._open(database) as session:
                return state(session.version_text, catalog.size(session, database.name))
        except Unreachable as problem:
            return state(problem=problem.fact)
        except QuiesceError as problem:
            return state(problem=problem.fact, remedy=problem.hint)


def _is_refusal(error: QuiesceError) -> bool:
    return isinstance(error, SessionError) and not isinstance(error, Unreachable)
