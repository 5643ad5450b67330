"""Rows alone, onto a schema that is there: identical for every hostile schema, or refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.errors import NotRestorable, QuiesceError, RequestError
from quiesce.execute.comparison import row_differences, rows_misfit
from quiesce.model import Database, DatabaseRecord
from quiesce.ports import DatabaseContents, Drift
from tests.integration.test_postgres_content import SHAPES
from tests.support.hostile import NEEDS, ROLES, SCHEMAS
from tests.support.postgres import (
    PASSWORD,
    LocalRuntime,
    PostgresServer,
    new_database,
    nothing,
    quoted,
    shared_server,
    wait_until,
)

pytestmark = pytest.mark.postgres

RUN = "20261121020000-ab12"
DUMP, SIDE = "databases/x.dump", "hostile__new_ab12"
#: Every row away, in whatever order, with nobody listening.
EMPTIED = """
SET TRANSACTION READ WRITE; SET session_replication_role = replica;
DO $$ DECLARE t regclass; BEGIN
  FOR t IN SELECT c.oid FROM pg_class c WHERE relkind = 'r' AND c.oid >= 16384
     AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_')
     AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
  LOOP EXECUTE format('DELETE FROM ONLY %s', t); END LOOP; END $$;
"""


@pytest.fixture
def server() -> PostgresServer:
    """A running server with the roles of the hostile schemas."""
    there = shared_server()
    for role in ROLES:
        if not there.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
            there.run(f"CREATE ROLE {quoted(role)}")
    return there


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where a run works; nothing may be left in it."""
    return tmp_path / "scratch"


def admin_of(server: PostgresServer, database: Database, scratch: Path) -> PostgresAdmin:
    """The adapter, for one database."""
    return PostgresAdmin(LocalRuntime(server), [database], RUN, scratch=scratch)


def refusing(record: DatabaseRecord) -> Iterator[DatabaseContents]:
    """A check as the executor makes it."""

    def check(contents: DatabaseContents) -> None:
        if different := row_differences(record, contents, frozenset()):
            raise QuiesceError("different", details=different)

    return check  # type: ignore[return-value]


def needs(server: PostgresServer, hazard: str) -> None:
    """Skip where the server lacks what the schema wants."""
    needed = NEEDS.get(hazard, "plpgsql")
    if not server.run(f"SELECT 1 FROM pg_available_extensions WHERE name = '{needed}'"):
        pytest.skip(f"PostgreSQL {server.major} has no extension {needed} here")


@pytest.mark.parametrize("hazard", SCHEMAS)
def test_rows_come_back_identical_beside(
    server: PostgresServer, hazard: str, tmp_path: Path, scratch: Path
) -> None:
    """Into a copy of the schema; triggers, indexes and constraints are afterwards as before."""
    needs(server, hazard)
    with new_database(server, "hostile", SCHEMAS[hazard]) as database:
        admin = admin_of(server, database, scratch)
        record = admin.dump(database, "data", tmp_path, DUMP, nothing)
        admin.create(database, SIDE, record)
        admin.copy_schema(database, SIDE)
        place = (database, SIDE, record, tmp_path, DUMP)
        if record.large_objects:
            (problem,) = admin.drift(*place).problems
            assert "large objects" in problem
            return
        assert admin.drift(*place) == Drift()
        admin.replace_rows(*place, refusing(record))
        contents = admin.contents(database, SIDE, record.digest_algorithm)
        assert row_differences(record, contents, frozenset()) == ()
        assert server.run(SHAPES, SIDE) == server.run(SHAPES, "hostile")
        assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("hazard", [name for name in SCHEMAS if name != "large objects"])
def test_rows_come_back_identical_in_place(
    server: PostgresServer, hazard: str, tmp_path: Path, scratch: Path
) -> None:
    """Twice: over nothing, and over themselves."""
    needs(server, hazard)
    with new_database(server, "hostile", SCHEMAS[hazard]) as database:
        admin = admin_of(server, database, scratch)
        record = admin.dump(database, "data", tmp_path, DUMP, nothing)
        before = server.run(SHAPES, "hostile")
        server.run(EMPTIED, "hostile")
        place = (database, "hostile", record, tmp_path, DUMP)
        for _ in range(2):
            admin.replace_rows(*place, refusing(record))
            contents = admin.contents(database, "hostile", record.digest_algorithm)
            assert row_differences(record, contents, frozenset()) == ()
        assert server.run(SHAPES, "hostile") == before


FULL_OF_DRIFT = """
CREATE TABLE gone (a int); CREATE TABLE renamed_before (id int, odd_name text);
CREATE TABLE viewed (a int); CREATE TABLE t (dropped int, made int, wide bigint,
    exact numeric(12,4), long varchar(10), plain text, at timestamp, fine smallint);
INSERT INTO t VALUES (1, 1, 1, 1.2345, 'x', 'x', '2024-01-01', 1);
CREATE SEQUENCE counted;
"""
DRIFTED = """
DROP TABLE gone; ALTER TABLE renamed_before RENAME TO renamed_after;
DROP TABLE viewed; CREATE VIEW viewed AS SELECT 1 AS a; DROP SEQUENCE counted;
ALTER TABLE t DROP COLUMN dropped, DROP COLUMN made, ADD COLUMN made int GENERATED ALWAYS AS (1)
    STORED, ADD COLUMN needed int NOT NULL DEFAULT 1, ALTER COLUMN wide TYPE int,
    ALTER COLUMN exact TYPE numeric(6,2), ALTER COLUMN long TYPE varchar(3),
    ALTER COLUMN at TYPE timestamptz, ALTER COLUMN fine TYPE bigint,
    ALTER COLUMN plain TYPE varchar;
ALTER TABLE t ALTER COLUMN needed DROP DEFAULT;
CREATE TABLE added (a int); INSERT INTO added VALUES (1);
"""


def test_every_difference_is_told_at_once(
    server: PostgresServer, tmp_path: Path, scratch: Path
) -> None:
    """What is gone, renamed, no table any more, generated, demanded, of another type."""
    with new_database(server, "hostile", FULL_OF_DRIFT) as database:
        admin = admin_of(server, database, scratch)
        record = admin.dump(database, "data", tmp_path, DUMP, nothing)
        server.run(DRIFTED, "hostile")
        drift = admin.drift(database, "hostile", record, tmp_path, DUMP)
        assert drift.problems == (
            "table public.gone does not exist; was it renamed to public.added?",
            "table public.renamed_before does not exist; was it renamed to public.renamed_after?",
            "column public.t.dropped does not exist",
            "column public.t.made is generated now and accepts no values",
            "column public.t.needed requires a value, and the rows have none",
            "public.viewed is a view now, not a table",
            "sequence public.counted does not exist",
        )
        assert drift.lossy == (
            "column public.t.wide was bigint and is integer",
            "column public.t.exact was numeric(12,4) and is numeric(6,2)",
            "column public.t.long was character varying(10) and is character varying(3)",
            "column public.t.at was timestamp without time zone and is timestamp with time zone",
        )
        assert drift.left == ("public.added",)
        everything = rows_misfit(drift, frozenset(), force=False)
        assert len(everything) == len(drift.problems) + len(drift.lossy) + 1
        assert rows_misfit(Drift(lossy=("a",), changed=(("s", "t"),)), frozenset({"s.t"}),
                           force=True) == ()  # fmt: skip


def test_a_child_without_its_parent_is_found(
    server: PostgresServer, tmp_path: Path, scratch: Path
) -> None:
    """Under the replica role nothing else would look; the old rows stay."""
    keys = """
    CREATE TABLE parent (a int, b int, PRIMARY KEY (a, b));
    CREATE TABLE child (a int, b int, FOREIGN KEY (a, b) REFERENCES parent);
    CREATE TABLE strict (a int, b int, FOREIGN KEY (a, b) REFERENCES parent MATCH FULL);
    INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (1, 1), (NULL, 7);
    INSERT INTO strict VALUES (1, 1), (NULL, NULL);
    """
    with new_database(server, "hostile", keys) as database:
        admin = admin_of(server, database, scratch)
        record = admin.dump(database, "data", tmp_path, DUMP, nothing)
        place = (database, "hostile", record, tmp_path, DUMP)
        admin.replace_rows(*place, refusing(record))
        server.run(
            "SET session_replication_role = replica; INSERT INTO child VALUES (5, 5);"
            "INSERT INTO strict VALUES (1, NULL)",
            "hostile",
        )
        broken = admin.dump(database, "data", tmp_path, "databases/broken.dump", nothing)
        server.run(
            "DELETE FROM child WHERE a = 5; DELETE FROM strict WHERE a = 1 AND b IS NULL", "hostile"
        )
        place = (database, "hostile", broken, tmp_path, "databases/broken.dump", lambda _: None)
        unrecorded = replace(broken, obstacles=())
        with pytest.raises(NotRestorable, match="is complete; this prevents its restore") as caught:
            admin.replace_rows(*place[:2], unrecorded, *place[3:])
        told = [caught.value.fact, *caught.value.details]
        assert any("child_a_b_fkey" in line for line in told)
        assert any("strict_a_b_fkey" in line for line in told)
        assert "--not-valid" in caught.value.hint
        contents = admin.contents(database, "hostile", record.digest_algorithm)
        assert row_differences(record, contents, frozenset()) == ()
        valid = "SELECT DISTINCT convalidated FROM pg_constraint WHERE contype = 'f'"
        # Recorded, they come back as they were; otherwise the keys say what is true.
        assert len(admin.replace_rows(*place).deviations) == 2
        assert server.run(valid, "hostile") == [(True,)]
        loaded = admin.replace_rows(*place[:2], unrecorded, *place[3:], not_valid=True)
        assert len(loaded.deviations) == 2
        assert server.run(valid, "hostile") == [(False,)]


def test_the_version_table_stays_as_it_is(
    server: PostgresServer, tmp_path: Path, scratch: Path
) -> None:
    """Two rows in it would stop all later migrations."""
    schema = """
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('a1'); CREATE TABLE t (id int); INSERT INTO t VALUES (1);
    """
    with new_database(server, "hostile", schema) as database:
        admin = admin_of(server, database, scratch)
        record = admin.dump(database, "data", tmp_path, DUMP, nothing)
        admin.replace_rows(database, "hostile", record, tmp_path, DUMP, refusing(record))
        assert server.run("SELECT version_num FROM alembic_version", "hostile") == [("a1",)]


def test_a_lock_that_somebody_holds_is_not_waited_for_without_end(
    server: PostgresServer, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is named, and the rows are the old ones."""
    monkeypatch.setattr("quiesce.adapters.postgres.data_only.LOCK_TIMEOUT", "300ms")
    with new_database(server, "hostile", "CREATE TABLE t (id int); INSERT INTO t VALUES (1)") as db:
        admin = admin_of(server, db, scratch)
        record = admin.dump(db, "data", tmp_path, DUMP, nothing)
        holder = server.connect("hostile")
        with holder.cursor() as cursor:
            cursor.execute("BEGIN; SELECT * FROM t")
            with pytest.raises(QuiesceError, match=r"cannot be emptied.*lock timeout"):
                admin.replace_rows(db, "hostile", record, tmp_path, DUMP, lambda _: None)
        holder.close()
        admin.replace_rows(db, "hostile", record, tmp_path, DUMP, refusing(record))


def test_a_damaged_dump_changes_nothing(
    server: PostgresServer, tmp_path: Path, scratch: Path
) -> None:
    """Cut in the middle of its rows: what was read before is undone."""
    schema = "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 50000) n"
    with new_database(server, "hostile", schema) as database:
        admin = admin_of(server, database, scratch)
        record = admin.dump(database, "data", tmp_path, DUMP, nothing)
        server.run("DELETE FROM t WHERE n > 10", "hostile")
        dump = tmp_path / DUMP
        dump.write_bytes(dump.read_bytes()[: dump.stat().st_size * 2 // 3])
        with pytest.raises(QuiesceError):
            admin.replace_rows(database, "hostile", record, tmp_path, DUMP, lambda _: None)
        assert server.run("SELECT count(*) FROM t", "hostile") == [(10,)]
        assert list(scratch.iterdir()) == []


def test_a_user_who_may_not_is_told_what_to_grant(
    server: PostgresServer, tmp_path: Path, scratch: Path
) -> None:
    """An owner without the right to switch triggers off."""
    with new_database(server, "hostile", "CREATE TABLE t (id int); INSERT INTO t VALUES (1)") as db:
        admin = admin_of(server, db, scratch)
        record = admin.dump(db, "data", tmp_path, DUMP, nothing)
        server.run("DROP ROLE IF EXISTS hostile_plain")
        password = PASSWORD.replace("'", "''")
        server.run(f"CREATE ROLE hostile_plain LOGIN PASSWORD '{password}'")
        try:
            server.run("ALTER TABLE t OWNER TO hostile_plain", "hostile")
            plain = server.database("hostile", user="hostile_plain")
            with pytest.raises(
                RequestError, match="may not disable triggers to load rows"
            ) as caught:
                admin_of(server, plain, scratch).replace_rows(
                    plain, "hostile", record, tmp_path, DUMP, lambda _: None
                )
            assert "GRANT SET ON PARAMETER" in caught.value.hint
        finally:
            server.run("ALTER TABLE t OWNER TO postgres", "hostile")
            server.run("DROP ROLE hostile_plain")


def test_vectors_are_indexed_anew(server: PostgresServer, tmp_path: Path, scratch: Path) -> None:
    """Built after the rows: lists made on an empty table would stay bad ones."""
    needs(server, "vectors")
    schema = """
    CREATE EXTENSION vector; CREATE TABLE m (id int PRIMARY KEY, e vector(8));
    CREATE INDEX m_hnsw ON m USING hnsw (e vector_l2_ops) WITH (m = 8, ef_construction = 32);
    CREATE INDEX m_lists ON m USING ivfflat (e vector_l2_ops) WITH (lists = 10);
    COMMENT ON INDEX m_hnsw IS 'the fast one';
    INSERT INTO m SELECT n, ARRAY(SELECT sin(n * k) FROM generate_series(1, 8) k)::vector(8)
      FROM generate_series(1, 2000) n;
    """
    with new_database(server, "hostile", schema) as database:
        admin = admin_of(server, database, scratch)
        record = admin.dump(database, "data", tmp_path, DUMP, nothing)
        before = server.run(SHAPES, "hostile")
        files = (
            "SELECT relname, relfilenode FROM pg_class WHERE relname ~ '^m_(hnsw|lists)' ORDER BY 1"
        )
        old = server.run(files, "hostile")
        admin.replace_rows(database, "hostile", record, tmp_path, DUMP, refusing(record))
        assert server.run(SHAPES, "hostile") == before
        assert all(a != b for a, b in zip(old, server.run(files, "hostile"), strict=True))
        said = server.run("SELECT obj_description('m_hnsw'::regclass)", "hostile")
        assert said == [("the fast one",)]


def test_a_server_that_dies_in_the_middle_has_the_old_rows(tmp_path: Path, scratch: Path) -> None:
    """SIGKILL while the rows are loaded; after its recovery nothing of ours is in it."""
    server = PostgresServer(shared_server().programs)
    try:
        schema = (
            "CREATE TABLE t AS SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 90000) n"
        )
        with new_database(server, "hostile", schema) as database:
            admin = admin_of(server, database, scratch)
            record = admin.dump(database, "data", tmp_path, DUMP, nothing)
            server.run("DELETE FROM t WHERE n > 7", "hostile")
            failed: list[BaseException] = []

            def load() -> None:
                try:
                    admin.replace_rows(database, "hostile", record, tmp_path, DUMP, lambda _: None)
                except BaseException as problem:  # noqa: BLE001
                    failed.append(problem)

            thread = threading.Thread(target=load)
            thread.start()
            copying = "SELECT 1 FROM pg_stat_activity WHERE query ~ '^COPY'"
            wait_until(lambda: server.run(copying), "the rows to be loaded")
            server.kill()
            thread.join(60)
            assert len(failed) == 1
            server.start()
            assert server.run("SELECT count(*) FROM t", "hostile") == [(7,)]
            ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'quiesce'"
            assert server.run(ours) == [(0,)]
    finally:
        server.remove()


RENAMED = """
CREATE TABLE old (id serial PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY);
CREATE SEQUENCE of_nobody START 50;
INSERT INTO old SELECT FROM generate_series(1, 7); SELECT nextval('of_nobody');
"""


def test_a_sequence_is_found_by_its_column(
    server: PostgresServer, tmp_path: Path, scratch: Path
) -> None:
    """Its name is an accident; one that no column owns is found by its name alone."""
    with new_database(server, "hostile", RENAMED) as database:
        admin = admin_of(server, database, scratch)
        record = admin.dump(database, "data", tmp_path, DUMP, nothing)
        assert {s.name: s.owner for s in record.sequences} == {
            "old_id_seq": ("public", "old", "id"),
            "old_n_seq": ("public", "old", "n"),
            "of_nobody": (),
        }
        server.run(
            "ALTER SEQUENCE old_id_seq RENAME TO anything; ALTER SEQUENCE old_n_seq RENAME TO"
            " old_id_seq; ALTER SEQUENCE anything RENAME TO old_n_seq; DELETE FROM old;"
            " SELECT setval('old_id_seq', 900)",
            "hostile",
        )
        admin.replace_rows(database, "hostile", record, tmp_path, DUMP, refusing(record))
        server.run("INSERT INTO old DEFAULT VALUES", "hostile")
        assert server.run("SELECT max(id), max(n) FROM old", "hostile") == [(8, 8)]
        server.run("ALTER SEQUENCE of_nobody RENAME TO nobody_knows", "hostile")
        drift = admin.drift(database, "hostile", record, tmp_path, DUMP)
        assert drift.problems == ("sequence public.of_nobody does not exist",)
