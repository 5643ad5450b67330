"""Translates the exceptions of the MariaDB driver into errors with hints.

No error contains a password or a connection string.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import pymysql

from quiesce.errors import QuiesceError, translate_errors
from quiesce.model import Database
from quiesce.ports import Endpoint

#: Codes of the server and of the client.
ACCESS_DENIED = (1044, 1045, 1698)
UNKNOWN_DATABASE = 1049
LOCK_WAIT_TIMEOUT = 1205
LOST = (0, 1053, 1927, 2003, 2006, 2013, 2014, 2055)


class SessionError(QuiesceError):
    """The server refused a statement, or a session could not be opened. `code` is its number."""

    def __init__(
        self, fact: str, hint: str = "", *, details: Sequence[str] = (), code: int = 0
    ) -> None:
        super().__init__(fact, hint, details=details)
        self.code = code


class NoDatabase(SessionError):
    """The server has no database of this name."""


class Unreachable(SessionError):
    """The server does not answer."""


def code_of(problem: pymysql.MySQLError) -> int:
    """Return the number of an error of the driver, 0 if it has none."""
    first = problem.args[0] if problem.args else 0
    return first if isinstance(first, int) else 0


def said(problem: pymysql.MySQLError) -> str:
    """Return the first line of the server's message."""
    text = str(problem.args[-1]) if problem.args else ""
    return (text.splitlines() or ["the connection was lost"])[0]


def translate_driver_errors(where: str) -> AbstractContextManager[None]:
    """Turn what the driver raises into a SessionError that names `where`."""

    def translation(error: Exception) -> SessionError | None:
        if not isinstance(error, pymysql.MySQLError):
            return None
        code = code_of(error)
        if code in LOST:
            return Unreachable(
                f"{where}: the server ended the session ({said(error)})",
                "check with 'inv status' that the server is running, then try again",
                code=code,
            )
        return SessionError(f"{where}: {said(error)}", code=code)

    return translate_errors(translation)


def no_session(
    problem: pymysql.MySQLError, database: Database, name: str, endpoint: Endpoint
) -> SessionError:
    """Return the error for a session that could not be opened, with a hint."""
    code, service = code_of(problem), database.service
    if code == UNKNOWN_DATABASE:
        return NoDatabase(
            f"service {service} has no database {name}",
            f"create it with CREATE DATABASE, or correct databases.{database.key}",
            code=code,
        )
    if code in ACCESS_DENIED:
        return SessionError(
            f"service {service} does not accept the password of user {database.user}, "
            f"or the user may not use database {name}",
            f"correct the value that databases.{database.key}.password or password_file refers to; "
            "a new value there does not change the password on the server",
            code=code,
        )
    if code in LOST:
        return Unreachable(
            f"MariaDB of service {service} does not answer on {endpoint.host}:{endpoint.port}",
            f"start it with 'inv up --service {service}', then run 'inv status'",
            details=(said(problem),),
            code=code,
        )
    return SessionError(
        f"database {name} of service {service} cannot be opened: {said(problem)}",
        "see the server's own log with 'inv logs'",
        code=code,
    )
