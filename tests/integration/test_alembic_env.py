"""Migrations through Alembic's own API, in children, against a real server."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quiesce.adapters import migrations
from quiesce.adapters.migrations import AlembicMigrator
from quiesce.errors import QuiesceError
from quiesce.model import Database
from tests.support.postgres import (
    PASSWORD,
    LocalRuntime,
    PostgresServer,
    new_database,
    shared_server,
    wait_until,
)

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).resolve().parents[2]
RUN = "20261121020000-ab12"
LIVE, SIDE = "migrated", "migrated__new_ab12"
GOOD = """
from alembic import context
context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
"""
FOREIGN = """
from alembic import context
from sqlalchemy import create_engine
engine = create_engine("postgresql+psycopg2://", connect_args={connect!r})
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
Maker = Callable[..., Database]


@pytest.fixture
def server() -> PostgresServer:
    """The server that all these tests share."""
    return shared_server()


@pytest.fixture
def migrator(server: PostgresServer) -> AlembicMigrator:
    """The adapter under test."""
    return AlembicMigrator(LocalRuntime(server).endpoint, RUN)


@pytest.fixture
def make(server: PostgresServer, tmp_path: Path) -> Iterator[Maker]:
    """Make the live database and a side one, with a history of these revisions."""
    with new_database(server, LIVE):
        server.run(f"CREATE DATABASE {SIDE}")

        def maker(
            upgrades: dict[str, str],
            *,
            env: str = GOOD,
            before: dict[str, object] | None = None,
            folder: str = "one",
            config: str = "",
        ) -> Database:
            scripts = tmp_path / folder / "scripts"
            (scripts / "versions").mkdir(parents=True)
            (scripts / "env.py").write_text(env)
            last: object = None
            for revision, body in upgrades.items():
                down = (before or {}).get(revision, last)
                (scripts / "versions" / f"{revision}.py").write_text(
                    f"from alembic import op\nrevision = {revision!r}\ndown_revision = {down!r}\n"
                    f"def upgrade():\n    {body}\n"
                )
                last = revision
            ini = tmp_path / folder / "alembic.ini"
            ini.write_text(
                "[alembic]\nscript_location = %(here)s/scripts\npath_separator = os\n" + config
            )
            return server.database(LIVE, migrations=ini)

        yield maker


def table(name: str) -> str:
    """A revision that makes a table."""
    return f"op.execute('CREATE TABLE {name} (a int)')"


def names(server: PostgresServer, database: str) -> set[str]:
    """The tables of a database."""
    found = server.run(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384", database
    )
    return {str(name) for (name,) in found}


@pytest.mark.parametrize(
    ("ini", "extension"), [("alembic.ini", None), ("alembic_memorydb.ini", "vector")]
)
def test_the_histories_of_this_stack_migrate_a_side_database(
    server: PostgresServer,
    migrator: AlembicMigrator,
    make: Maker,
    ini: str,
    extension: str | None,
) -> None:
    """From nothing to the head, beside a live database that stays empty."""
    if extension and not server.run(
        f"SELECT 1 FROM pg_available_extensions WHERE name = '{extension}'"
    ):
        pytest.skip(f"the server has no {extension}")
    make({})
    database = server.database(LIVE, migrations=ROOT / ini)
    (head,) = migrator.heads(database)
    pending = migrator.pending(database, ())
    assert pending[-1] == head
    migrator.upgrade(database, SIDE, pending[0])
    assert migrator.pending(database, migrator.current(database, SIDE)) == pending[1:]
    migrator.upgrade(database, SIDE, "head")
    assert migrator.current(database, SIDE) == (head,)
    assert names(server, LIVE) == set()


def test_two_environments_do_not_share_modules(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker, tmp_path: Path
) -> None:
    """Both import `models`; in one process the second would silently get the first one's."""
    body = "import models; op.execute(f'CREATE TABLE {models.NAME} ()')"
    settings = "prepend_sys_path = %(here)s\n"
    for folder in ("one", "two"):
        database = make({f"r{folder}": body}, folder=folder, config=settings)
        (tmp_path / folder / "models.py").write_text(f"NAME = 'of_{folder}'\n")
        server.run("DROP TABLE IF EXISTS alembic_version", SIDE)
        migrator.upgrade(database, SIDE, "head")
    assert names(server, SIDE) == {"of_one", "of_two", "alembic_version"}


def test_an_environment_that_goes_elsewhere_migrates_nothing(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker
) -> None:
    """It connects to the live database by itself: refused before anything is migrated."""
    connect = {
        "host": "127.0.0.1", "port": server.port, "user": "postgres", "password": PASSWORD,
        "dbname": LIVE,
    }  # fmt: skip
    database = make({"a1": table("t")}, env=FOREIGN.format(connect=connect))
    with pytest.raises(QuiesceError, match="does not use the connection") as failure:
        migrator.upgrade(database, SIDE, "head")
    assert "config.attributes['connection']" in failure.value.hint
    assert names(server, LIVE) == names(server, SIDE) == set()


def test_an_environment_that_does_nothing_is_noticed(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker
) -> None:
    """No error and no migration is an error."""
    database = make({"a1": table("t")}, env="")
    with pytest.raises(QuiesceError, match="does not use the connection"):
        migrator.upgrade(database, SIDE, "head")


def test_a_failing_migration_says_what_and_changes_nothing_of_it(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker
) -> None:
    """In the server's own words, without the password, the traceback's noise or a half table."""
    database = make({"a1": f"{table('t')}; op.execute('SELECT 1/0')"})
    with pytest.raises(QuiesceError, match="division by zero") as failure:
        migrator.upgrade(database, SIDE, "head")
    everything = f"{failure.value} {failure.value.hint} {failure.value.details}"
    assert PASSWORD not in everything
    assert "t" not in names(server, SIDE)
    sessions = f"SELECT 1 FROM pg_stat_activity WHERE application_name = 'quiesce:{RUN}'"
    wait_until(lambda: not server.run(sessions), "no session is left")


def test_a_password_in_what_a_migration_says_is_blotted_out(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker
) -> None:
    """An env.py may print its URL, and a migration may raise it."""
    shown = f"print({PASSWORD!r}); raise RuntimeError({PASSWORD!r})"
    database = make({"a1": shown})
    with pytest.raises(QuiesceError, match=r"RuntimeError: \*\*\*") as failure:
        migrator.upgrade(database, SIDE, "head")
    assert PASSWORD not in str(failure.value.details)


def test_what_a_migration_prints_is_not_taken_for_an_answer(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker
) -> None:
    """Through print, through the descriptor, and at exit."""
    noisy = "import os, atexit; print('{}'); os.write(1, b'{}'); atexit.register(print, '{}')"
    database = make({"a1": f"{noisy}; {table('t')}"})
    migrator.upgrade(database, SIDE, "head")
    assert "t" in names(server, SIDE)


def test_a_migration_gives_up_waiting_for_a_lock(
    server: PostgresServer,
    migrator: AlembicMigrator,
    make: Maker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every reader of the table would queue behind it."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "500ms")
    database = make({"a1": table("t"), "a2": "op.execute('ALTER TABLE t ADD b int')"})
    migrator.upgrade(database, SIDE, "a1")
    reader = server.connect(SIDE)
    reader.autocommit = False
    reader.cursor().execute("SELECT * FROM t")
    with pytest.raises(QuiesceError, match="lock timeout") as failure:
        migrator.upgrade(database, SIDE, "head")
    assert "in use" in failure.value.hint
    reader.close()
    migrator.upgrade(database, SIDE, "head")


def test_two_rows_of_one_line_are_refused_with_what_to_do(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker
) -> None:
    """What a careless data-only restore leaves: later upgrades would fail or do nothing."""
    database = make({"a1": table("t"), "a2": table("u")})
    migrator.upgrade(database, SIDE, "head")
    server.run("INSERT INTO alembic_version VALUES ('a1')", SIDE)
    with pytest.raises(QuiesceError, match="is recorded at a1 and at a2") as failure:
        migrator.upgrade(database, SIDE, "head")
    assert "delete" in failure.value.hint


def test_an_unknown_revision_in_the_database_is_refused(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker
) -> None:
    """The database is of newer code: named, and nothing done."""
    database = make({"a1": table("t")})
    migrator.upgrade(database, SIDE, "head")
    server.run("UPDATE alembic_version SET version_num = 'z9'", SIDE)
    with pytest.raises(QuiesceError, match="z9 is unknown") as failure:
        migrator.upgrade(database, SIDE, "head")
    assert "check out" in failure.value.hint


def test_branches_are_told_and_migrated_as_heads(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker
) -> None:
    """Several rows are right only then."""
    database = make(
        {"a1": table("t"), "b1": table("u"), "b2": table("v")}, before={"b1": "a1", "b2": "a1"}
    )
    assert migrator.heads(database) == ("b1", "b2")
    with pytest.raises(QuiesceError, match="several heads: b1, b2"):
        migrator.upgrade(database, SIDE, "head")
    migrator.upgrade(database, SIDE, "heads")
    assert set(migrator.current(database, SIDE)) == {"b1", "b2"}
    assert migrator.pending(database, ("b1",)) == ("b2",)


def test_a_broken_script_is_a_fact_and_not_a_traceback(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker
) -> None:
    """Found while looking, before anything is changed."""
    database = make({"a1": "def (:"})
    with pytest.raises(QuiesceError, match="migrations of migrated: SyntaxError"):
        migrator.heads(database)


def test_the_version_table_may_have_another_name(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker
) -> None:
    """An env.py chooses its name and schema; the only table of that shape is the one."""
    env = GOOD.replace("attributes[\"connection\"])", "attributes[\"connection\"],\n    "
                       "version_table='Other Versions', version_table_schema='meta')")  # fmt: skip
    server_side = make({"a1": table("t")}, env=env)
    server.run("CREATE SCHEMA meta", SIDE)
    migrator.upgrade(server_side, SIDE, "head")
    assert migrator.current(server_side, SIDE) == ("a1",)


def test_no_password_is_in_the_arguments_of_the_child(
    server: PostgresServer, migrator: AlembicMigrator, make: Maker, tmp_path: Path
) -> None:
    """Seen from inside, where /proc shows the same as everywhere; nor in its environment."""
    seen = tmp_path / "seen"
    look = (
        "import pathlib, os; p = pathlib.Path('/proc/self'); "
        f"pathlib.Path({str(seen)!r}).write_bytes(p.joinpath('cmdline').read_bytes()"
        " + p.joinpath('environ').read_bytes())"
    )
    database = make({"a1": look})
    migrator.upgrade(database, SIDE, "head")
    assert b"quiesce.adapters.migrations" in seen.read_bytes()
    assert PASSWORD.encode() not in seen.read_bytes()


def test_the_alembic_command_itself_works_too(server: PostgresServer, make: Maker) -> None:
    """`alembic upgrade head` from the shell, with the address in the environment."""
    make({})
    import sys

    completed = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={
            "POSTGRES_PORT": str(server.port), "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": PASSWORD, "RULESDB_NAME": SIDE, "PATH": "/usr/bin:/bin",
        },
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    assert "alembic_version" in names(server, SIDE)
