"""Finds the search path of a database's sessions, and lends it to functions temporarily.

A dump uses qualified names and is loaded with an empty search path, so that names are unambiguous.
But function bodies are strings and keep their names as written: a function that names a table
without its schema works for the application, and fails when a restore calls it for a check
constraint, an index, a generated column or a materialized view. Since PostgreSQL 17 the session's
own path does not help either: indexes and materialized views are built with a safe one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from quiesce.adapters.postgres.errors import Unreachable
from quiesce.adapters.postgres.session import Session, SessionError, identifier
from quiesce.errors import QuiesceError

# Without functions in C (which look up nothing), those that set a path themselves, and SQL bodies
# that were parsed at creation. Functions of extensions are included: earthdistance needs it.
_FUNCTIONS = """
SELECT p.oid, p.oid::pg_catalog.regprocedure::text, n.nspname, p.proconfig
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
   AND l.lanname NOT IN ('c', 'internal') AND p.prokind IN ('f', 'p', 'w') {parsed}
   AND NOT EXISTS (SELECT 1 FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%')
 ORDER BY p.oid
"""
_PARSED_SINCE = 140000
_SCHEMAS = """
SELECT nspname FROM pg_catalog.pg_namespace
 WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_'
 ORDER BY nspname COLLATE "C"
"""
_ROLES = """
SELECT substr(c, 13) FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) c
 WHERE c LIKE 'search_path=%' AND s.setdatabase IN
       (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
 ORDER BY s.setdatabase DESC, s.setrole
"""
#: PostgreSQL's default, if the path is not known.
USUAL = ("public",)
#: Error codes: a function, table, type or schema of this name does not exist.
_NAMES = frozenset({"42883", "42P01", "42704", "3F000"})

T = TypeVar("T")


def read_path(session: Session) -> tuple[str, ...]:
    """Return the schemas in which sessions of this database look up names, in order: those of
    Quiesce's own user, then those that are set for other roles. Inside a transaction."""
    found: list[str] = []
    session.run("SET LOCAL search_path TO DEFAULT")
    found += session.value("SELECT current_schemas(false)")
    for (text,) in session.rows(_ROLES):
        session.rows("SELECT set_config('search_path', %s, true)", [text])
        found += session.value("SELECT current_schemas(false)")
    session.run("SET LOCAL search_path = pg_catalog")
    return tuple(s for s in dict.fromkeys(found) if s != "pg_catalog")


def path_of(schemas: Iterable[str]) -> str:
    """Return a search path in SQL."""
    return ", ".join(map(identifier, dict.fromkeys(schemas))) or "''"


def read_in_transaction(session: Session, ask: Callable[[], T]) -> T:
    """Return what `ask` reads within a transaction of this session, and keep no locks for it.

    To plan a statement on a table, PostgreSQL evaluates the functions of the table's indexes, and
    fails if their bodies name tables that the session does not find. Then `ask` runs again with all
    schemas in the search path, ordered by name, so that the result is the same everywhere.
    """
    session.run("SAVEPOINT quiesce_asked")
    try:
        return ask()
    except SessionError as problem:
        if problem.sqlstate not in _NAMES:
            raise
        session.run("ROLLBACK TO SAVEPOINT quiesce_asked")
        every = path_of(("pg_catalog", *(name for (name,) in session.rows(_SCHEMAS))))
        session.run(f"SET LOCAL search_path = {every}")
        return ask()
    finally:
        # Locks on tables are kept by the exporting session; those on indexes would fill the lock
        # table.
        with contextlib.suppress(SessionError):
            session.run("ROLLBACK TO SAVEPOINT quiesce_asked")
            session.run("RELEASE SAVEPOINT quiesce_asked")


class TemporaryPaths:
    """Functions without their own search path, which get one until `restore`.

    Each looks up names in `path` first, then in its own schema, then in all others: an application
    may set a path when it connects, which is not recorded anywhere.
    """

    def __init__(self, session: Session, path: Sequence[str]) -> None:
        self._session = session
        self._path = tuple(path) or USUAL
        self._before: dict[int, object] = {}

    @property
    def session_path(self) -> str:
        """The path for a session, in SQL."""
        return path_of((*self._path, *self._schemas()))

    def apply(self, *, in_transaction: bool = False) -> None:
        """Give a path to every function that has none. May be called again for later functions.

        A function that the user does not own is not changed.
        """
        schemas = self._schemas()
        for oid, name, schema, config in self._functions():
            if oid in self._before:
                continue
            where = path_of(s for s in (*self._path, schema, *schemas) if s in schemas)
            if self._alter(f"ALTER ROUTINE {name} SET search_path TO {where}", in_transaction):
                self._before[oid] = config

    def restore(self) -> None:
        """Restore the settings of every function. Raise QuiesceError for one that differs."""
        names: dict[int, str] = dict(
            self._session.rows(
                "SELECT oid, oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc"
                " WHERE oid = ANY (%s::oid[])",
                [list(self._before)],
            )
        )
        for name in names.values():
            self._session.run(f"ALTER ROUTINE {name} RESET search_path")
        now: dict[int, object] = dict(
            self._session.rows(
                "SELECT oid, proconfig FROM pg_catalog.pg_proc WHERE oid = ANY (%s::oid[])",
                [list(names)],
            )
        )
        if changed := [names[oid] for oid in names if now.get(oid) != self._before[oid]]:
            raise QuiesceError(
                f"function {changed[0]} of {self._session.where} still has changed settings",
                "nothing was exchanged; try again",
            )
        self._before.clear()

    def _functions(self) -> list[tuple[int, str, str, object]]:
        parsed = "AND p.prosqlbody IS NULL" if self._session.version >= _PARSED_SINCE else ""
        return [*self._session.rows(_FUNCTIONS.replace("{parsed}", parsed))]

    def _schemas(self) -> list[str]:
        return [name for (name,) in self._session.rows(_SCHEMAS)]

    def _alter(self, statement: str, in_transaction: bool) -> bool:  # noqa: FBT001
        if in_transaction:
            self._session.run("SAVEPOINT quiesce_path")
        try:
            self._session.run(statement)
        except Unreachable:
            raise
        except SessionError:
            if in_transaction:
                self._session.run("ROLLBACK TO SAVEPOINT quiesce_path")
            return False
        if in_transaction:
            self._session.run("RELEASE SAVEPOINT quiesce_path")
        return True
