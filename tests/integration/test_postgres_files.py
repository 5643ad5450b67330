"""Somebody's SQL file into a new database: as pg_dump wrote it, by a role that can do no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from quiesce.adapters.postgres import PostgresAdmin
from quiesce.adapters.postgres_dump import client_environment
from quiesce.adapters.postgres_script import loader_name
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
            lost = ("table public.numbers has other contents",)
            expected = lost if (hazard, form) == ("values", "inserts") else ()
            assert differences(record, contents) == expected
            owners = f"SELECT 1 FROM pg_class WHERE relowner::regrole::text = '{loader_name(RUN)}'"
            assert server.run(owners, SIDE) == []
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
