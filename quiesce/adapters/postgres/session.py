"""PostgreSQL sessions with fixed settings and translated errors.

Settings of a server, database or role must not change what is read: `SETTINGS` are set in every
session after connecting, which overrides `ALTER DATABASE … SET` and `ALTER ROLE … SET`. `PG*`
variables of the environment have no effect, because every parameter is given explicitly.

The driver's exceptions do not leave this module, and no error contains a password or a connection
string.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

import psycopg2
import psycopg2.extensions as driver
from psycopg2.sql import SQL, Composable, Identifier, Literal

from quiesce.adapters.postgres.errors import (
    NoDatabase,
    SessionError,
    Unreachable,
    connection_error,
    translate_driver_errors,
)
from quiesce.adapters.postgres.waiting import copying, waiting
from quiesce.errors import QuiesceError
from quiesce.model import Database
from quiesce.ports import Endpoint

CONNECT_SECONDS = 10.0

#: Values must have the same text everywhere: the digest of a row uses it.
SETTINGS: Mapping[str, str] = {
    "extra_float_digits": "3",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "row_security": "off",
    "statement_timeout": "0",
    # So that a server whose client vanished releases its snapshot and locks within half a minute.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
}

#: Settings of a database that would break the session before it can set anything: the driver sends
#: a statement if dates are not ISO.
STARTUP_OPTIONS = "-c statement_timeout=0 -c datestyle=ISO"

#: Settings that exist only since a version of the server (as in `server_version_num`).
SETTINGS_SINCE: Mapping[str, tuple[int, str]] = {
    "idle_session_timeout": (140000, "0"),
    "transaction_timeout": (170000, "0"),
}

END_SECONDS = 10.0

_SESSIONS_OF = """
SELECT pid, coalesce(datname, ''), pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE application_name = left(%s, 63) AND pid <> pg_backend_pid()
   AND (%s::text IS NULL OR datname = %s) AND pid <> ALL (%s::int[])
"""

# The names that other modules may import.
__all__ = [
    "SQL",
    "Composable",
    "Identifier",
    "Literal",
    "NoDatabase",
    "SessionError",
    "Unreachable",
]

COPY_BYTES = 1024 * 1024

Row = tuple[Any, ...]
Statement = str | Composable


class Readable(Protocol):
    """The source of COPY: returns at most so many bytes per call, none at the end."""

    def read(self, size: int = ..., /) -> bytes: ...

    def readline(self, size: int = ..., /) -> bytes: ...


def identifier(name: str) -> str:
    """Quote a name for SQL. Always quoted, so that generated SQL can be recognised again."""
    if "\0" in name:
        raise QuiesceError("a database object's name contains a NUL character")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a string for SQL, for sessions with standard_conforming_strings (all of Quiesce's)."""
    if "\0" in text:
        raise QuiesceError("a text for the database contains a NUL character")
    return "'" + text.replace("'", "''") + "'"


def version_text(number: int) -> str:
    """Convert `server_version_num` to text: 150018 is `15.18`."""
    return f"{number // 10000}.{number % 10000}"


class Writable(Protocol):
    """The target of COPY."""

    def write(self, chunk: bytes, /) -> int: ...


class Session:
    """An open session. Every statement commits by itself unless `BEGIN` was sent.

    `database` is the database's name, `pid` the server's process, `version` its
    `server_version_num`. Another thread can `cancel` a statement, and a signal's exception ends a
    waiting one.
    """

    def __init__(
        self, connection: driver.connection, where: str, another: Callable[[], Session]
    ) -> None:
        self._connection = connection
        #: Opens another session in the same database as the same user.
        self.another = another
        self.where = where
        self.database = connection.info.dbname
        self.version = connection.info.server_version
        self.pid = connection.info.backend_pid

    @property
    def connection(self) -> driver.connection:
        """The driver's connection, for use in this module."""
        return self._connection

    def rows(self, statement: Statement, values: Sequence[Any] | None = None) -> list[Row]:
        """Run one statement and return its rows, if it has any."""
        try:
            with self._cursor(waiting()) as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description is not None else []
        except UnicodeDecodeError as problem:
            raise SessionError(
                f"{self.where} contains names that are not valid in its own encoding",
                "rename the objects whose names are damaged",
            ) from problem

    def row(self, statement: Statement, values: Sequence[Any] | None = None) -> Row:
        """Run a statement that returns exactly one row."""
        return self.rows(statement, values)[0]

    def value(self, statement: Statement, values: Sequence[Any] | None = None) -> Any:
        """Run a statement that returns exactly one row, and return its first column."""
        return self.row(statement, values)[0]

    def run(self, statement: Statement, values: Sequence[Any] | None = None) -> None:
        """Run a statement for its effect."""
        self.rows(statement, values)

    def run_bytes(self, statement: bytes) -> None:
        """Run a statement as bytes, in the session's client encoding."""
        with self._cursor(waiting()) as cursor:
            cursor.execute(statement)

    def copy_in(self, statement: Statement | bytes, rows: Readable) -> None:
        """Run a COPY … FROM STDIN with these rows, read in chunks; a statement that is given as
        bytes is in the session's client encoding."""
        with self._cursor(copying()) as cursor:
            cursor.copy_expert(statement, rows, COPY_BYTES)

    def copy_out(self, statement: Statement, rows: Writable) -> None:
        """Run a COPY … TO STDOUT which writes its rows in chunks."""
        with self._cursor(copying()) as cursor:
            cursor.copy_expert(statement, rows, COPY_BYTES)

    @contextlib.contextmanager
    def _cursor(self, turn: contextlib.AbstractContextManager[None]) -> Iterator[driver.cursor]:
        """Open a cursor for one statement in `waiting()`, or one COPY in `copying()`."""
        with translate_driver_errors(self.where), turn, self._connection.cursor() as cursor:
            yield cursor

    def cancel(self) -> None:
        """Cancel the running statement, if any."""
        with contextlib.suppress(psycopg2.Error):
            self._connection.cancel()

    def close(self) -> None:
        """Close the session and roll back its transaction."""
        with contextlib.suppress(psycopg2.Error):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_session(database: Database, name: str, endpoint: Endpoint, application: str) -> Session:
    """Open a session in database `name` (any text; never parsed as a connection string).

    Raise `NoDatabase`, `Unreachable` or another SessionError if that fails.
    """
    parameters = connection_parameters(database, name, endpoint, application)
    try:
        with waiting(CONNECT_SECONDS):
            connection = psycopg2.connect(**parameters)
        connection.autocommit = True
    except psycopg2.Error as problem:
        raise connection_error(problem, database, name, endpoint) from problem
    session = Session(
        connection,
        f"database {name}",
        lambda: open_session(database, name, endpoint, application),
    )
    try:
        _apply_settings(session)
    except BaseException:
        session.close()
        raise
    return session


def connection_parameters(
    database: Database, name: str, endpoint: Endpoint, application: str
) -> dict[str, Any]:
    """Return libpq's parameters for a session, including the password.

    Every parameter that a `PG*` variable could set is given, and the host also as an address,
    because PGHOSTADDR would override it.
    """
    return {
        "host": endpoint.host,
        "hostaddr": endpoint.host if _is_address(endpoint.host) else "",
        "port": endpoint.port,
        "user": database.user,
        "dbname": name,
        "password": database.password.reveal() if database.password else "",
        "passfile": "/dev/null",
        "options": STARTUP_OPTIONS,
        "application_name": application,
        "client_encoding": "UTF8",
        "gssencmode": "disable",
        "target_session_attrs": "any",
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # Keepalives are not sent while data waits for its acknowledgement. Milliseconds.
        "tcp_user_timeout": 25_000,
    }


def end_sessions(
    session: Session, application: str, name: str | None = None, spared: Sequence[int] = ()
) -> tuple[tuple[int, str], ...]:
    """Terminate sessions with this application name (in database `name`, or in any), wait until
    they have ended, and return pid and database of each. This session and `spared` pids are kept.

    Killing a client does not end its session: the server notices only when it next writes.
    """
    ended: dict[int, str] = {}
    deadline = time.monotonic() + END_SECONDS
    while found := session.rows(_SESSIONS_OF, [application, name, name, list(spared)]):
        ended |= {pid: database for pid, database, _ in found}
        if time.monotonic() > deadline:
            pids = ", ".join(str(pid) for pid, *_ in found)
            raise SessionError(
                f"sessions of {application} do not end: pid {pids}",
                "restart the database's service",
            )
        time.sleep(0.05)
    return tuple(ended.items())


def encrypted_password(session: Session, user: str, password: str) -> str:
    """Return the hash that the server stores for a password, computed here so that no log contains
    it."""
    return str(
        driver.encrypt_password(password, user, scope=session.connection, algorithm="scram-sha-256")
    )


def _apply_settings(session: Session) -> None:
    settings = dict(SETTINGS)
    for setting, (since, value) in SETTINGS_SINCE.items():
        if session.version >= since:
            settings[setting] = value
    calls = ", ".join("pg_catalog.set_config(%s, %s, false)" for _ in settings)
    session.run(f"SELECT {calls}", [part for pair in settings.items() for part in pair])
    session.run("SET ROLE NONE")  # a database can have a setting of role
    if session.version >= 140000:
        # The server notices a dead client within seconds, on platforms that support it.
        with contextlib.suppress(SessionError):
            session.run("SET client_connection_check_interval = '10s'")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
