"""Worlds for the contract of databases: the same server, of every engine and in memory.

A further engine needs a function that yields a `World`, and one line in `WORLDS`. Its server has
one database, `contractdb`, with a table `notes` that contains the rows `one` and `two`. Tests of
what only some engines do are marked `needs("capability")`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from quiesce.adapters.databases import EngineDatabases
from quiesce.adapters.mariadb.admin import MariaDbAdmin
from quiesce.adapters.migrations import AlembicMigrator
from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.model import Database
from quiesce.ports import DatabaseAdmin, DatabaseDriver, Migrator
from tests.fakes.databases import FakeDatabase, FakeDatabases, FakeMigrator
from tests.support import mariadb
from tests.support.engines import LESSER, Core, add_engine
from tests.support.postgres import LocalRuntime, new_database, shared_server

RUN = "20261121020000-ab12"
LIVE = "contractdb"
REVISIONS = ("c1", "c2")


@dataclass
class World:
    """One server with one live database, and ways around the port."""

    #: What the rest of Quiesce gets: the driver is behind it.
    admin: DatabaseAdmin
    database: Database
    #: Insert a row into `notes` of the database with this name.
    write: Callable[[str, str], None]
    #: The databases on the server, and whether clients can connect to them.
    names: Callable[[], dict[str, bool]]
    #: From now on the server does not answer.
    stop: Callable[[], None]
    #: Do not answer until somebody has looked.
    start_slowly: Callable[[], object]
    #: With the capability `migrations`.
    migrator: Migrator | None = None


#: Every world, with the marks of its tests.
WORLDS: Mapping[str, Sequence[pytest.MarkDecorator]] = {
    "fake": (),
    "lesser": (),
    "postgres": (pytest.mark.postgres,),
    "mariadb": (pytest.mark.mariadb,),
}


def open_world(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AbstractContextManager[World]:
    """Return the world of this name, which ends with the context."""
    if name == "lesser":
        # In memory as well, but with nothing but what every engine does.
        add_engine(monkeypatch)
        return _memory(LESSER)
    worlds = {
        "fake": lambda: _memory("postgres"),
        "postgres": lambda: _postgres(folder),
        "mariadb": lambda: _mariadb(folder),
    }
    return worlds[name]()


def behind(driver: DatabaseDriver, database: Database) -> DatabaseAdmin:
    """Return the adapter of a stack that declares this database only."""
    return EngineDatabases({database.engine: lambda: driver}, (database,))


@contextmanager
def _memory(engine: str) -> Iterator[World]:
    rows = FakeDatabase(tables={"notes": ("one", "two")})
    fake = FakeDatabases({"db": {LIVE: rows}}, RUN)
    fake.refusals["nobody"] = "db has no user nobody"

    def write(name: str, row: str) -> None:
        there = fake.servers["db"][name]
        there.tables["notes"] = (*there.tables["notes"], row)

    ini = Path("alembic.ini")
    database = Database(LIVE, LIVE, "db", "postgres", None, 5432, ini, engine=engine)
    yield World(
        behind(Core(fake) if engine == LESSER else fake, database),
        database,
        write,
        lambda: {name: there.is_open for name, there in fake.servers["db"].items()},
        lambda: fake.down.add("db"),
        lambda: fake.starting.update({"db": 1}),
        FakeMigrator(fake, {LIVE: REVISIONS}),
    )


@contextmanager
def _postgres(folder: Path) -> Iterator[World]:
    scratch = folder / "scratch"
    server = shared_server()
    statements = "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('one'), ('two')"
    with new_database(server, LIVE, statements) as there:
        runtime = LocalRuntime(server)
        database = replace(there, migrations=_history(folder))
        admin = behind(PostgresAdmin(runtime, [database], RUN, scratch=scratch), database)
        names = "SELECT datname, datallowconn FROM pg_database WHERE NOT datistemplate"
        yield World(
            admin,
            database,
            lambda name, row: server.run(f"INSERT INTO notes VALUES ('{row}')", name) and None,
            lambda: {str(name): bool(open_) for name, open_ in server.run(names)},
            lambda: setattr(runtime, "running", False),
            lambda: setattr(runtime, "running", False),
            AlembicMigrator(runtime.endpoint, RUN),
        )
        admin.close()


@contextmanager
def _mariadb(folder: Path) -> Iterator[World]:
    server = mariadb.shared_server()
    statements = "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('one'), ('two');"
    with mariadb.new_database(server, LIVE, statements) as there:
        runtime = mariadb.LocalRuntime(server)
        database = replace(there, engine="mariadb")
        admin = behind(MariaDbAdmin(runtime, [database], RUN, scratch=folder / "scratch"), database)
        names = "SELECT schema_name FROM information_schema.schemata"
        yield World(
            admin,
            database,
            lambda name, row: server.run(f"INSERT INTO notes VALUES ('{row}')", name) and None,
            lambda: {str(name): True for (name,) in server.run(names)},
            lambda: setattr(runtime, "running", False),
            lambda: setattr(runtime, "running", False),
        )
        admin.close()


def _history(folder: Path) -> Path:
    scripts = folder / "scripts"
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text(
        "from alembic import context\n"
        "context.configure(connection=context.config.attributes['connection'])\n"
        "with context.begin_transaction():\n    context.run_migrations()\n"
    )
    before = None
    for revision in REVISIONS:
        (scripts / "versions" / f"{revision}.py").write_text(
            f"from alembic import op\nrevision = {revision!r}\ndown_revision = {before!r}\n"
            f"def upgrade():\n    op.execute('CREATE TABLE of_{revision} ()')\n"
        )
        before = revision
    ini = folder / "alembic.ini"
    ini.write_text("[alembic]\nscript_location = %(here)s/scripts\npath_separator = os\n")
    return ini
