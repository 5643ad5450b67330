"""Translates the exceptions of the PostgreSQL driver into errors with hints.

No error contains a password or a connection string.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager

import psycopg2

from quiesce.errors import QuiesceError, translate_errors
from quiesce.model import Database
from quiesce.ports import Endpoint


class SessionError(QuiesceError):
    """The server refused a statement, or a session could not be opened.

    `sqlstate` is the server's code, empty if there is none.
    """

    def __init__(
        self, fact: str, hint: str = "", *, details: Sequence[str] = (), sqlstate: str = ""
    ) -> None:
        super().__init__(fact, hint, details=details)
        self.sqlstate = sqlstate


class NoDatabase(SessionError):
    """The server has no database of this name."""


class Unreachable(SessionError):
    """The server does not answer."""


def session_error(problem: psycopg2.Error, where: str) -> SessionError:
    """Return the driver's exception as a `SessionError`, without SQL or passwords."""
    primary = problem.diag.message_primary
    lines = [line for line in str(problem).splitlines() if line.strip()]
    said = primary or (lines[0] if lines else "the connection was lost")
    details = [text for text in (problem.diag.message_detail, problem.diag.message_hint) if text]
    if problem.pgcode is None or problem.pgcode.startswith("57P"):
        return Unreachable(
            f"{where}: the server ended the session ({said})",
            "check with 'inv status' that the server is running, then try again",
            details=details,
            sqlstate=problem.pgcode or "",
        )
    return SessionError(f"{where}: {said}", details=details, sqlstate=problem.pgcode)


def translate_driver_errors(where: str) -> AbstractContextManager[None]:
    """Turn the driver's exceptions into a SessionError that names `where`."""

    def translation(error: Exception) -> SessionError | None:
        return session_error(error, where) if isinstance(error, psycopg2.Error) else None

    return translate_errors(translation)


def connection_error(
    problem: psycopg2.Error, database: Database, name: str, endpoint: Endpoint
) -> SessionError:
    """Return the error for a session that could not be opened, with a hint."""
    said = str(problem).strip().splitlines()
    last = re.sub(r"^.*?(FATAL|failed): +", "", said[0]) if said else "no reason given"
    text = " ".join(said)
    service, user = database.service, database.user
    if re.search(r"password authentication failed|no password supplied|authentication", text):
        return SessionError(
            f"service {service} does not accept the password of user {user}",
            f"correct the value that databases.{database.key}.password or password_file refers to; "
            "a new value there does not change the password on the server",
        )
    if re.search(r'database ".*" does not exist', text, re.DOTALL):
        return NoDatabase(
            f"service {service} has no database {name}",
            f"create it with CREATE DATABASE, or correct databases.{database.key}",
        )
    if re.search(r'role ".*" does not exist', text, re.DOTALL):
        return SessionError(
            f"service {service} has no user {user}", f"correct databases.{database.key}.user"
        )
    if "not currently accepting connections" in text:
        return SessionError(
            f"database {name} is closed to connections",
            "if a restore was interrupted, run 'inv recover'; if not, ask who set "
            "ALLOW_CONNECTIONS false",
        )
    if re.search(
        r"refused|timeout|timed out|could not|closed the connection|reset|starting up|"
        r"shutting down|No route|Network",
        text,
    ):
        return Unreachable(
            f"PostgreSQL of service {service} does not answer on {endpoint.host}:{endpoint.port}",
            f"start it with 'inv up --service {service}', then run 'inv status'",
            details=(last,),
        )
    return SessionError(
        f"database {name} of service {service} cannot be opened: {last}",
        "see the server's own log with 'inv logs'",
    )
