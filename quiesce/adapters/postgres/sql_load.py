"""Loading somebody's SQL file into a new database, as a role that can do no harm.

The role owns the new database's schema and nothing else, is no superuser and cannot become one:
it logs in by itself, so no `SET ROLE` in a function leads back. Everything that may evaluate code
of the file is done by it: loading, migrations, ANALYZE. What it made is handed over at the end, to
an owner without rights (`postgres_handover`), and the role is dropped. A run that dies leaves it;
dropping the database drops it too.
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

#: So many bytes of a COPY block are sent at a time.
_SUBPATH = 1024 * 1024
_SCHEMA = re.compile(rb"\A(CREATE SCHEMA )(?!IF NOT)")
_ENCODINGS = {"SQL_ASCII": "UTF8"}


@dataclass(frozen=True, slots=True)
class Loader:
    """The role that loaded a file: how it logs in, and who owned the schema `public` before."""

    login: Database
    schema_owner: str


def loader_name(run: str) -> str:
    """Return the name of the role that loads files for this run."""
    return f"quiesce_loader_{suffix_of(run)}"


def missing(session: Session, facts: ScriptFacts) -> tuple[tuple[str, int], ...]:
    """Return what the file wants and the server lacks, in words, with where it is wanted."""
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
    """Run a file that `read_script` let through in the database that `admin` has a session with.

    `open_as` opens a session with that database as another user. What the file made belongs to
    the loader that is returned, until `hand_over`.
    """
    role = loader_name(run)
    password = secrets.token_urlsafe(24)
    owner = str(
        admin.value("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'")
    )
    _make_role(admin, role, password)
    loader = Loader(replace(database, user=role, password=Secret(password)), owner)
    try:
        # Before anything of the file is there: scripts of extensions run as a superuser.
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
            give_up(admin, loader)
        raise
    return loader


def give_up(admin: Session, loader: Loader) -> None:
    """Drop what the loader made, and the loader: nobody gets what did not load."""
    admin.run(f"ALTER SCHEMA public OWNER TO {identifier(loader.schema_owner)}")
    admin.run(f"DROP OWNED BY {identifier(loader.login.user)} CASCADE")
    admin.run(f"DROP ROLE {identifier(loader.login.user)}")


def hand_over(admin: Session, loader: Loader, owner: Owner) -> tuple[str, ...]:
    """Give what the loader made to its owner, and drop the loader. Return the functions that ran
    with their owner's rights and now run with their caller's.

    Nothing in here evaluates code of the file.
    """
    role = loader.login.user
    ensure(admin, owner)
    invokers = make_invokers(admin, role)
    admin.run(f"ALTER SCHEMA public OWNER TO {identifier(loader.schema_owner)}")
    # The keys of a table are looked up as its owner.
    admin.run(f"GRANT USAGE ON SCHEMA public TO {identifier(owner.name)}")
    drop_role(admin, role, owner.name)
    return invokers


def drop_role(session: Session, role: str, heir: str) -> None:
    """No such role; what it owns in the session's database is the heir's."""
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
    # What the bytes of the file are in; SQL_ASCII would let through what is no text at all.
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
                    # The schema of an extension is there already.
                    session.run_bytes(_SCHEMA.sub(rb"\1IF NOT EXISTS ", text, count=1))
                else:
                    session.copy_bytes(text, _Segment(view, statement))
            except SessionError as problem:
                line = sql_reader.line_at(view, statement.start)
                raise QuiesceError(
                    f"{path.name}, line {line}: {problem.fact}",
                    problem.hint or "nothing was changed; the new database is dropped",
                    details=problem.details,
                ) from problem
    # The file was read to its end twice by now, and said to be complete both times.
    session.run("COMMIT")


class _Segment:
    """The rows of one COPY, read piece by piece."""

    def __init__(self, view: mmap.mmap, statement: Statement) -> None:
        self._view = view
        self._at, self._end = statement.data or (0, 0)

    def read(self, size: int = _SUBPATH) -> bytes:
        """Return the next bytes, none at the end."""
        stop = min(self._at + size, self._end)
        subpath = self._view[self._at : stop]
        self._at = stop
        return subpath

    def readline(self, size: int = _SUBPATH) -> bytes:
        """The same: whoever copies takes pieces as they come."""
        return self.read(size)
