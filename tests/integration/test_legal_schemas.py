"""Schemas that PostgreSQL takes and a dump stumbles over: every way back, and what it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.adapters.postgres.client_args import load_arguments
from quiesce.errors import NotRestorable, QuiesceError
from quiesce.execute.comparison import differences, row_differences
from quiesce.model import Database, DatabaseRecord
from quiesce.ports import DatabaseContents
from tests.integration.test_postgres_content import MAJORS, SHAPES
from tests.support.legal import LEGAL, Legal, table
from tests.support.postgres import (
    PASSWORD,
    LocalRuntime,
    PostgresServer,
    new_database,
    nothing,
    shared_server,
)

pytestmark = pytest.mark.postgres

RUN = "20261121020000-ab12"
NAME, SIDE, DUMP = "legal", "legal__new_ab12", "x.dump"
ROOT = Path(__file__).resolve().parents[2]
FLAGS = {"--not-valid": "not_valid", "--skip-broken": "skip_broken"}
FUNCTIONS = """
SELECT p.oid::regprocedure::text, CASE prokind WHEN 'a' THEN '' ELSE pg_get_functiondef(p.oid) END
  FROM pg_proc p WHERE p.oid >= 16384 AND pronamespace <> 'pg_catalog'::regnamespace
   AND pronamespace <> 'pg_toast'::regnamespace ORDER BY 1
"""


@pytest.fixture(params=MAJORS, ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest) -> PostgresServer:
    """The newest major; the others with --long."""
    if request.param != MAJORS[-1] and not request.config.getoption("--long"):
        pytest.skip("other majors with --long")
    return shared_server(request.param)


def state(server: PostgresServer, name: str) -> set[tuple[object, ...]]:
    """Definitions of everything, functions with all their settings."""
    return {*server.run(SHAPES, name), *server.run(FUNCTIONS, name)}


def is_allowed(line: tuple[object, ...]) -> bool:
    """Whether this may be otherwise after a restore with a flag."""
    return line[0] in ("constraint", "index") or "false" in str(line[2]) or "true" in str(line[2])


class Ways:
    """One database and the ways back from its dump."""

    def __init__(self, server: PostgresServer, database: Database, folder: Path) -> None:
        self.server, self.database, self.folder = server, database, folder
        self.runtime = LocalRuntime(server)
        self.admin = PostgresAdmin(self.runtime, [database], RUN, scratch=folder / "scratch")
        self.record: DatabaseRecord = self.admin.dump(database, "full", folder, DUMP, nothing)
        self.before = state(server, NAME)

    def whole(self, **flags: bool) -> tuple[str, ...]:
        """Beside the live one, as `restore`, `--as`, `verify --restore` and an empty machine do."""
        self.admin.create(self.database, SIDE, self.record)
        place = (self.database, SIDE, self.folder, DUMP, self.record)
        deviations = self.admin.load(*place, **flags)
        contents = self.admin.contents(self.database, SIDE, self.record.digest_algorithm)
        assert differences(self.record, contents) == ()
        self.admin.finish(self.database, SIDE, self.record)
        return deviations

    def rows(self, **flags: bool) -> tuple[str, ...]:
        """Into a copy of the live schema."""

        def check(contents: DatabaseContents) -> None:
            assert row_differences(self.record, contents, frozenset()) == ()

        self.admin.create(self.database, SIDE, self.record)
        self.admin.copy_schema(self.database, SIDE)
        place = (self.database, SIDE, self.record, self.folder, DUMP)
        loaded = self.admin.replace_rows(*place, check, **flags)
        self.admin.finish(self.database, SIDE, self.record)
        return loaded.deviations

    def by_hand(self) -> bool:
        """With pg_restore alone."""
        self.admin.create(self.database, SIDE, self.record)
        arguments = load_arguments(DUMP, 1)
        user = {"PGUSER": "postgres", "PGPASSWORD": PASSWORD, "PGPORT": str(self.server.port)}
        try:
            self.runtime.run_tool(
                "db", arguments, environment={**user, "PGDATABASE": SIDE},
                directory=self.folder, writable=False, label=RUN,
            )  # fmt: skip
        except QuiesceError:
            return False
        return True

    def comes_back(self, way: Callable[..., tuple[str, ...]], flag: str) -> None:
        """It comes back with this flag and with no less, and says what is otherwise then."""
        if flag == "refused":
            with pytest.raises(QuiesceError):
                way(not_valid=True, skip_broken=True)
            return
        if flag:
            with pytest.raises(
                NotRestorable, match="is complete; this prevents its restore"
            ) as caught:
                way()
            assert flag in caught.value.hint
        deviations = way(**({FLAGS[flag]: True} if flag else {}))
        after = state(self.server, SIDE)
        if flag:
            assert deviations
            assert all(is_allowed(line) for line in after ^ self.before)
        elif not deviations:
            assert after == self.before


@pytest.mark.parametrize("name", LEGAL)
def test_every_way_back(server: PostgresServer, name: str, tmp_path: Path) -> None:
    """Rows and definitions are the same, functions with every setting; what needs a flag says so,
    names it, and is not called damaged."""
    legal = LEGAL[name]
    skip_what_is_not_there(server, legal)
    with new_database(server, NAME, legal.sql) as database:
        ways = Ways(server, database, tmp_path)
        assert tuple(o.kind for o in ways.record.obstacles) == legal.found
        assert [o.fact for o in ways.record.obstacles if o.kind == "names"] == [
            o.fact for o in ways.admin.obstacles(database)
        ]
        ways.comes_back(ways.whole, legal.whole(server.major))
        ways.comes_back(ways.rows, legal.rows)
        assert ways.by_hand() == legal.by_hand
        assert state(server, NAME) == ways.before
        assert list((tmp_path / "scratch").iterdir()) == []


def skip_what_is_not_there(server: PostgresServer, legal: Legal) -> None:
    """Skip where the server is too old or lacks an extension."""
    if legal.since > server.major:
        pytest.skip(f"since PostgreSQL {legal.since}")
    if legal.before and server.major >= legal.before:
        pytest.skip(f"before PostgreSQL {legal.before}: later ones name everything in full")
    known: list[Any] = server.run(
        f"SELECT 1 FROM pg_available_extensions WHERE name = '{legal.needs or 'plpgsql'}'"
    )
    if not known:
        pytest.skip(f"PostgreSQL {server.major} has no extension {legal.needs} here")


def test_the_table_in_the_documentation_is_this_one() -> None:
    """What is written is what is tried."""
    assert table() in (ROOT / "docs" / "schemas.md").read_text(encoding="utf-8")


def test_a_set_that_records_nothing_is_tried_first(server: PostgresServer, tmp_path: Path) -> None:
    """Sets of earlier versions have no obstacles: pg_restore fails, the careful load follows."""
    legal = LEGAL["a check that reads another table"]
    with new_database(server, NAME, legal.sql) as database:
        ways = Ways(server, database, tmp_path)
        admin = ways.admin
        admin.create(database, SIDE, ways.record)
        assert admin.load(database, SIDE, tmp_path, DUMP) == ()
        contents = admin.contents(database, SIDE, ways.record.digest_algorithm)
        assert differences(ways.record, contents) == ()


def test_nothing_that_somebody_wrote_runs_while_a_database_is_backed_up(
    server: PostgresServer, tmp_path: Path
) -> None:
    """Whoever owns a table could otherwise do anything as the user that backs up."""
    sql = """
    CREATE SEQUENCE ran;
    CREATE FUNCTION evil(int) RETURNS boolean LANGUAGE plpgsql AS
        'BEGIN PERFORM nextval(''public.ran''); RETURN true; END';
    CREATE TABLE t (id int CHECK (evil(id)),
        CHECK (ts_rewrite('a'::tsquery,
            'SELECT ''a''::tsquery, nextval(''public.ran'')::text::tsquery') IS NOT NULL),
        at timestamptz CHECK (at < now()));
    INSERT INTO t VALUES (1, '2020-01-01'); SELECT setval('ran', 1, false);
    """
    with new_database(server, NAME, sql) as database:
        # It cannot write in a transaction that reads only, and may do much else.
        assert Ways(server, database, tmp_path).record.obstacles == ()
        assert server.run("SELECT last_value, is_called FROM ran", NAME) == [(1, False)]


def test_no_row_is_asked_about_where_planning_would_call_somebody(
    server: PostgresServer, tmp_path: Path
) -> None:
    """The planner evaluates an index's constant parts as whoever asks, so such tables and their
    keys are left out of the search, and are found by a real restore."""
    sql = """
    CREATE SEQUENCE ran;
    CREATE ROLE mallory; GRANT USAGE ON SEQUENCE ran TO PUBLIC;
    GRANT CREATE ON SCHEMA public TO mallory;
    CREATE FUNCTION evil(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
        'BEGIN RAISE WARNING ''ran as %'', current_user; RETURN $1; END';
    ALTER FUNCTION evil(text) OWNER TO mallory;
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id int, parent int REFERENCES parent, at timestamptz CHECK (at < now()));
    CREATE INDEX ON child (id) WHERE evil('x') IS NOT NULL;
    SET session_replication_role = replica;
    INSERT INTO child VALUES (1, 7, '2020-01-01');
    """
    with new_database(server, NAME, sql) as database:
        assert Ways(server, database, tmp_path).record.obstacles == ()
        server.run("DROP OWNED BY mallory CASCADE", NAME)
        server.run("DROP ROLE mallory", NAME)
