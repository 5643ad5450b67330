"""Somebody's SQL file into a new database: as pg_dump wrote it, by a role that can do no harm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.adapters.postgres import catalog
from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.adapters.postgres.client_args import client_environment
from quiesce.adapters.postgres.ownership import owner_name
from quiesce.adapters.postgres.sql_load import loader_name
from quiesce.errors import QuiesceError
from quiesce.execute.comparison import differences
from quiesce.model import Database
from tests.integration.test_postgres_rows import RUN, needs
from tests.support.hostile import ROLES, SCHEMAS
from tests.support.postgres import (
    LocalRuntime,
    PostgresServer,
    new_database,
    nothing,
    quoted,
    shared_server,
)

pytestmark = pytest.mark.postgres

SIDE = "hostile__new_ab12"
OWNED_BY_SUPERUSERS = """
SELECT c.relname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
 WHERE c.oid >= 16384 AND r.rolsuper AND c.relnamespace = 'public'::regnamespace
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('e', 'i'))
UNION ALL SELECT p.proname FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
 WHERE p.oid >= 16384 AND r.rolsuper AND p.pronamespace = 'public'::regnamespace
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype IN ('e', 'i'))
"""
#: Made by a superuser, and so not by a file: event triggers, rights that only an owner has.
ONLY_BY_SUPERUSERS = {"triggers", "settings", "xml", "roles"}


@pytest.fixture
def server() -> PostgresServer:
    """A running server with the roles of the hostile schemas."""
    there = shared_server()
    for role in ROLES:
        if not there.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
            there.run(f"CREATE ROLE {quoted(role)}")
    return there


def left_of_the_role(server: PostgresServer) -> list[tuple[object, ...]]:
    """Roles that loaded a file and are still there."""
    return server.run(f"SELECT rolname FROM pg_roles WHERE rolname = '{loader_name(RUN)}'")


def attempt(admin: PostgresAdmin, database: Database, script: Path) -> QuiesceError | None:
    """Load it; return why it was refused, None when it was not."""
    try:
        assert admin.missing_for_script(database, script, "x.sql") == ()
        admin.load_script(database, SIDE, script)
    except QuiesceError as refused:
        return refused
    return None


@pytest.mark.parametrize("form", ["script", "inserts", "archive"])
@pytest.mark.parametrize("hazard", SCHEMAS)
def test_a_file_comes_back_identical_or_is_refused(
    server: PostgresServer, hazard: str, form: str, tmp_path: Path
) -> None:
    """Every table and sequence by content; what only a superuser may make is told with its line."""
    needs(server, hazard)
    with new_database(server, "hostile", SCHEMAS[hazard]) as database:
        runtime = LocalRuntime(server)
        admin = PostgresAdmin(runtime, [database], RUN, scratch=tmp_path / "scratch")
        record = admin.dump(database, "full", tmp_path, "databases/x.dump", nothing)
        if form == "script":
            script = admin.script(database, "full", nothing)
        elif form == "archive":
            script = admin.write_out(database, tmp_path / "databases/x.dump")
        else:
            runtime.run_tool(
                "db",
                ["pg_dump", "--inserts", "--file={directory}/inserts.sql"],
                environment=client_environment(database, "hostile", RUN, server.major * 10_000),
                directory=tmp_path,
                writable=True,
                label=RUN,
            )
            script = tmp_path / "inserts.sql"
        admin.create(database, SIDE, record)
        refused = attempt(admin, database, script)
        if refused is None:
            contents = admin.contents(database, SIDE, record.digest_algorithm)
            # INSERTs say -0 as a number without a sign: such a file itself has lost it.
            lost = ("table public.numbers has different contents",)
            expected = lost if (hazard, form) == ("values", "inserts") else ()
            assert differences(record, contents) == expected
            assert admin.finish(database, SIDE, None) is not None
            assert server.run(OWNED_BY_SUPERUSERS, SIDE) == []
        else:
            assert hazard in ONLY_BY_SUPERUSERS, refused
            assert "line " in refused.fact
            assert refused.hint
        assert left_of_the_role(server) == []
        admin.close()


def test_what_a_file_makes_runs_with_no_rights(server: PostgresServer, tmp_path: Path) -> None:
    """A check that runs while rows are loaded is not a superuser, and cannot become one."""
    evil = """
    CREATE FUNCTION public.seize() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
      BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'RESET SESSION AUTHORIZATION'; EXCEPTION WHEN others
      THEN NULL; END;
      EXECUTE 'CREATE ROLE hostile_seized SUPERUSER'; RETURN true; END $$;
    CREATE TABLE public.t (a int CHECK (public.seize()));
    COPY public.t (a) FROM stdin;
1
\\.
"""
    script = tmp_path / "evil.sql"
    script.write_text(evil + "\n-- PostgreSQL database dump complete\n")
    with new_database(server, "hostile") as database:
        admin = PostgresAdmin(LocalRuntime(server), [database], RUN, scratch=tmp_path)
        admin.create(database, SIDE, None)
        with pytest.raises(QuiesceError, match=r"line \d+.*permission denied"):
            admin.load_script(database, SIDE, script)
        assert server.run("SELECT 1 FROM pg_roles WHERE rolname = 'hostile_seized'") == []
        assert left_of_the_role(server) == []


def test_roles_and_extensions_that_are_missing_are_told_at_once(
    server: PostgresServer, tmp_path: Path
) -> None:
    """With the lines that want them, before anything is made."""
    script = tmp_path / "x.sql"
    script.write_text(
        "CREATE EXTENSION earthdistance;\nCREATE TABLE public.t ();\n"
        "GRANT SELECT ON TABLE public.t TO nobody_here;\n-- PostgreSQL database dump complete\n"
    )
    with new_database(server, "hostile") as database:
        admin = PostgresAdmin(LocalRuntime(server), [database], RUN, scratch=tmp_path)
        lacks = admin.missing_for_script(database, script, "x.sql")
        assert any("nobody_here" in text and "(line 3)" in text for text in lacks)


# ------------------------------------------------------------- what is evaluated after the file

#: Each is evaluated by PostgreSQL itself: by loading, ANALYZE, planning a query, or reading.
EVALUATED = """
CREATE FUNCTION public.seize() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
    EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch PROOF''';
  END IF; END $$;
CREATE FUNCTION public.f(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE
  AS $$ BEGIN PERFORM public.seize(); RETURN t; END $$;
CREATE FUNCTION public.same(a text, b text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE
  AS $$ BEGIN PERFORM public.seize(); RETURN a OPERATOR(pg_catalog.=) b; END $$;
CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = public.same);
CREATE FUNCTION public.count(a text) RETURNS bigint LANGUAGE plpgsql STABLE SECURITY DEFINER
  AS $$ BEGIN PERFORM public.seize(); RETURN 1; END $$;
CREATE FUNCTION public.fired() RETURNS trigger LANGUAGE plpgsql
  AS $$ BEGIN PERFORM public.seize(); RETURN NULL; END $$;
CREATE DOMAIN public.word AS text CHECK (public.f(VALUE) IS NOT NULL);
CREATE TABLE public.indexed (a integer, b text);
CREATE INDEX ON public.indexed (public.f(b));
CREATE INDEX ON public.indexed (a) WHERE public.f('x') IS NOT NULL;
CREATE TABLE public.operated (a integer, b text);
CREATE INDEX ON public.operated (a) WHERE 'x' OPERATOR(public.===) 'y';
CREATE TABLE public.counted (a integer, b text);
CREATE STATISTICS public.counting ON a, (b || public.f('x')) FROM public.counted;
CREATE TABLE public.parted (a text) PARTITION BY RANGE ((a || public.f('x')));
CREATE TABLE public.part PARTITION OF public.parted DEFAULT;
CREATE TABLE public.made (a integer, b public.word, c text DEFAULT public.f('x'),
  d text GENERATED ALWAYS AS (public.f('x')) STORED, CHECK (public.f('x') IS NOT NULL));
CREATE INDEX ON public.made (a) WHERE public.f('x') IS NOT NULL;
CREATE TABLE public.alembic_version (version_num character varying(32) NOT NULL);
CREATE INDEX ON public.alembic_version (version_num) WHERE public.f('x') IS NOT NULL;
CREATE VIEW public.quiesce_drill AS SELECT public.f('x') AS word;
CREATE MATERIALIZED VIEW public.kept AS SELECT public.f(b) AS b FROM public.indexed WITH NO DATA;
COPY public.indexed (a, b) FROM stdin;
1	x
2	\\\\N
\\.
COPY public.counted (a, b) FROM stdin;
1	a (b), "c" \\\\\\\\ d\\\\te
\\.
COPY public.parted (a) FROM stdin;
x
\\.
COPY public.made (a, b) FROM stdin;
1	x
\\.
COPY public.alembic_version (version_num) FROM stdin;
a1
\\.
REFRESH MATERIALIZED VIEW public.kept;
CREATE TRIGGER fires AFTER TRUNCATE ON public.made FOR EACH STATEMENT
  EXECUTE FUNCTION public.fired();
ALTER TABLE public.made ENABLE ALWAYS TRIGGER fires;
ALTER TABLE public.made OWNER TO hostile_app;
-- PostgreSQL database dump complete
"""


@pytest.fixture
def loaded(server: PostgresServer, tmp_path: Path) -> Iterator[tuple[PostgresAdmin, Database]]:
    """A database that such a file made, with its admin. Afterwards no program was run."""
    proof = server.home / "proof"
    script = tmp_path / "hostile.sql"
    script.write_text(EVALUATED.replace("PROOF", str(proof)))
    with new_database(server, "hostile") as database:
        admin = PostgresAdmin(LocalRuntime(server), [database], RUN, scratch=tmp_path / "scratch")
        admin.create(database, SIDE, None)
        assert admin.load_script(database, SIDE, script) == (7, 6)
        given = admin.finish(database, SIDE, None)
        assert given is not None
        assert given.invokers == ("public.count(text)",)
        assert not server.run("SELECT 1 FROM pg_proc WHERE prosecdef AND oid >= 16384", SIDE)
        assert left_of_the_role(server) == []
        yield admin, replace(database, key="hostile", name=SIDE)
        admin.close()
    assert not proof.exists()


def test_nothing_of_ours_runs_a_files_code_as_a_superuser(
    loaded: tuple[PostgresAdmin, Database], server: PostgresServer, tmp_path: Path
) -> None:
    """Status, probes, drills, a backup with its digests: what the server evaluates by itself then
    is evaluated as a role without rights, or not at all."""
    admin, database = loaded
    (state,) = admin.observe([database])
    assert state.revision == ("a1",)
    record = admin.dump(database, "full", tmp_path, "databases/x.dump", nothing)
    rows = {table.name: table.rows for table in record.tables}
    assert (rows["indexed"], rows["made"]) == (2, 1)
    assert differences(record, admin.contents(database, SIDE, record.digest_algorithm)) == ()
    for asked in (admin.marks, admin.unmark):
        with pytest.raises(QuiesceError, match="not the table that a drill creates"):
            asked(database)
    assert admin.ask(database, "SELECT count(b) FROM indexed") == 1
    assert not server.run("SELECT 1 FROM pg_roles WHERE rolname ~ '^quiesce_reader'")
    drift = admin.drift(database, SIDE, record, tmp_path, "databases/x.dump")
    assert set(drift.code) >= {"public.made", "public.indexed", "public.part"}


def test_a_digest_without_planning_is_the_same(
    loaded: tuple[PostgresAdmin, Database], server: PostgresServer
) -> None:
    """What COPY says, put together as PostgreSQL writes a row."""
    admin, database = loaded
    ours = ("indexed", "counted", "operated")

    def digests() -> list[object]:
        with admin._open(database, SIDE) as session:
            session.run("BEGIN")
            found = catalog.digest_tables(session, catalog.DIGEST_ALGORITHM)
        return [table for table in found if table.name in ours]

    guarded = digests()
    server.run("DROP INDEX public.operated_a_idx, public.indexed_f_idx, public.indexed_a_idx", SIDE)
    server.run("DROP STATISTICS public.counting", SIDE)
    assert digests() == guarded
    assert len(guarded) == len(ours)


def test_who_used_the_tables_may_use_what_came_from_a_file(
    loaded: tuple[PostgresAdmin, Database], server: PostgresServer
) -> None:
    """The owner has no rights and no login; who owned a table there reads, writes and alters."""
    del loaded
    assert server.run(OWNED_BY_SUPERUSERS, SIDE) == []
    owner = owner_name("hostile")
    made = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'made'"
    assert server.run(made, SIDE) == [(owner,)]
    rights = "SELECT rolsuper OR rolcanlogin OR rolcreaterole FROM pg_roles WHERE rolname = "
    assert server.run(f"{rights}'{owner}'") == [(False,)]
    server.run(
        "SET ROLE hostile_app; INSERT INTO public.indexed VALUES (3, 'y'); DELETE FROM public.made;"
        " ALTER TABLE public.made ADD COLUMN e integer",
        SIDE,
    )


def test_a_live_owner_without_rights_owns_what_comes(
    server: PostgresServer, tmp_path: Path
) -> None:
    """It is the application's own role then; one that may make roles is not taken."""
    script = tmp_path / "x.sql"
    script.write_text("CREATE TABLE public.t ();\n-- PostgreSQL database dump complete\n")
    for right, expected in (("NOCREATEROLE", "hostile_app"), ("CREATEROLE", owner_name("hostile"))):
        server.run(f"ALTER ROLE hostile_app {right}")
        with new_database(server, "hostile") as database:
            server.run("ALTER DATABASE hostile OWNER TO hostile_app")
            admin = PostgresAdmin(LocalRuntime(server), [database], RUN, scratch=tmp_path)
            admin.create(database, SIDE, None)
            admin.load_script(database, SIDE, script)
            given = admin.finish(database, SIDE, None)
            assert given is not None
            assert given.owner == expected
    server.run("ALTER ROLE hostile_app NOCREATEROLE")
