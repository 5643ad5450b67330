"""Dump, load beside, compare: identical for every hostile schema, on every installed major."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.adapters.postgres.dump_toc import read_archive
from quiesce.errors import QuiesceError
from quiesce.execute.comparison import differences
from tests.support.hostile import NEEDS, ROLES, SCHEMAS
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
DUMP = "databases/x.dump"
MAJORS = sorted(installed()) or [None]

SHAPES = """
SELECT 'trigger', tgname, tgenabled::text, '' FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'index', relname, indisvalid::text, pg_get_indexdef(indexrelid)
  FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indexrelid >= 16384
   AND relnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT 'constraint', conname, convalidated::text, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE oid >= 16384
UNION ALL SELECT 'relation', oid::regclass::text, relkind::text || relispopulated::text
  || relpersistence::text, pg_get_userbyid(relowner) || coalesce(relacl::text, '')
  FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL SELECT 'policy', polname, '', pg_get_expr(polqual, polrelid) FROM pg_policy
UNION ALL SELECT 'function', oid::regprocedure::text, '', coalesce(proacl::text, '')
  FROM pg_proc WHERE oid >= 16384 AND pronamespace <> 'pg_catalog'::regnamespace
UNION ALL SELECT 'default', defaclobjtype::text, '', defaclacl::text FROM pg_default_acl
UNION ALL SELECT 'event', evtname, evtenabled::text, '' FROM pg_event_trigger
 ORDER BY 1, 2, 3, 4
"""


@pytest.fixture(params=MAJORS, ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest) -> PostgresServer:
    """A running server of each installed major, with the roles of the hostile schemas."""
    there = shared_server(request.param)
    for role in ROLES:
        if not there.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
            there.run(f"CREATE ROLE {quoted(role)}")
    return there


@pytest.mark.parametrize("hazard", SCHEMAS)
def test_a_loaded_dump_is_identical(server: PostgresServer, hazard: str, tmp_path: Path) -> None:
    """Every table, sequence and large object by content, and every trigger, index, constraint,
    owner and grant by its definition."""
    needed = NEEDS.get(hazard, "plpgsql")
    if not server.run(f"SELECT 1 FROM pg_available_extensions WHERE name = '{needed}'"):
        pytest.skip(f"PostgreSQL {server.major} has no extension {needed} here")
    with new_database(server, "hostile", SCHEMAS[hazard]) as database:
        admin = PostgresAdmin(LocalRuntime(server), [database], RUN)
        side = "hostile__new_ab12"
        record = admin.dump(database, "full", tmp_path, DUMP, nothing)
        assert admin.check_loadable(database, record) == ()
        admin.create(database, side, record)
        admin.load(database, side, tmp_path, DUMP)
        contents = admin.contents(database, side, record.digest_algorithm)
        assert differences(record, contents) == ()
        assert len(record.tables) > 0
        admin.finish(database, side, record)
        again = admin.contents(database, side, record.digest_algorithm)
        assert again == contents
        assert server.run(SHAPES, side) == server.run(SHAPES, "hostile")


@pytest.mark.parametrize("hazard", SCHEMAS)
def test_the_table_of_contents_is_read_as_pg_restore_reads_it(
    server: PostgresServer, hazard: str, tmp_path: Path
) -> None:
    """Sequences come from the archive itself, so every setval in it has to be understood."""
    needed = NEEDS.get(hazard, "plpgsql")
    if not server.run(f"SELECT 1 FROM pg_available_extensions WHERE name = '{needed}'"):
        pytest.skip(f"PostgreSQL {server.major} has no extension {needed} here")
    with new_database(server, "hostile", SCHEMAS[hazard]) as database:
        runtime = LocalRuntime(server)
        admin = PostgresAdmin(runtime, [database], RUN)
        record = admin.dump(database, "full", tmp_path, DUMP, nothing)
        runtime.run_tool(
            "db",
            ["pg_restore", "--list", "--file={directory}/toc", f"{{directory}}/{DUMP}"],
            environment={}, directory=tmp_path, writable=True, label=RUN,
        )  # fmt: skip
        archive = read_archive(tmp_path / DUMP)
        listed = (tmp_path / "toc").read_text()
        entries = [line for line in listed.splitlines() if line[:1].isdigit()]
        for kind in ("TABLE DATA", "SEQUENCE SET", "FK CONSTRAINT", "POLICY"):
            assert sum(entry.kind == kind for entry in archive.entries) == sum(
                f" {kind} " in line for line in entries
            )
        assert archive.server_version.split(".")[0] == str(server.major)
        assert record.client_version == archive.client_version
        there = admin.contents(database, "hostile", record.digest_algorithm).sequences
        assert archive.sequences() == tuple(replace(s, owner=()) for s in there)
        assert record.sequences == there


def test_settings_grants_and_owner_follow_to_another_name(
    server: PostgresServer, tmp_path: Path
) -> None:
    """They belong to the database object, so neither the dump nor the rename brings them."""
    with new_database(server, "hostile", SCHEMAS["settings"]) as database:
        admin = PostgresAdmin(LocalRuntime(server), [database], RUN)
        record = admin.dump(database, "full", tmp_path, DUMP, nothing)
        for side, given in (("hostile__new_ab12", record), ("hostile__two_ab12", None)):
            admin.create(database, side, given)
            admin.load(database, side, tmp_path, DUMP)
            admin.finish(database, side, given)
            admin.unmark_made(database, side)
            assert describe(server, side) == describe(server, "hostile")
            assert server.run("SELECT count(*) > 0 FROM pg_stats WHERE schemaname = 'public'", side)


def describe(server: PostgresServer, name: str) -> list[tuple[object, ...]]:
    """Everything that hangs on the database object, without its name and without our mark."""
    return server.run(
        "SELECT pg_get_userbyid(datdba), datconnlimit, encoding, datcollate, datctype,"
        " (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),"
        " shobj_description(d.oid, 'pg_database'),"
        " (SELECT array_agg(setrole::regrole::text || ' ' || pair ORDER BY setrole, pair)"
        "    FROM pg_db_role_setting s, unnest(s.setconfig) pair"
        "   WHERE s.setdatabase = d.oid AND pair NOT LIKE 'quiesce.%')"
        f" FROM pg_database d WHERE datname = '{name}'"
    )


def test_a_swapped_database_records_the_same_settings_again(
    server: PostgresServer, tmp_path: Path
) -> None:
    """Our own mark on a restored database is no setting of its owner."""
    with new_database(server, "hostile", SCHEMAS["settings"]) as database:
        admin = PostgresAdmin(LocalRuntime(server), [database], RUN)
        record = admin.dump(database, "full", tmp_path, DUMP, nothing)
        admin.create(database, "hostile__new_ab12", record)
        admin.load(database, "hostile__new_ab12", tmp_path, DUMP)
        admin.finish(database, "hostile__new_ab12", record)
        side = server.database("hostile__new_ab12")
        again = admin.dump(side, "full", tmp_path, "again.dump", nothing)
        renamed = [text.replace("hostile__new_ab12", "hostile") for text in again.settings]
        assert renamed == list(record.settings)
        assert again.owner == record.owner


@pytest.mark.parametrize("kind", ["latin1", "ascii"])
def test_other_encodings_come_back_as_they_were(
    server: PostgresServer, kind: str, tmp_path: Path
) -> None:
    """The side database has the encoding of the record, so not a byte is converted."""
    encoding = {"latin1": "LATIN1", "ascii": "SQL_ASCII"}[kind]
    server.run(
        f"CREATE DATABASE hostile_enc TEMPLATE template0 ENCODING '{encoding}'"
        " LC_COLLATE 'C' LC_CTYPE 'C'" + (" LOCALE_PROVIDER libc" if server.major >= 17 else "")
    )
    database = server.database("hostile_enc")
    try:
        server.run("CREATE TABLE t (v text)", "hostile_enc")
        connection = server.connect("hostile_enc")
        connection.set_client_encoding("LATIN1" if kind == "latin1" else "SQL_ASCII")
        with connection.cursor() as cursor:
            cursor.execute(b"INSERT INTO t VALUES ('\xe9\xff'), ('plain')")
        connection.close()
        admin = PostgresAdmin(LocalRuntime(server), [database], RUN)
        record = admin.dump(database, "full", tmp_path, DUMP, nothing)
        assert record.encoding == encoding
        admin.create(database, "hostile_enc__new_ab12", record)
        admin.load(database, "hostile_enc__new_ab12", tmp_path, DUMP)
        contents = admin.contents(database, "hostile_enc__new_ab12", record.digest_algorithm)
        assert differences(record, contents) == ()
        assert record.tables[0].rows == 2
    finally:
        for name in ("hostile_enc", "hostile_enc__new_ab12"):
            server.run(f"DROP DATABASE IF EXISTS {name}")


def test_equal_row_counts_with_other_contents_are_told_apart(
    server: PostgresServer, tmp_path: Path
) -> None:
    """A count proves little: one changed value, and two equal rows that replaced two others."""
    with new_database(server, "hostile", "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)"):
        database = server.database("hostile")
        admin = PostgresAdmin(LocalRuntime(server), [database], RUN)
        record = admin.dump(database, "full", tmp_path, DUMP, nothing)
        server.run("UPDATE t SET a = 2", "hostile")
        found = admin.contents(database, "hostile", record.digest_algorithm)
        assert found.tables[0].rows == record.tables[0].rows
        assert found.tables[0].digest != record.tables[0].digest


@pytest.mark.long
def test_a_row_that_is_longer_than_a_text_can_be_is_digested_by_columns(
    server: PostgresServer, tmp_path: Path
) -> None:
    """600 MB in one value: the digest works, the dump cannot, and says so in the server's words."""
    statements = """
        CREATE TABLE wide (a bytea, b text); ALTER TABLE wide ALTER a SET STORAGE EXTERNAL;
        WITH part AS (SELECT decode(repeat('00ff', 100000000), 'hex') AS d)
        INSERT INTO wide SELECT d || d || d, 'x' FROM part;
    """
    with new_database(server, "hostile", statements) as database:
        admin = PostgresAdmin(LocalRuntime(server), [database], RUN)
        (table,) = admin.contents(database, "hostile", "hashtextextended-sum/1").tables
        assert (table.rows, table.digest[:5]) == (1, "wide:")
        with pytest.raises(QuiesceError, match="invalid memory alloc request size"):
            admin.dump(database, "full", tmp_path, DUMP, nothing)


@pytest.mark.skipif(len(MAJORS) < 2, reason="only one major of PostgreSQL is installed")
@pytest.mark.parametrize("hazard", ["names", "sequences", "values", "partitions", "keys"])
def test_a_dump_loads_into_a_newer_server_and_not_into_an_older(
    hazard: str, tmp_path: Path
) -> None:
    """The digests agree across majors; the other way round is refused before anything happens."""
    old, new = shared_server(MAJORS[0]), shared_server(MAJORS[-1])
    side = "hostile__new_ab12"
    with new_database(old, "hostile", SCHEMAS[hazard]) as database:
        admin = PostgresAdmin(LocalRuntime(old), [database], RUN)
        record = admin.dump(database, "full", tmp_path, DUMP, nothing)
    with new_database(new, "hostile", SCHEMAS[hazard]) as database:
        admin = PostgresAdmin(LocalRuntime(new), [database], RUN)
        record = replace(record, locale_provider="libc", collate="C", ctype="C")
        assert admin.check_loadable(database, record) == ()
        admin.create(database, side, record)
        admin.load(database, side, tmp_path, DUMP)
        contents = admin.contents(database, side, record.digest_algorithm)
        assert differences(record, contents) == ()
        newer = admin.dump(database, "schema", tmp_path, DUMP, nothing)
    with new_database(old, "hostile") as database:
        admin = PostgresAdmin(LocalRuntime(old), [database], RUN)
        assert "the server is older" in admin.check_loadable(database, newer)[0]
