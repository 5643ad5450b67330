"""Runs Alembic, one history per database, each call in a separate child process.

Two environments in one process would share `sys.modules`: if each has a `models.py`, the second
would silently use the first one's. The child reads one request (JSON, with the password) from its
standard input and writes one answer to its standard output; what migrations print or log is shown
only after a failure.

The environment (`env.py`) must use the connection in `config.attributes`. Otherwise it would
migrate the live database instead of the staging database, so every upgrade first runs `env.py` with
nothing to do and compares the server's process, and compares the revisions of both databases
afterwards.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Database
from quiesce.ports import Endpoint

LOCK_TIMEOUT = "10s"
HEADS = ("head", "heads")


@dataclass(frozen=True, slots=True)
class History:
    """A database's revisions, oldest first, each with the revisions that it requires."""

    heads: tuple[str, ...]
    before: Mapping[str, tuple[str, ...]]

    def including(self, revisions: Sequence[str]) -> frozenset[str]:
        """Return these revisions and all before them."""
        found: set[str] = set()
        ahead = list(revisions)
        while ahead:
            revision = ahead.pop()
            if revision not in found:
                found.add(revision)
                ahead += self.before[revision]
        return frozenset(found)


class AlembicMigrator:
    """Implements the port `Migrator`. `endpoint` returns the address of a service's port."""

    def __init__(self, endpoint: Callable[[str, int], Endpoint], run: str) -> None:
        self._endpoint = endpoint
        self._application = f"quiesce:{run}"
        self._histories: dict[Path, History] = {}

    def heads(self, database: Database) -> tuple[str, ...]:
        return self._history(database).heads

    def known(self, database: Database, revision: str) -> bool:
        return revision in self._history(database).before

    def pending(self, database: Database, current: Sequence[str]) -> tuple[str, ...]:
        history = self._history(database)
        _require_sound(database, history, current)
        done = history.including(current)
        return tuple(revision for revision in history.before if revision not in done)

    def current(self, database: Database, name: str) -> tuple[str, ...]:
        from quiesce.adapters.postgres.catalog import read_revision
        from quiesce.adapters.postgres.session import open_session

        endpoint = self._endpoint(database.service, database.port)
        with open_session(database, name, endpoint, self._application) as session:
            return read_revision(session)

    def upgrade(
        self, database: Database, name: str, revision: str, login: Database | None = None
    ) -> None:
        login = login or database
        history = self._history(database)
        if revision == "head" and len(history.heads) > 1:
            raise RequestError(
                f"database {database.key} has several heads: {', '.join(history.heads)}",
                "join them with 'alembic merge heads', or use --revision heads",
            )
        if revision not in HEADS:
            _require_known(database, history, revision)
        _require_sound(database, history, self.current(database, name))
        live = self._live_revision(database, name)
        request = {
            "action": "upgrade",
            "revision": revision,
            "lock_timeout": LOCK_TIMEOUT,
            "connect": self._to(login, name),
        }
        try:
            self._ask(login, request)
        except BaseException:
            self._end_sessions(database, name)
            raise
        if self._live_revision(database, name) != live:
            raise _foreign(database, name)
        self._require_reached(database, name, revision)

    # ------------------------------------------------------------------------------ in parts

    def _history(self, database: Database) -> History:
        path = _configuration(database)
        if path not in self._histories:
            answer = self._ask(database, {"action": "history"})
            self._histories[path] = History(
                tuple(answer["heads"]),
                {revision: tuple(before) for revision, before in answer["revisions"]},
            )
        return self._histories[path]

    def _live_revision(self, database: Database, name: str) -> tuple[str, ...]:
        from quiesce.adapters.postgres.session import NoDatabase

        if name == database.name:
            return ()
        try:
            return self.current(database, database.name)
        except NoDatabase:
            return ()

    def _require_reached(self, database: Database, name: str, revision: str) -> None:
        after = self.current(database, name)
        history = self._history(database)
        _require_sound(database, history, after)
        wanted = history.heads if revision in HEADS else (revision,)
        if not history.including(after).issuperset(wanted):
            raise QuiesceError(
                f"database {name} is at {', '.join(after) or 'nothing'} after migrating,"
                f" not at {', '.join(wanted)}",
                f"make the env.py of {database.key} commit its changes on "
                "config.attributes['connection']",
            )

    def _to(self, database: Database, name: str) -> dict[str, Any]:
        from quiesce.adapters.postgres.session import connection_parameters

        endpoint = self._endpoint(database.service, database.port)
        return connection_parameters(database, name, endpoint, self._application)

    def _ask(self, database: Database, request: Mapping[str, Any]) -> Any:
        from quiesce.adapters.process import program

        path = _configuration(database)
        package = Path(__file__).resolve().parents[2]
        inherited = os.environ.get("PYTHONPATH")
        completed = program.run(
            [sys.executable, "-P", "-m", "quiesce.adapters.migrations"],
            stdin=json.dumps({"path": str(path), **request}).encode(),
            cwd=path.parent,
            environment={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [str(package), inherited])),
            },
            accept=range(256),
            what=f"alembic for {database.key}",
            secrets=(database.password.reveal(),) if database.password else (),
        )
        try:
            answer = json.loads(completed.stdout)
        except ValueError:
            answer = {"problem": f"it ended with exit code {completed.exit_code}"}
        if "problem" in answer:
            raise _refusal(database, answer, completed.stderr)
        return answer

    def _end_sessions(self, database: Database, name: str) -> None:
        from quiesce.adapters.postgres.session import end_sessions, open_session

        try:
            endpoint = self._endpoint(database.service, database.port)
            with open_session(database, name, endpoint, self._application) as session:
                end_sessions(session, self._application, name)
        except QuiesceError:
            pass  # report the failed migration, not this


def _configuration(database: Database) -> Path:
    path = database.migrations
    if path is None:
        raise RequestError(
            f"database {database.key} has no migrations",
            f"name its alembic.ini in databases.{database.key}.migrations",
        )
    if not path.exists():
        raise RequestError(f"{path} does not exist", f"correct databases.{database.key}.migrations")
    return path.resolve()


def _require_known(database: Database, history: History, revision: str) -> None:
    if revision not in history.before:
        raise RequestError(
            f"database {database.key}: revision {revision} is unknown to"
            f" {database.migrations and database.migrations.name}",
            "check out the code that has this revision, then try again",
        )


def _require_sound(database: Database, history: History, current: Sequence[str]) -> None:
    """Refuse a version table with unknown revisions, or with two revisions of one line."""
    for revision in current:
        _require_known(database, history, revision)
    for revision in current:
        later = [one for one in current if one != revision and revision in history.including([one])]
        if later:
            raise RequestError(
                f"database {database.key} is recorded at {revision} and at {later[0]}, which comes "
                "after it",
                "two histories were mixed: compare the tables with both revisions, then delete"
                " the row of the version table that does not match them",
            )


def _foreign(database: Database, name: str) -> QuiesceError:
    return RequestError(
        f"the env.py of {database.key} does not use the connection it is given,"
        f" so it would not migrate {name}",
        "let env.py use config.attributes['connection'] when it is set",
    )


def _refusal(database: Database, answer: Mapping[str, str], said: Sequence[str]) -> QuiesceError:
    if answer.get("foreign"):
        return _foreign(database, answer["foreign"])
    text = answer["problem"]
    if database.password is not None:
        for form in (database.password.reveal(), quote_plus(database.password.reveal())):
            text = text.replace(form, "***") if form else text
    first, *more = text.splitlines() or [""]
    hint = "correct the migration, then try again"
    if answer.get("sqlstate") == "55P03":
        hint = "a table was in use for too long: end the sessions that use it, or try again later"
    elif answer.get("sqlstate") == "42501":
        hint = (
            f"they need the privileges of {database.user}, but data from a file is migrated by a "
            "role without privileges: check out the code of the file's revision, restore the file, "
            "then migrate"
        )
    return QuiesceError(f"migrations of {database.key}: {first}", hint, details=(*more, *said))


# ------------------------------------------------------------------------------------ the child


class _NotOurs(Exception):
    """env.py migrated through another connection than the given one."""


def _load_alembic() -> None:
    """Import it without looking for garbage, neither meanwhile nor later: a third of the time."""
    gc.disable()
    from alembic import command, config, script  # noqa: F401

    gc.freeze()
    gc.enable()


def _history(request: Mapping[str, Any]) -> dict[str, Any]:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config(request))
    revisions = [
        (one.revision, [*one._all_down_revisions])  # noqa: SLF001 - parents and dependencies
        for one in script.walk_revisions("base", "heads")
    ]
    return {"heads": sorted(script.get_heads()), "revisions": revisions[::-1]}


def _upgrade(request: Mapping[str, Any]) -> dict[str, Any]:
    from alembic import command
    from sqlalchemy import NullPool, create_engine, text

    config = _config(request)
    engine = create_engine(
        "postgresql+psycopg2://", connect_args=request["connect"], poolclass=NullPool
    )
    with engine.connect() as connection:
        settings = {
            "lock_timeout": request["lock_timeout"],
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "default_transaction_read_only": "off",
        }
        version = connection.dialect.server_version_info or (0,)
        if version >= (14,):
            settings |= {"idle_session_timeout": "0", "client_connection_check_interval": "10s"}
        if version >= (17,):
            settings["transaction_timeout"] = "0"
        for setting, value in settings.items():
            connection.execute(text("SELECT set_config(:s, :v, false)"), {"s": setting, "v": value})
        own = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        connection.commit()
        config.attributes["connection"] = connection
        _prove_it_is_used(config, own)
        command.upgrade(config, request["revision"])
        connection.commit()
    return {}


def _prove_it_is_used(config: Any, own: int) -> None:
    """Run env.py with nothing to do, and check which connection it uses."""
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import text

    seen: list[int] = []

    def look(_: Any, context: Any) -> list[Any]:
        seen.append(context.connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        return []

    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, script, fn=look, dont_mutate=True):
        script.run_env()
    if not seen or any(pid != own for pid in seen):
        raise _NotOurs


def _config(request: Mapping[str, Any]) -> Any:
    from alembic.config import Config

    path = Path(request["path"])
    if path.is_dir():
        config = Config()
        config.set_main_option("script_location", str(path).replace("%", "%%"))
        return config
    return Config(str(path))


def main() -> None:
    """Answer the request on standard input; all other output goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    try:
        _load_alembic()
        answer = {"history": _history, "upgrade": _upgrade}[request["action"]](request)
    except _NotOurs:
        answer = {"problem": "env.py", "foreign": request["connect"]["dbname"]}
    except Exception as problem:  # noqa: BLE001 - whatever a migration raises is the answer
        cause = getattr(problem, "orig", None) or problem
        answer = {
            "problem": f"{type(cause).__name__}: {cause}",
            "sqlstate": getattr(cause, "pgcode", None) or "",
        }
    json.dump(answer, answers)
    answers.close()


if __name__ == "__main__":
    main()
