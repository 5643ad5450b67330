"""Loads an SQL file of unknown origin into a new database, as a role without rights.

The role owns only the new database's schema, is not a superuser and cannot become one: it logs in
itself, so no `SET ROLE` in a function leads back. It runs everything that may evaluate code of the
file: the load, migrations, ANALYZE. At the end its objects get an owner without rights (see
`ownership`), and the role is dropped. A run that dies leaves the role; dropping the database drops
it too.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from quiesce.adapters.postgres import sql_reader
from quiesce.adapters.postgres.ownership import Owner, ensure, make_invokers
from quiesce.adapters.postgres.session import (
    Session,
    SessionError,
    encrypted_password,
    identifier,
    literal,
)
from quiesce.adapters.postgres.sql_allowlist import judge
from quiesce.adapters.postgres.sql_reader import ScriptFacts, Statement
from quiesce.errors import QuiesceError
from quiesce.model import Database, Secret
from quiesce.plan.naming import suffix_of

#: How many bytes of a COPY block are sent at a time.
_CHUNK = 1024 * 1024
_SCHEMA = re.compile(rb"\A(CREATE SCHEMA )(?!IF NOT)")
_ENCODINGS = {"SQL_ASCII": "UTF8"}


@dataclass(frozen=True, slots=True)
class Loader:
    """The role that loaded a file: its login, and the previous owner of the schema `public`."""

    login: Database
    schema_owner: str


def loader_name(run: str) -> str:
    """Return the name of the role that loads files for this run."""
    return f"quiesce_loader_{suffix_of(run)}"


def missing(session: Session, facts: ScriptFacts) -> tuple[tuple[str, int], ...]:
    """Return the roles and extensions that the file needs and the server lacks, with positions in
    the file."""
    roles = {name for (name,) in session.rows("SELECT rolname FROM pg_roles")}
    found = [
        (f"the server has no role {role}: create it, without a login", at)
        for role, at in facts.roles.items()
        if role not in roles
    ]
    known = {name for (name,) in session.rows("SELECT name FROM pg_available_extensions")}
    found += [
        (f"the server's image does not have the extension {name}", at)
        for name, (at, _) in facts.extensions.items()
        if name not in known
    ]
    return tuple(found)


def load(
    admin: Session,
    open_as: Callable[[Database], Session],
    database: Database,
    run: str,
    path: Path,
    facts: ScriptFacts,
) -> Loader:
    """Run a file that `read_script` accepted in the database of the session `admin`.

    `open_as` opens a session in that database as another user. The returned loader owns the objects
    that the file created, until `hand_over`.
    """
    role = loader_name(run)
    password = secrets.token_urlsafe(24)
    owner = str(
        admin.value("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'")
    )
    _make_role(admin, role, password)
    loader = Loader(replace(database, user=role, password=Secret(password)), owner)
    try:
        # Before anything of the file is run, because extension scripts run as a superuser.
        for name, (_, schema) in facts.extensions.items():
            made = f"SCHEMA IF NOT EXISTS {identifier(schema)}"
            admin.run(f"CREATE {made} AUTHORIZATION {identifier(role)}")
            where = f"WITH SCHEMA {identifier(schema)}"
            admin.run(f"CREATE EXTENSION IF NOT EXISTS {identifier(name)} {where}")
        admin.run(f"GRANT ALL ON DATABASE {identifier(admin.database)} TO {identifier(role)}")
        admin.run(f"ALTER SCHEMA public OWNER TO {identifier(role)}")
        with open_as(loader.login) as session:
            _run(session, path, facts)
    except BaseException:
        with contextlib.suppress(QuiesceError):
            drop_loader(admin, loader)
        raise
    return loader


def drop_loader(admin: Session, loader: Loader) -> None:
    """Drop the loader with everything that it created, after a failed load."""
    admin.run(f"ALTER SCHEMA public OWNER TO {identifier(loader.schema_owner)}")
    admin.run(f"DROP OWNED BY {identifier(loader.login.user)} CASCADE")
    admin.run(f"DROP ROLE {identifier(loader.login.user)}")


def hand_over(admin: Session, loader: Loader, owner: Owner) -> tuple[str, ...]:
    """Give the loader's objects to their owner, and drop the loader. Return the functions that ran
    with their owner's rights and now run with their caller's.

    Nothing here evaluates code of the file.
    """
    role = loader.login.user
    ensure(admin, owner)
    invokers = make_invokers(admin, role)
    admin.run(f"ALTER SCHEMA public OWNER TO {identifier(loader.schema_owner)}")
    # Foreign keys are checked as the table's owner.
    admin.run(f"GRANT USAGE ON SCHEMA public TO {identifier(owner.name)}")
    drop_role(admin, role, owner.name)
    return invokers


def drop_role(session: Session, role: str, heir: str) -> None:
    """Drop the role; `heir` gets the objects that it owns in the session's database."""
    if not session.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]):
        return
    session.run(f"REASSIGN OWNED BY {identifier(role)} TO {identifier(heir)}")
    session.run(f"DROP OWNED BY {identifier(role)}")
    session.run(f"DROP ROLE {identifier(role)}")


def _make_role(admin: Session, role: str, password: str) -> None:
    # Scrambled here: a server that logs statements would log a password as it is.
    scrambled = encrypted_password(admin, role, password)
    if admin.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]):
        admin.run(f"ALTER ROLE {identifier(role)} PASSWORD {literal(scrambled)}")
        return
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS"
    admin.run(f"CREATE ROLE {identifier(role)} {rights} PASSWORD {literal(scrambled)}")


def _run(session: Session, path: Path, facts: ScriptFacts) -> None:
    # The encoding of the file; SQL_ASCII would accept bytes that are not valid text.
    encoding = _ENCODINGS.get(facts.encoding.upper(), facts.encoding)
    session.run("SET search_path = public")
    session.run("SELECT set_config('client_encoding', %s, false)", [encoding])
    session.run("SET check_function_bodies = false")
    session.run("BEGIN")
    with sql_reader.opened(path) as view:
        for statement in sql_reader.statements(view):
            text = view[statement.start : statement.end]
            kind = judge(text[:65_536], statement.start).kind
            if kind in ("skip", "extension", "encoding"):
                continue
            try:
                if statement.data is None:
                    # The extension's schema exists already.
                    session.run_bytes(_SCHEMA.sub(rb"\1IF NOT EXISTS ", text, count=1))
                else:
                    session.copy_in(text, _Segment(view, statement))
            except SessionError as problem:
                line = sql_reader.line_at(view, statement.start)
                raise QuiesceError(
                    f"{path.name}, line {line}: {problem.fact}",
                    problem.hint or "nothing was changed; the new database is dropped",
                    details=problem.details,
                ) from problem
    # The file was read to its end twice, and was complete both times.
    session.run("COMMIT")


class _Segment:
    """The rows of one COPY, read in chunks."""

    def __init__(self, view: mmap.mmap, statement: Statement) -> None:
        self._view = view
        self._at, self._end = statement.data or (0, 0)

    def read(self, size: int = _CHUNK) -> bytes:
        """Return the next bytes, none at the end."""
        stop = min(self._at + size, self._end)
        chunk = self._view[self._at : stop]
        self._at = stop
        return chunk

    def readline(self, size: int = _CHUNK) -> bytes:
        """Like `read`: the caller accepts chunks of any size."""
        return self.read(size)
