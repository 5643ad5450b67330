"""MariaDB sessions with fixed settings and translated errors.

Settings of a server must not change what is read: `SETTINGS` are set in every session after it
connected. The driver's exceptions do not leave this module. Every session holds a user lock whose
name contains the run's id, so that `remove_orphans` finds what a dead run left.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import pymysql
import pymysql.charset

from quiesce.adapters.mariadb.errors import SessionError, no_session, translate_driver_errors
from quiesce.errors import QuiesceError
from quiesce.model import Database
from quiesce.ports import Endpoint

CONNECT_SECONDS = 10
#: Statements wait so long for a table that another session uses, unless told otherwise.
LOCK_SECONDS = 60
MOST_SESSIONS = 256
#: In the place of a number: the session of a person.
SHELL = "shell"

SETTINGS: Mapping[str, str] = {
    "sql_mode": "''",
    "time_zone": "'+00:00'",
    "max_statement_time": "0",
    "wait_timeout": "604800",
    "idle_transaction_timeout": "0",
    "idle_readonly_transaction_timeout": "0",
    "net_read_timeout": "3600",
    "net_write_timeout": "3600",
    "lock_wait_timeout": str(LOCK_SECONDS),
    "group_concat_max_len": "1048576",
    "sql_select_limit": "18446744073709551615",
    "foreign_key_checks": "1",
    "unique_checks": "1",
    "transaction_isolation": "'REPEATABLE-READ'",
}
#: Where a setting has another name before MariaDB 11.1.
OLDER_NAMES: Mapping[str, str] = {"transaction_isolation": "tx_isolation"}

Row = tuple[Any, ...]
_numbers = itertools.count(1)


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    if "\0" in name:
        raise QuiesceError("a database object's name contains a NUL character")
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Quote a text for a session with the settings of this module."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def encoded(text: str, charset: str) -> bytes:
    """Return a statement in a character set of the server; "" is the session's own."""
    return text.encode(_codec(charset))


def decoded(statement: bytes, charset: str) -> str:
    """Return the text of a statement that is in a character set of the server."""
    return statement.decode(_codec(charset))


def _codec(charset: str) -> str:
    known = pymysql.charset.charset_by_name(charset) if charset else None
    return (known.encoding if known else None) or "utf8"


def lock_name(run: str, number: int | str) -> str:
    """Return the name of the user lock that a session of this run holds."""
    return f"quiesce:{run}:{number}"


class Session:
    """An open session; every statement commits by itself unless a transaction was started.

    `id` is the server's number of the session, `version` such as (10, 11, 18).
    """

    def __init__(self, connection: Any, where: str) -> None:
        self._connection = connection
        self.where = where
        self.id = int(connection.thread_id())
        self.version = _parsed(str(connection.get_server_info()))
        self.version_text = ".".join(map(str, self.version))

    def rows(self, statement: str, values: Sequence[Any] | None = None) -> list[Row]:
        """Run one statement and return its rows, if it has any."""
        with translate_driver_errors(self.where), self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def row(self, statement: str, values: Sequence[Any] | None = None) -> Row:
        """Run a statement that returns exactly one row."""
        return self.rows(statement, values)[0]

    def value(self, statement: str, values: Sequence[Any] | None = None) -> Any:
        """Run a statement that returns exactly one row, and return its first column."""
        return self.row(statement, values)[0]

    def run(self, statement: str, values: Sequence[Any] | None = None) -> None:
        """Run a statement for its effect."""
        self.rows(statement, values)

    def run_bytes(self, statement: bytes) -> None:
        """Run a statement as bytes, in the session's character set."""
        with translate_driver_errors(self.where):
            self._connection.query(statement)

    def reset(self) -> None:
        """Set all settings of this module again, after something else changed them."""
        self.run("SET NAMES utf8mb4")
        _apply_settings(self)

    def use(self, name: str) -> None:
        """Make database `name` the one of this session."""
        with translate_driver_errors(self.where):
            self._connection.select_db(name)

    def close(self) -> None:
        """Close the session and roll back its transaction."""
        with contextlib.suppress(pymysql.MySQLError, OSError):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_session(database: Database, name: str | None, endpoint: Endpoint, run: str) -> Session:
    """Open a session in database `name`, or in none.

    Raise `NoDatabase`, `Unreachable` or another SessionError if that fails.
    """
    try:
        connection = pymysql.connect(
            host=endpoint.host,
            port=endpoint.port,
            user=database.user,
            password=database.password.reveal() if database.password else "",
            database=name,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            local_infile=False,
            program_name=f"quiesce:{run}",
        )
    except pymysql.MySQLError as problem:
        raise no_session(problem, database, name or "", endpoint) from problem
    session = Session(connection, f"database {name}" if name else f"service {database.service}")
    try:
        _apply_settings(session)
        session.run("SELECT GET_LOCK(%s, 0)", [lock_name(run, next(_numbers) % MOST_SESSIONS)])
    except BaseException:
        session.close()
        raise
    return session


def own_sessions(session: Session, run: str) -> tuple[int, ...]:
    """Return the numbers of the sessions that hold a user lock of this run, except this one."""
    names = [lock_name(run, number) for number in (*range(MOST_SESSIONS), SHELL)]
    holders = session.row(f"SELECT {', '.join('IS_USED_LOCK(%s)' for _ in names)}", names)
    return tuple(sorted({int(one) for one in holders if one and int(one) != session.id}))


def end_sessions(session: Session, run: str) -> tuple[int, ...]:
    """End the sessions that hold a user lock of this run, except this one; return their numbers."""
    ended = own_sessions(session, run)
    for number in ended:
        with contextlib.suppress(SessionError):  # it may have ended by itself
            session.run(f"KILL {number}")
    return ended


def _apply_settings(session: Session) -> None:
    older = session.version < (11, 1)
    parts = (
        f"{OLDER_NAMES.get(name, name) if older else name} = {value}"
        for name, value in SETTINGS.items()
    )
    session.run(f"SET SESSION {', '.join(parts)}")


def _parsed(version: str) -> tuple[int, ...]:
    """Turn `5.5.5-10.11.18-MariaDB-…` into (10, 11, 18)."""
    text = version.removeprefix("5.5.5-").split("-", 1)[0]
    return tuple(int(part) for part in text.split(".") if part.isdigit())
