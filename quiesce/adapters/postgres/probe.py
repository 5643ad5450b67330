"""Queries in a live database: the probes of `stack.yaml`, and the markers of a drill.

A probe's query may call functions that came from a file or belong to other users. A superuser would
run them as a superuser, so if there are such functions the query is run by a temporary role that
may read everything in the database and nothing else.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

from quiesce.adapters.postgres.safe_reads import has_code_of_others
from quiesce.adapters.postgres.session import Session, encrypted_password, identifier, literal
from quiesce.errors import QuiesceError
from quiesce.model import Database, Secret
from quiesce.plan.naming import suffix_of

#: The table for a drill's markers; Quiesce creates nothing else in a live database.
MARKS = "public.quiesce_drill"

_IS_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
_READ_ALL_SINCE = 140000

# A view, rule, trigger or index of another user in its place would run with Quiesce's rights.
_MARKS_TABLE = """
SELECT c.relkind = 'r' AND NOT c.relhasrules AND NOT c.relhastriggers
       AND NOT c.relrowsecurity AND c.relowner = (SELECT oid FROM pg_roles
                                                   WHERE rolname = current_user)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'public' AND c.relname = 'quiesce_drill'
"""


def owns_marks(session: Session) -> bool:
    """Whether the table of markers exists. Raise QuiesceError if it is not Quiesce's table."""
    found = session.rows(_MARKS_TABLE)
    if found and not found[0][0]:
        raise QuiesceError(
            f"{MARKS} in {session.where} is not the table that a drill creates",
            "rename it, then try again; Quiesce does not read or write it",
        )
    return bool(found)


def ask(
    session: Session,
    run: str,
    query: str,
    open_as: Callable[[Database], Session],
    database: Database,
) -> object:
    """Return the first value of a query; None for no row. `open_as` opens a session as another user
    than the database's."""
    # Without superuser rights, there is nothing that a function could abuse.
    if not session.value(_IS_SUPERUSER) or not has_code_of_others(session):
        return first_value(session, query)
    login = replace(database, user=reader_name(run))
    with (
        reader(session, login.user) as password,
        open_as(replace(login, password=password)) as reading,
    ):
        return first_value(reading, query)


def first_value(session: Session, query: str) -> object:
    """Return the first value of a query that may change nothing; None for no row."""
    # pg_catalog first, so that no function in public replaces a built-in one.
    session.run("SET search_path = pg_catalog, public")
    session.run("BEGIN READ ONLY")
    rows = session.rows(query)
    return rows[0][0] if rows and rows[0] else None


def reader_name(run: str) -> str:
    """Return the name of this run's role for queries."""
    return f"quiesce_reader_{suffix_of(run)}"


@contextlib.contextmanager
def reader(session: Session, role: str) -> Iterator[Secret | None]:
    """Yield the password of a role that may read the session's database, and drop the role
    afterwards.

    Raise QuiesceError if it cannot be created.
    """
    password = secrets.token_urlsafe(24)
    drop_reader(session, role)
    # Hashed here, because a server that logs statements would log a plain password.
    scrambled = encrypted_password(session, role, password)
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT NOREPLICATION BYPASSRLS"
    session.run(f"CREATE ROLE {identifier(role)} {rights} PASSWORD {literal(scrambled)}")
    try:
        session.run(
            f"GRANT CONNECT ON DATABASE {identifier(session.database)} TO {identifier(role)}"
        )
        if session.version >= _READ_ALL_SINCE:
            session.run(f"GRANT pg_read_all_data TO {identifier(role)}")
        else:
            session.run(f"GRANT USAGE ON SCHEMA public TO {identifier(role)}")
            session.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {identifier(role)}")
        yield Secret(password)
    finally:
        with contextlib.suppress(QuiesceError):
            drop_reader(session, role)


def drop_reader(session: Session, role: str) -> None:
    """Drop the role. It owns nothing, so only its grants are dropped with it."""
    if session.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]):
        session.run(f"DROP OWNED BY {identifier(role)}")
        session.run(f"DROP ROLE {identifier(role)}")
