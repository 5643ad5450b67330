"""`RESTORE.md`, pasted as it stands into a shell beside an empty server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.adapters.sets.local import LocalStore
from quiesce.execute.comparison import differences, row_differences
from quiesce.execute.database_settings import settings_file, write_settings
from quiesce.execute.instructions import restore_instructions
from quiesce.model import BackupSet, DatabaseRecord, MemberKind, SetKind
from tests.support.builders import NOW, a_set
from tests.support.byhand import paste
from tests.support.postgres import (
    LocalRuntime,
    PostgresServer,
    installed,
    new_database,
    nothing,
    quoted,
    shared_server,
)

pytestmark = pytest.mark.postgres

RUN = "20261121020000-ab12"
#: Taken for a connection string where it is not quoted; all that a shell, SQL and libpq dislike.
NAMES = ("plain", "host=nowhere 'O''Hara' $(id) `id` \\ \"grüße\" 2", "-U", "postgresql://x/y")
OWNER, READER = 'an "owner"', "web's"
SCHEMA = """
CREATE TABLE "t'able" (id int PRIMARY KEY, parent int REFERENCES "t'able");
CREATE TABLE parts (n int) PARTITION BY RANGE (n);
CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
CREATE EXTENSION hstore
"""
ROWS = """
INSERT INTO "t'able" VALUES (1, NULL), (2, 1);
INSERT INTO parts VALUES (3);
INSERT INTO alembic_version VALUES ('a1')
"""


@pytest.fixture(scope="module")
def empty() -> Iterator[PostgresServer]:
    """A server that has nothing but what initdb made."""
    programs = installed()
    if not programs:
        pytest.skip("no PostgreSQL is installed")
    there = PostgresServer(programs[max(programs)])
    yield there
    there.remove()


@pytest.fixture(params=NAMES)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[PostgresServer, str]]:
    """A server with a database of this name, roles that own and may read, settings and rows."""
    server, name = shared_server(), request.param
    server.run(f"CREATE ROLE {quoted(OWNER)}")
    server.run(f"CREATE ROLE {quoted(READER)} LOGIN")
    try:
        with new_database(server, name, SCHEMA + ";" + ROWS):
            server.run(f'ALTER TABLE "t\'able" OWNER TO {quoted(OWNER)}', name)
            server.run(f'GRANT SELECT ON "t\'able" TO {quoted(READER)}', name)
            server.run(f"ALTER DATABASE {quoted(name)} OWNER TO {quoted(OWNER)}")
            server.run(f"ALTER DATABASE {quoted(name)} SET work_mem TO '5MB'")
            server.run(f"COMMENT ON DATABASE {quoted(name)} IS 'of a ; kind\n:its own'")
            yield server, name
    finally:
        server.run(f"DROP ROLE {quoted(OWNER)}")
        server.run(f"DROP ROLE {quoted(READER)}")


def a_set_of(
    server: PostgresServer, name: str, kind: SetKind, folder: Path
) -> tuple[BackupSet, DatabaseRecord]:
    """A published set of this one database, with the page it explains itself by."""
    database = server.database(name, key="base")
    admin = PostgresAdmin(LocalRuntime(server), [database], RUN)
    store = LocalStore(folder / "backups")
    staged = store.open(RUN, "core-20261121-020000")
    record = admin.dump(database, kind, staged, "databases/base.dump", nothing)
    admin.dump_globals("db", staged, "databases/globals.sql")
    members: list[tuple[str, MemberKind, str]] = [
        ("databases/base.dump", "database", "base"),
        ("databases/globals.sql", "globals", "db"),
    ]
    if record.settings:
        write_settings(staged / settings_file("base"), record.settings)
        members.append((settings_file("base"), "settings", "base"))
    measured = tuple(store.measure(RUN, staged.name, *member) for member in members)
    manifest = replace(
        a_set(staged.name).manifest, kind=kind, created_at=NOW, name=staged.name,
        members=tuple(one.member for one in measured), databases=(record,), volumes=(),
    )  # fmt: skip
    page = restore_instructions(manifest)
    return store.seal(RUN, manifest, {"RESTORE.md": page.encode()}, measured), record


def forget(server: PostgresServer, name: str) -> None:
    """Nothing of the paste is left."""
    server.run(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
    for role in (OWNER, READER):
        server.run(f"DROP ROLE IF EXISTS {quoted(role)}")


@pytest.mark.parametrize("kind", ["full", "schema"])
def test_a_page_that_is_pasted_gives_the_database_with_its_owners(
    made: tuple[PostgresServer, str], empty: PostgresServer, kind: SetKind, tmp_path: Path
) -> None:
    """Roles first, then the database with owner, grants, settings, comment, whatever its name."""
    server, name = made
    backup, record = a_set_of(server, name, kind, tmp_path)
    try:
        paste(backup.path, empty)
        there = empty.database(name, key="base")
        admin = PostgresAdmin(LocalRuntime(empty), [there], RUN)
        contents = admin.contents(there, name, record.digest_algorithm)
        if kind == "full":
            assert differences(record, contents) == ()
        assert len(contents.tables) == len(record.tables) == 4
        again = admin.dump(there, kind, tmp_path, "again.dump", nothing)
        for field in ("owner", "settings", "roles", "encoding", "collate", "locale", "extensions"):
            assert getattr(again, field) == getattr(record, field)
        owners = empty.run("SELECT pg_get_userbyid(relowner), relacl::text FROM pg_class"
                           " WHERE relname = 't''able'", name)  # fmt: skip
        assert owners[0][0] == OWNER
        assert READER in str(owners[0][1])
    finally:
        forget(empty, name)


def test_rows_that_are_pasted_replace_seed_rows(
    made: tuple[PostgresServer, str], empty: PostgresServer, tmp_path: Path
) -> None:
    """Onto the schema as migrations made it, whose own revision stays the only one."""
    server, name = made
    backup, record = a_set_of(server, name, "data", tmp_path)
    empty.run(f"CREATE DATABASE {quoted(name)}")
    empty.run(SCHEMA, name)
    empty.run("INSERT INTO alembic_version VALUES ('a1'); INSERT INTO \"t'able\" VALUES (7)", name)
    try:
        paste(backup.path, empty)
        there = empty.database(name, key="base")
        admin = PostgresAdmin(LocalRuntime(empty), [there], RUN)
        contents = admin.contents(there, name, record.digest_algorithm)
        assert row_differences(record, contents, frozenset()) == ()
        assert contents.revision == ("a1",)
    finally:
        forget(empty, name)
