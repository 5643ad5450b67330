"""What a dump does not carry, what ties a database to others, and rights that a restore needs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.errors import CannotDrop, QuiesceError
from quiesce.execute.comparison import differences
from quiesce.model import Database, DatabaseSwap, Secret
from tests.support.postgres import (
    PASSWORD,
    LocalRuntime,
    PostgresServer,
    installed,
    new_database,
    nothing,
    quoted,
    shared_server,
    wait_until,
)

pytestmark = pytest.mark.postgres

RUN = "20261121020000-ab12"
LIVE, SIDE, ASIDE = "tied", "tied__new_ab12", "tied__old_ab12"
SWAP = DatabaseSwap(LIVE, LIVE, SIDE, ASIDE)
ALONE = DatabaseSwap(LIVE, "tied_copy", SIDE, "")
KEEPER = "tied keeper"
TABLE = "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1)"
SECRET = "k'eep\\er"


@pytest.fixture
def server() -> PostgresServer:
    """The server that all these tests share."""
    return shared_server()


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Database]:
    """A live database with one table."""
    with new_database(server, LIVE, TABLE) as one:
        yield one


@pytest.fixture
def admin(server: PostgresServer, database: Database, tmp_path: Path) -> Iterator[PostgresAdmin]:
    """The adapter under test, as a superuser."""
    there = PostgresAdmin(LocalRuntime(server), [database], RUN, scratch=tmp_path / "scratch")
    yield there
    there.close()


@pytest.fixture
def keeper(server: PostgresServer, database: Database) -> Iterator[Database]:
    """The live database with everything in it, as that of a user who may create databases."""
    server.run(f"CREATE ROLE {quoted(KEEPER)} LOGIN CREATEDB")
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER ROLE {quoted(KEEPER)} PASSWORD %s", [SECRET])
    connection.close()
    server.run(f"ALTER DATABASE {LIVE} OWNER TO {quoted(KEEPER)}")
    server.run(f"ALTER TABLE t OWNER TO {quoted(KEEPER)}", LIVE)
    yield server.database(LIVE, user=KEEPER, password=Secret(SECRET))
    for (name,) in server.run("SELECT datname FROM pg_database WHERE NOT datistemplate"):
        if str(name).startswith(LIVE):
            server.run(f"DROP DATABASE {quoted(str(name))} WITH (FORCE)")
    server.run(f"DROP OWNED BY {quoted(KEEPER)}; DROP ROLE {quoted(KEEPER)}")


def names(server: PostgresServer) -> set[str]:
    """The databases there are."""
    return {str(name) for (name,) in server.run("SELECT datname FROM pg_database")}


def comment(server: PostgresServer, name: str) -> str | None:
    """What the database says of itself."""
    rows = server.run(
        f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}'"
    )
    return rows[0][0]  # type: ignore[return-value]


def build(admin: PostgresAdmin, database: Database, folder: Path) -> None:
    """The live database, dumped and loaded beside itself."""
    record = admin.dump(database, "full", folder, "x.dump", nothing)
    admin.create(database, SIDE, record)
    admin.load(database, SIDE, folder, "x.dump")
    assert differences(record, admin.contents(database, SIDE, record.digest_algorithm)) == ()
    admin.finish(database, SIDE, record)


# ------------------------------------------------------------------------------------- the mark


def test_a_user_who_may_create_databases_exchanges_its_own(
    server: PostgresServer, keeper: Database, tmp_path: Path
) -> None:
    """Owner and CREATEDB are enough, for settings and a comment of the database as well."""
    server.run(
        f"COMMENT ON DATABASE {LIVE} IS 'two\nlines';"
        f"ALTER DATABASE {LIVE} SET work_mem TO '5MB'; ALTER DATABASE {LIVE} CONNECTION LIMIT 40"
    )
    admin = PostgresAdmin(LocalRuntime(server), [keeper], RUN)
    assert [right for right in admin.missing_rights(keeper) if right.always] == []
    build(admin, keeper, tmp_path)
    # Created again by a repeated step, and finished again.
    build(admin, keeper, tmp_path)
    for _ in range(2):
        admin.block_connections("db", [LIVE, SIDE])
        admin.swap("db", [SWAP])
    assert comment(server, LIVE) == "two\nlines"
    assert server.run("SHOW work_mem", LIVE) == [("5MB",)]
    for _ in range(2):
        admin.drop(keeper, ASIDE, "ab12")
    assert names(server) & {LIVE, SIDE, ASIDE} == {LIVE}


def test_the_mark_of_a_run_is_put_back_by_and_goes_at_the_end(
    server: PostgresServer, keeper: Database, tmp_path: Path
) -> None:
    """With nothing aside, only the mark says that the database is ours to take away again."""
    server.run(f"COMMENT ON DATABASE {LIVE} IS 'its own'")
    admin = PostgresAdmin(LocalRuntime(server), [keeper], RUN)
    build(admin, keeper, tmp_path)
    server.run(f"CREATE DATABASE tied_copy OWNER {quoted(KEEPER)}")
    admin.put_back("db", [DatabaseSwap(LIVE, "tied_copy", "tied_nothing", "")])
    assert "tied_copy" in names(server), "somebody else's database is never ours"
    server.run("DROP DATABASE tied_copy")
    admin.swap("db", [ALONE])
    admin.swap("db", [ALONE])
    admin.put_back("db", [ALONE])
    assert names(server) & {"tied_copy", SIDE} == {SIDE}
    admin.swap("db", [ALONE])
    record = admin.dump(
        server.database("tied_copy", key=LIVE, user=KEEPER, password=keeper.password),
        "full", tmp_path, "y.dump", nothing,
    )  # fmt: skip
    assert [s for s in record.settings if "COMMENT" in s] == [
        "COMMENT ON DATABASE \"tied_copy\" IS 'its own'"
    ], "the mark is in no backup"
    admin.unmark_made(keeper, "tied_copy")
    assert comment(server, "tied_copy") == "its own"
    admin.put_back("db", [ALONE])
    assert "tied_copy" in names(server)
    admin.unmark_made(keeper, "tied_copy")
    admin.unmark_made(keeper, "tied_nowhere")


def test_the_mark_of_an_earlier_version_is_understood(
    server: PostgresServer, admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """A run of it may have died; its mark was a setting."""
    build(admin, database, tmp_path)
    server.run(f"COMMENT ON DATABASE {SIDE} IS NULL")
    server.run(f"ALTER DATABASE {SIDE} SET \"quiesce.run\" TO '{RUN}'")
    admin.swap("db", [ALONE])
    admin.put_back("db", [ALONE])
    assert SIDE in names(server)
    admin.swap("db", [ALONE])
    admin.unmark_made(database, "tied_copy")
    settings = (
        "SELECT 1 FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
        " WHERE d.datname = 'tied_copy'"
    )
    assert server.run(settings) == []


def test_a_session_that_we_may_not_end_is_named_with_the_grant(
    server: PostgresServer, keeper: Database
) -> None:
    """The server's words are of no help: they name no session."""
    admin = PostgresAdmin(LocalRuntime(server), [keeper], RUN)
    with contextlib.closing(server.connect(LIVE)):
        with pytest.raises(
            QuiesceError, match="may not terminate the session of postgres"
        ) as failure:
            admin.block_connections("db", [LIVE])
        assert f'GRANT pg_signal_backend TO "{KEEPER}"' in failure.value.hint
        admin.put_back("db", [SWAP])
    server.run("SELECT 1", LIVE)


# ------------------------------------------------------------------------------------- dropping


def test_whatever_is_tied_to_the_previous_copy_goes_with_it(
    server: PostgresServer, admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """A subscription with a slot, a slot that is followed, a template: each stops DROP DATABASE."""
    server.run("CREATE PUBLICATION p FOR TABLE t", LIVE)
    server.run("SELECT pg_create_logical_replication_slot('tied_feed', 'pgoutput')", LIVE)
    server.run(
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 dbname=x user=x password=x'"
        " PUBLICATION p WITH (connect = false, slot_name = 'elsewhere')",
        LIVE,
    )
    server.run("ALTER SUBSCRIPTION s ENABLE", LIVE)
    server.run(f"ALTER DATABASE {LIVE} IS_TEMPLATE true")
    build(admin, database, tmp_path)
    # The dump brings the subscription along, so a failed restore has one to drop as well.
    admin.create(database, SIDE, None)
    build(admin, database, tmp_path)
    admin.block_connections("db", [LIVE, SIDE])
    admin.swap("db", [SWAP])
    for _ in range(2):
        admin.drop(database, ASIDE, "ab12")
    assert names(server) & {LIVE, SIDE, ASIDE} == {LIVE}
    assert server.run("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'tied_feed'") == []
    assert server.run("SELECT datistemplate FROM pg_database WHERE datname = 'tied'") == [(True,)]
    assert server.run("SELECT subenabled, subslotname FROM pg_subscription") == [
        (False, "elsewhere")
    ], "what was restored waits, with the slot it had"
    server.run("ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s", LIVE)
    server.run(f"ALTER DATABASE {LIVE} IS_TEMPLATE false")


def test_a_slot_that_is_in_use_does_not_keep_a_copy(
    server: PostgresServer, admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """Its follower is ended, and cannot come back."""
    build(admin, database, tmp_path)
    server.run("CREATE PUBLICATION p", SIDE)
    server.run("SELECT pg_create_logical_replication_slot('tied_busy', 'pgoutput')", SIDE)
    follower = subprocess.Popen(
        [server.programs / "pg_recvlogical", "-h", "127.0.0.1", "-p", str(server.port),
         "-U", "postgres", "-d", SIDE, "--slot", "tied_busy", "--start", "-f", os.devnull,
         "-o", "proto_version=1", "-o", "publication_names=p"],
        env={"PGPASSWORD": PASSWORD}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        active = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'tied_busy' AND active"
        wait_until(lambda: server.run(active), "the slot is in use")
        admin.drop(database, SIDE, "ab12")
    finally:
        follower.kill()
        follower.wait()
    assert SIDE not in names(server)
    assert server.run("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'tied_busy'") == []


def test_a_copy_that_cannot_be_dropped_is_named(
    server: PostgresServer, admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """Nothing can be done about a prepared transaction but by whoever prepared it."""
    build(admin, database, tmp_path)
    server.run("BEGIN; INSERT INTO t VALUES (5); PREPARE TRANSACTION 'tied''gid'", SIDE)
    try:
        with pytest.raises(CannotDrop, match="prepared transaction 'tied''gid'") as failure:
            admin.drop(database, SIDE, "ab12")
        assert "ROLLBACK PREPARED 'tied''gid'" in failure.value.hint
    finally:
        server.run("ROLLBACK PREPARED 'tied''gid'", SIDE)
    admin.drop(database, SIDE, "ab12")


def test_the_database_postgres_can_be_exchanged(server: PostgresServer, tmp_path: Path) -> None:
    """Sessions for the exchange are never in a database that is exchanged."""
    live = server.database("postgres")
    admin = PostgresAdmin(LocalRuntime(server), [live], RUN)
    swap = DatabaseSwap("postgres", "postgres", "postgres__new_ab12", "postgres__old_ab12")
    record = admin.dump(live, "full", tmp_path, "x.dump", nothing)
    admin.create(live, swap.side, record)
    admin.load(live, swap.side, tmp_path, "x.dump")
    admin.finish(live, swap.side, record)
    admin.block_connections("db", ["postgres", swap.side])
    admin.swap("db", [swap])
    admin.drop(live, swap.aside, "ab12")
    assert {name for name in names(server) if name.startswith("postgres")} == {"postgres"}


# ------------------------------------------------------------------------------- looked for first


def test_what_ties_a_database_is_found(
    server: PostgresServer, admin: PostgresAdmin, database: Database
) -> None:
    """All of it from the catalogs, before anything stops."""
    server.run("SELECT pg_create_logical_replication_slot('tied_feed', 'pgoutput')", LIVE)
    server.run(
        "CREATE SUBSCRIPTION \"s's\" CONNECTION 'host=x' PUBLICATION p WITH (connect = false)", LIVE
    )
    server.run("BEGIN; LOCK TABLE t; PREPARE TRANSACTION 'tied_gid'", LIVE)
    try:
        ties = admin.ties(database)
        assert (ties.subscriptions, ties.slots) == (("s's",), (("tied_feed", "pgoutput"),))
        (prepared,) = ties.prepared
        assert (prepared.gid, prepared.owner, prepared.database, prepared.locks) == (
            "tied_gid", "postgres", LIVE, ("public.t",),
        )  # fmt: skip
        assert 0 <= prepared.seconds < 600
    finally:
        server.run("ROLLBACK PREPARED 'tied_gid'", LIVE)
        server.run('ALTER SUBSCRIPTION "s\'s" SET (slot_name = NONE)', LIVE)
        server.run('DROP SUBSCRIPTION "s\'s"', LIVE)
        server.run("SELECT pg_drop_replication_slot('tied_feed')", LIVE)
    assert admin.ties(database).prepared == ()


@pytest.mark.parametrize(
    ("statement", "fact", "hint"),
    [
        (f'ALTER ROLE "{KEEPER}" NOCREATEDB', "may not create databases", "CREATEDB"),
        (f"ALTER DATABASE {LIVE} OWNER TO postgres", "belongs to postgres", "OWNER TO"),
        ("CREATE ROLE tied_other; ALTER TABLE t OWNER TO tied_other", "belong to tied_other",
         f'GRANT "tied_other" TO "{KEEPER}"'),
        ("CREATE TABLE of_postgres ()", "belong to postgres", "OWNER TO"),
        ("CREATE EXTENSION dblink", "extension dblink", "superuser"),
        ("CREATE PUBLICATION p FOR ALL TABLES", "publication p for all tables", "superuser"),
        ("CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
         f'ALTER FUNCTION f OWNER TO "{KEEPER}";'
         "CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION f()",
         "event trigger e", "superuser"),
        ("CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p WITH (connect = false)",
         "subscription s", "superuser"),
        (f"ALTER DATABASE {LIVE} SET log_statement TO 'all'", "setting log_statement",
         "GRANT SET ON PARAMETER"),
        (f"ALTER DATABASE {LIVE} SET app.mine TO 'x'", "setting app.mine",
         'PARAMETER "app"."mine"'),
        (f"CREATE ROLE tied_other; ALTER ROLE tied_other IN DATABASE {LIVE} SET work_mem TO '5MB'",
         "may not change the settings of tied_other", "ADMIN OPTION"),
    ],
)  # fmt: skip
def test_a_right_that_only_a_restore_needs_is_found_before_it(
    server: PostgresServer, keeper: Database, statement: str, fact: str, hint: str
) -> None:
    """A backup works without any of them; the hint is what a superuser has to run."""
    admin = PostgresAdmin(LocalRuntime(server), [keeper], RUN)
    assert [right for right in admin.missing_rights(keeper) if right.always] == []
    for one in statement.split(";"):
        server.run(one, LIVE)
    try:
        (right,) = [right for right in admin.missing_rights(keeper) if right.always]
        assert fact in right.fact
        assert hint in right.hint
    finally:
        server.run(f"ALTER DATABASE {LIVE} OWNER TO postgres")
        if "SUBSCRIPTION" in statement:
            server.run("ALTER SUBSCRIPTION s SET (slot_name = NONE)", LIVE)
            server.run("DROP SUBSCRIPTION s", LIVE)
        if "tied_other" in statement:
            server.run("DROP OWNED BY tied_other", LIVE)
            server.run("DROP ROLE tied_other")


def test_rights_of_only_some_restores_are_wishes(server: PostgresServer, keeper: Database) -> None:
    """They are warned of, with the grant that helps."""
    admin = PostgresAdmin(LocalRuntime(server), [keeper], RUN)
    server.run("CREATE ROLE tied_other LOGIN")
    try:
        found = admin.missing_rights(keeper)
        assert [right.always for right in found] == [False, False]
        for right in found:
            server.run(right.hint)
        assert admin.missing_rights(keeper) == ()
    finally:
        server.run("DROP ROLE tied_other")
        server.run(f'REVOKE SET ON PARAMETER session_replication_role FROM "{KEEPER}"')


# ---------------------------------------------------------------------------------------- roles

ROLES = r'''
CREATE ROLE "Web App" LOGIN CONNECTION LIMIT 3 VALID UNTIL '2040-01-01';
COMMENT ON ROLE "Web App" IS 'two
lines; and a \ semicolon';
ALTER ROLE "Web App" SET search_path TO 'a b', "$user", public;
ALTER ROLE "Web App" SET "app.x" TO 'a''b\c';
CREATE ROLE "o'wner";
CREATE ROLE "grüße ""q""" SUPERUSER REPLICATION;
CREATE ROLE tied_unused;
GRANT "o'wner" TO "Web App" WITH ADMIN OPTION;
GRANT pg_monitor TO tied_unused;
GRANT "Web App" TO postgres
'''
MADE = ("Web App", "o'wner", 'grüße "q"', "tied_unused")


@pytest.fixture(scope="module")
def empty() -> Iterator[PostgresServer]:
    """Another server, with no roles but its first."""
    programs = installed()
    if not programs:
        pytest.skip("no PostgreSQL is installed")
    there = PostgresServer(programs[max(programs)])
    yield there
    there.remove()


@pytest.fixture
def globals_sql(server: PostgresServer, admin: PostgresAdmin, tmp_path: Path) -> Path:
    """What a backup of a server with such roles has."""
    for statement in ROLES.split(";\n"):
        server.run(statement)
    try:
        admin.dump_globals("db", tmp_path, "globals.sql")
    finally:
        for name in MADE:
            server.run(f"DROP ROLE {quoted(name)}")
    return tmp_path / "globals.sql"


def roles_of(server: PostgresServer) -> dict[str, tuple[object, ...]]:
    """Every role that is not PostgreSQL's own, with what it may and has."""
    rows = server.run(
        "SELECT rolname, rolsuper, rolreplication, rolcanlogin, rolconnlimit,"
        " rolvaliduntil::date::text, rolconfig,"
        " shobj_description(oid, 'pg_authid'), ARRAY(SELECT m.roleid::regrole::text"
        " || m.admin_option FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1)"
        " FROM pg_roles r WHERE rolname !~ '^pg_' ORDER BY 1"
    )
    return {str(row[0]): row[1:] for row in rows}


def test_roles_come_back_whole_on_a_throwaway_server(
    empty: PostgresServer, globals_sql: Path
) -> None:
    """Rights, settings, memberships and comments, names of every kind; twice is as good as once."""
    there = empty.database("postgres", key="x")
    admin = PostgresAdmin(LocalRuntime(empty), [there], RUN)
    missing = admin.missing_roles(there, globals_sql, ["Web App", "postgres"])
    # Other modules made roles of their own on the server that was dumped.
    every = [name for name in missing.every if name in MADE]
    assert set(every) == set(MADE)
    assert set(missing.needed) == {"Web App", "o'wner"}
    assert missing.fresh
    assert missing.allowed
    try:
        for _ in range(2):
            assert admin.create_roles("db", globals_sql, every, whole=True) == ()
        found = roles_of(empty)
        assert found["Web App"] == (
            False, False, True, 3, "2040-01-01",
            ['search_path="a b", "$user", public', "app.x=a'b\\c"],
            "two\nlines; and a \\ semicolon", ["\"o'wner\"true"],
        )  # fmt: skip
        assert found['grüße "q"'][:3] == (True, True, False)
        assert found["tied_unused"][-1] == ["pg_monitorfalse"]
        assert found["postgres"][-1] == ['"Web App"false']
        assert not admin.missing_roles(there, globals_sql, MADE).fresh
        kept = "SCRAM-SHA-256$4096:c2FsdA==$" + "A" * 43 + "=:" + "B" * 43 + "="
        made = f'CREATE ROLE "pass";\nALTER ROLE "pass" WITH LOGIN PASSWORD \'{kept}\';\n'
        text = f"-- gr\xfc\xdfe\n{made}"
        globals_sql.write_text(text, encoding="latin-1")
        admin.create_roles("db", globals_sql, ["pass"], whole=True)
        found_password = empty.run("SELECT rolpassword FROM pg_authid WHERE rolname = 'pass'")
        assert found_password == [(kept,)]
    finally:
        empty.run("DROP ROLE IF EXISTS pass")
        for name in MADE:
            empty.run(f"DROP ROLE IF EXISTS {quoted(name)}")


def test_a_server_that_stays_gets_no_rights_from_a_set(
    empty: PostgresServer, globals_sql: Path
) -> None:
    """Only what is needed, without rights over the whole server; who is there does not change."""
    there = empty.database("postgres", key="x")
    admin = PostgresAdmin(LocalRuntime(empty), [there], RUN)
    empty.run('CREATE ROLE "o\'wner" LOGIN')
    try:
        left = admin.create_roles("db", globals_sql, ["Web App", 'grüße "q"'], whole=False)
        found = roles_of(empty)
        assert set(found) == {"postgres", "o'wner", "Web App", 'grüße "q"'}
        assert found['grüße "q"'][:2] == (False, False)
        assert found["o'wner"][2] is True, "as it was"
        assert found["postgres"][-1] == []
        assert any('ALTER ROLE "grüße ""q""" SUPERUSER' in text for text in left)
        assert any('GRANT "o\'wner" TO "Web App"' in text for text in left)
    finally:
        for name in MADE:
            empty.run(f"DROP ROLE IF EXISTS {quoted(name)}")


def test_nothing_in_a_file_of_roles_is_run_as_it_stands(
    empty: PostgresServer, tmp_path: Path
) -> None:
    """A set may come from somebody else: statements of other kinds are not even looked at."""
    there = empty.database("postgres", key="x")
    admin = PostgresAdmin(LocalRuntime(empty), [there], RUN)
    script = tmp_path / "globals.sql"
    script.write_text(
        "CREATE ROLE a;\nCREATE TABLE hacked ();\nALTER SYSTEM SET work_mem = '5MB';\n"
        "ALTER ROLE postgres WITH NOLOGIN;\n\\! touch /tmp/hacked\n"
        "DO $$ BEGIN CREATE ROLE b; END $$;\n"
        "COMMENT ON ROLE a IS 'x'; CREATE ROLE c WITH SUPERUSER;\n"
        "ALTER ROLE a SET work_mem TO '5MB', role TO 'postgres';\n"
        "GRANT postgres TO a; DROP TABLE x;\n"
    )
    try:
        assert admin.missing_roles(there, script, []).every == ("a",)
        admin.create_roles("db", script, ["a", "b", "c"], whole=False)
        assert set(roles_of(empty)) == {"postgres", "a"}
        assert empty.run("SELECT to_regclass('hacked')") == [(None,)]
        assert roles_of(empty)["postgres"][2] is True
        assert roles_of(empty)["a"][-1] == []
        script.write_text(
            "CREATE ROLE d;\nALTER ROLE d WITH LOGIN; DROP ROLE a;\nALTER ROLE d WITH x;"
        )
        with pytest.raises(QuiesceError, match="unknown right"):
            admin.create_roles("db", script, ["d"], whole=True)
    finally:
        empty.run("DROP ROLE IF EXISTS a; DROP ROLE IF EXISTS d")


# ------------------------------------------------------------------------- what a dump does carry

CARRIED = """
CREATE PUBLICATION p FOR TABLE t;
CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION f();
CREATE EXTENSION postgres_fdw;
CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere');
CREATE USER MAPPING FOR tied_other SERVER s OPTIONS (user 'u', password 'p');
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO tied_other;
CREATE STATISTICS together ON n, (n % 3) FROM t;
SELECT lo_from_bytea(4711, 'large');
ALTER LARGE OBJECT 4711 OWNER TO tied_other;
CREATE UNLOGGED TABLE u (n int); INSERT INTO u VALUES (1);
"""
LOOK = """
SELECT 'publication', pubname::text FROM pg_publication
UNION ALL SELECT 'event trigger', evtname::text FROM pg_event_trigger
UNION ALL SELECT 'mapping', usename::text || array_length(umoptions, 1) FROM pg_user_mappings
UNION ALL SELECT 'default', defaclacl::text FROM pg_default_acl
UNION ALL SELECT 'statistics', stxname::text FROM pg_statistic_ext
UNION ALL SELECT 'large', pg_get_userbyid(lomowner)::text || encode(lo_get(oid), 'escape')
  FROM pg_largeobject_metadata
UNION ALL SELECT 'unlogged', n::text FROM u
ORDER BY 1
"""


def test_what_a_dump_carries_is_there_after_an_exchange(
    server: PostgresServer, admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """Nothing of it has to be looked for before."""
    server.run("CREATE ROLE tied_other")
    try:
        server.run(CARRIED, LIVE)
        before = server.run(LOOK, LIVE)
        assert len(before) == 7
        server.run(f"ALTER ROLE tied_other IN DATABASE {LIVE} SET work_mem TO '5MB'")
        build(admin, database, tmp_path)
        admin.block_connections("db", [LIVE, SIDE])
        admin.swap("db", [SWAP])
        admin.drop(database, ASIDE, "ab12")
        assert server.run(LOOK, LIVE) == before
        settings = "SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting"
        assert server.run(settings) == [("tied_other", ["work_mem=5MB"])]
    finally:
        server.run(f"DROP DATABASE {LIVE} WITH (FORCE)")
        server.run("DROP ROLE tied_other")
        server.run(f"CREATE DATABASE {LIVE}")


def test_tables_of_a_tablespace_that_is_not_there_lie_in_the_database_s_own(
    server: PostgresServer, database: Database, empty: PostgresServer, tmp_path: Path
) -> None:
    """Where they lie on disk is the server's own business."""
    place = server.home / "space"
    place.mkdir()
    shutil.chown(place, server.home.owner())
    server.run(f"CREATE TABLESPACE tied_space LOCATION '{place}'")
    try:
        server.run("ALTER TABLE t SET TABLESPACE tied_space", LIVE)
        admin = PostgresAdmin(LocalRuntime(server), [database], RUN)
        record = admin.dump(database, "full", tmp_path, "x.dump", nothing)
        there = empty.database(LIVE)
        for target, on, space in ((admin, database, "tied_space"), (None, there, None)):
            loading = target or PostgresAdmin(LocalRuntime(empty), [there], RUN)
            loading.create(on, SIDE, record)
            loading.load(on, SIDE, tmp_path, "x.dump")
            contents = loading.contents(on, SIDE, record.digest_algorithm)
            assert differences(record, contents) == ()
            where = server if target else empty
            found = where.run("SELECT tablespace FROM pg_tables WHERE tablename = 't'", SIDE)
            assert found == [(space,)]
            loading.drop(on, SIDE, "ab12")
    finally:
        server.run(f"DROP DATABASE {LIVE} WITH (FORCE)")
        server.run("DROP TABLESPACE tied_space")
        server.run(f"CREATE DATABASE {LIVE}")
