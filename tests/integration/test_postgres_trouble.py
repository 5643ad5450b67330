"""What goes wrong around dumps and exchanges: locks, races, deaths, hostile names, damage."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from quiesce.adapters.postgres import snapshot
from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.adapters.postgres.session import Session
from quiesce.errors import QuiesceError
from quiesce.execute.comparison import differences
from quiesce.model import Database, DatabaseSwap, Secret
from quiesce.ports import BlockedAnotherSession
from tests.support.postgres import (
    LocalRuntime,
    PostgresServer,
    installed,
    new_database,
    nothing,
    shared_server,
    wait_until,
)

pytestmark = pytest.mark.postgres

RUN = "20261121020000-ab12"
LIVE, SIDE, ASIDE = "trouble", "trouble__new_ab12", "trouble__old_ab12"
SWAP = DatabaseSwap(LIVE, LIVE, SIDE, ASIDE)
ROWS = """
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 2000) n
"""
OURS = f"SELECT pid FROM pg_stat_activity WHERE application_name = 'quiesce:{RUN}'"


@pytest.fixture
def server() -> PostgresServer:
    """The server that all these tests share."""
    return shared_server()


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Database]:
    """A live database with one table of 20,000 rows."""
    with new_database(server, LIVE, ROWS) as there:
        yield there


@pytest.fixture
def runtime(server: PostgresServer) -> LocalRuntime:
    """Where clients run."""
    return LocalRuntime(server)


@pytest.fixture
def admin(runtime: LocalRuntime, database: Database) -> Iterator[PostgresAdmin]:
    """The adapter under test."""
    there = PostgresAdmin(runtime, [database], RUN)
    yield there
    there.close()


def build(admin: PostgresAdmin, database: Database, folder: Path) -> None:
    """The live database, dumped and loaded beside itself."""
    record = admin.dump(database, "full", folder, "x.dump", nothing)
    admin.create(database, SIDE, record)
    admin.load(database, SIDE, folder, "x.dump")


# --------------------------------------------------------------------------------- locks, races


@pytest.mark.parametrize(
    "change",
    [
        "TRUNCATE t",
        "ALTER TABLE t ALTER v TYPE varchar(9999), ALTER id TYPE bigint",
        "DROP TABLE t",
        "ALTER TABLE t DROP COLUMN v",
    ],
)
def test_a_change_that_rewrites_waits_for_the_held_snapshot(
    server: PostgresServer,
    admin: PostgresAdmin,
    database: Database,
    change: str,
    tmp_path: Path,
) -> None:
    """Begun between hold and dump, it would give zero rows, zero counts and exit code 0."""
    admin.hold(database)
    blocked = threading.Thread(target=lambda: server.run(change, LIVE))
    other = server.connect(LIVE)
    with other.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1s'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            cursor.execute(change)
    other.close()
    record = admin.dump(database, "full", tmp_path, "x.dump", nothing)
    blocked.start()
    waiting = (
        f"SELECT 1 FROM pg_stat_activity WHERE query = '{change}' AND wait_event_type = 'Lock'"
    )
    wait_until(lambda: server.run(waiting), "the change waits for our lock")
    admin.release(database)
    blocked.join(30)
    assert not blocked.is_alive()
    assert [table.rows for table in record.tables] == [2000]
    admin.create(database, SIDE, record)
    admin.load(database, SIDE, tmp_path, "x.dump")
    assert differences(record, admin.contents(database, SIDE, record.digest_algorithm)) == ()


def test_the_tables_are_locked_before_the_snapshot_is_taken(
    server: PostgresServer,
    admin: PostgresAdmin,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order is everything: a rewrite that gets in before the lock is seen by the snapshot."""
    original = Session.run

    def rewrite_first(session: Session, statement: str, *rest: object) -> None:
        if "LOCK TABLE" in str(statement):
            server.run("UPDATE t SET v = 'x'; ALTER TABLE t ALTER id TYPE bigint", LIVE)
        original(session, statement, *rest)

    monkeypatch.setattr(Session, "run", rewrite_first)
    admin.hold(database)
    monkeypatch.undo()
    held = admin._held[database.key].session
    assert held.value("SELECT count(*) FROM public.t WHERE v = 'x'") == 2000


def test_a_table_that_appears_while_locking_is_locked_too(
    server: PostgresServer,
    admin: PostgresAdmin,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Listing again after the snapshot finds it, and everything starts anew."""
    original = snapshot._list
    lists: list[int] = []

    def list_and_create(looker: Session) -> Sequence[snapshot.Table]:
        found = original(looker)
        lists.append(len(found))
        if len(lists) == 1:
            server.run("CREATE TABLE late AS SELECT 1 AS a", LIVE)
        return found

    monkeypatch.setattr(snapshot, "_list", list_and_create)
    record = admin.dump(database, "full", tmp_path, "x.dump", nothing)
    assert lists[:2] == [1, 2]
    assert len(lists) == 4
    assert [table.name for table in record.tables] == ["late", "t"]


def test_who_holds_a_lock_is_named(
    server: PostgresServer,
    admin: PostgresAdmin,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A migration in progress: its pid, its application, what it runs; and no session stays."""
    monkeypatch.setattr(snapshot, "LOCK_SECONDS", 1)
    migration = server.connect(LIVE, application_name="the migration")
    migration.autocommit = False
    with migration.cursor() as cursor:
        cursor.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        pid = migration.info.backend_pid
        with pytest.raises(QuiesceError, match=f"pid {pid}.*the migration") as failure:
            admin.hold(database)
    assert "ACCESS EXCLUSIVE" in " ".join(failure.value.details)
    wait_until(lambda: not server.run(OURS), "no session of ours is left")
    migration.close()


def test_somebody_who_waits_too_long_for_our_locks_gets_through(
    server: PostgresServer, runtime: LocalRuntime, database: Database, tmp_path: Path
) -> None:
    """A service that changes tables at its start must get healthy; the dump is given up."""
    admin = PostgresAdmin(runtime, [database], RUN, lock_patience=0.5)
    admin.hold(database)
    server.run("SELECT * FROM t", LIVE)  # readers and writers do not wait at all
    server.run("INSERT INTO t VALUES (-1)", LIVE)
    server.run("ALTER TABLE t ADD x int", LIVE)
    with pytest.raises(BlockedAnotherSession, match="blocked pid") as failure:
        admin.dump(database, "full", tmp_path, "x.dump", nothing)
    assert "ALTER TABLE t ADD x int" in " ".join(failure.value.details)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    admin.release(database)
    wait_until(lambda: not server.run(OURS), "no session of ours is left")
    assert admin.dump(database, "full", tmp_path, "x.dump", nothing).tables[0].rows == 2001
    admin.close()


def test_a_busy_client_is_put_out_by_the_fence(
    server: PostgresServer, admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """One that writes without pause and comes back at once: not before the exchange is done."""
    build(admin, database, tmp_path)
    ends = threading.Event()
    refused = threading.Event()

    def insist() -> None:
        while not ends.is_set():
            try:
                server.run("UPDATE t SET v = v || 'x' WHERE id < 100", LIVE)
            except psycopg2.Error:
                refused.set()

    clients = [threading.Thread(target=insist) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        admin.block_connections("db", [LIVE, SIDE])
        here = f"SELECT 1 FROM pg_stat_activity WHERE datname IN ('{LIVE}', '{SIDE}')"
        assert server.run(here) == []
        wait_until(refused.is_set, "a client was refused")
        admin.swap("db", [SWAP])
    finally:
        ends.set()
        for client in clients:
            client.join(30)
    server.run(f"ALTER DATABASE {ASIDE} ALLOW_CONNECTIONS true")
    assert server.run("SELECT count(*) > 0 FROM t WHERE v LIKE '%x'", ASIDE) == [(True,)]


def test_a_swap_that_fails_in_the_middle_takes_back_what_it_had_renamed(
    server: PostgresServer, admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """The second database is in use again: the first one is live under its own name, as before."""
    build(admin, database, tmp_path)
    with new_database(server, "zz_second") as second:
        admin.create(second, "zz_second__new_ab12", None)
        admin.block_connections("db", [LIVE, SIDE])
        client = server.connect("zz_second")
        other = DatabaseSwap("x", "zz_second", "zz_second__new_ab12", "zz_second__old_ab12")
        with pytest.raises(QuiesceError, match="being accessed"):
            admin.swap("db", [SWAP, other])
        client.close()
        names = {str(name) for (name,) in server.run("SELECT datname FROM pg_database")}
        assert {LIVE, SIDE, "zz_second", "zz_second__new_ab12"} <= names
        assert ASIDE not in names
        admin.block_connections("db", ["zz_second"])
        admin.swap("db", [SWAP, other])
        assert admin.observe([database])[0].exists


def test_a_prepared_transaction_is_named_instead_of_waited_for(
    server: PostgresServer, admin: PostgresAdmin, database: Database
) -> None:
    """No termination ends it, and it would block the rename for ever."""
    server.run("BEGIN; INSERT INTO t VALUES (0); PREPARE TRANSACTION 'held by nobody'", LIVE)
    try:
        with pytest.raises(QuiesceError, match="held by nobody"):
            admin.block_connections("db", [LIVE])
    finally:
        server.run(f"ALTER DATABASE {LIVE} ALLOW_CONNECTIONS true")
        server.run("ROLLBACK PREPARED 'held by nobody'", LIVE)


# -------------------------------------------------------------------------------- deaths, sweeps


class DyingRuntime(LocalRuntime):
    """Kills the server when a client is in the middle of its rows."""

    def run_tool(self, service: str, argv: Sequence[str], **more: Any) -> None:
        ended = threading.Event()
        killer = threading.Thread(target=self._kill, args=[ended])
        killer.start()
        try:
            super().run_tool(service, argv, **more)
        finally:
            ended.set()
            killer.join()

    def _kill(self, ended: threading.Event) -> None:
        watcher = self.server.connect()
        with contextlib.closing(watcher), watcher.cursor() as cursor:
            while not ended.wait(0.005):
                cursor.execute(f"{OURS} AND query ~ '^COPY' AND state = 'active'")
                if cursor.fetchone():
                    self.server.kill()
                    return


def test_a_server_that_dies_during_a_dump_leaves_no_file(tmp_path: Path) -> None:
    """A server of its own, killed in the middle: an error, and nothing that looks like a dump."""
    server = PostgresServer(installed()[max(installed())])
    try:
        server.run(f"CREATE DATABASE {LIVE}")
        server.run(ROWS.replace("2000", "60000"), LIVE)
        database = server.database(LIVE)
        admin = PostgresAdmin(DyingRuntime(server), [database], RUN)
        with pytest.raises(QuiesceError, match="the dump of database trouble failed"):
            admin.dump(database, "full", tmp_path, "databases/x.dump", nothing)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        (state,) = admin.observe([database])
        assert not state.reachable
        server.start()
        (state,) = admin.observe([database])
        assert (state.reachable, state.exists) == (True, True)
        assert server.run(OURS) == []
    finally:
        server.remove()


def test_a_server_that_dies_during_a_load_is_an_error_and_live_is_untouched(
    tmp_path: Path,
) -> None:
    """Afterwards the side database is made anew by repeating the steps."""
    server = PostgresServer(installed()[max(installed())])
    try:
        server.run(f"CREATE DATABASE {LIVE}")
        server.run(ROWS.replace("2000", "60000"), LIVE)
        database = server.database(LIVE)
        steady = PostgresAdmin(LocalRuntime(server), [database], RUN)
        record = steady.dump(database, "full", tmp_path, "x.dump", nothing)
        steady.create(database, SIDE, record)
        with pytest.raises(QuiesceError, match=r"loading x\.dump into database"):
            PostgresAdmin(DyingRuntime(server), [database], RUN).load(
                database, SIDE, tmp_path, "x.dump"
            )
        server.start()
        assert server.run("SELECT count(*) FROM t", LIVE) == [(60000,)]
        steady.create(database, SIDE, record)
        steady.load(database, SIDE, tmp_path, "x.dump")
        contents = steady.contents(database, SIDE, record.digest_algorithm)
        assert differences(record, contents) == ()
    finally:
        server.remove()


class Interruption(Exception):
    """What a signal's handler raises."""


class InterruptedRuntime(LocalRuntime):
    """The client goes on while its caller is interrupted: the container outlives its client."""

    def run_tool(
        self, service: str, argv: Sequence[str], *, environment: Mapping[str, str], **_: object
    ) -> None:
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.server.port, user="postgres",
            password=environment["PGPASSWORD"], dbname=environment["PGDATABASE"],
            application_name=environment["PGAPPNAME"],
        )  # fmt: skip
        connection.cursor().execute("LOCK TABLE t IN ACCESS SHARE MODE")
        self.left = connection
        raise Interruption


def test_an_interrupted_client_leaves_no_session_and_no_lock(
    server: PostgresServer, database: Database, tmp_path: Path
) -> None:
    """Killing a client does not end its session on the server; we do."""
    runtime = InterruptedRuntime(server)
    admin = PostgresAdmin(runtime, [database], RUN)
    with pytest.raises(Interruption):
        admin.dump(database, "full", tmp_path, "x.dump", nothing)
    wait_until(lambda: not server.run(OURS), "no session of ours is left")
    server.run("SET lock_timeout = '1s'; ALTER TABLE t ADD x int", LIVE)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_signal_gets_through_to_a_statement_that_waits(
    server: PostgresServer, database: Database, runtime: LocalRuntime
) -> None:
    """Without our own waiting, the handler would run only when the server answers."""
    admin = PostgresAdmin(runtime, [database], RUN)

    def interrupt(*_: object) -> None:
        raise Interruption

    sleeping = f"{OURS} AND query LIKE '%pg_sleep(600%' AND state = 'active'"

    def send() -> None:
        wait_until(lambda: server.run(sleeping), "the statement runs")
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with admin._open(database, LIVE) as session, pytest.raises(Interruption):
            session.run("SELECT pg_sleep(600)")
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    wait_until(lambda: not server.run(OURS), "the statement was cancelled")


def test_a_lost_snapshot_is_an_error_and_not_a_newer_one(
    server: PostgresServer, admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """The quiet point is gone with its session: no dump of a later point may pass for it."""
    admin.hold(database)
    server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN ({OURS})")
    wait_until(lambda: not server.run(OURS), "the holder is gone")
    server.run("INSERT INTO t VALUES (-1)", LIVE)
    for _ in range(2):
        with pytest.raises(QuiesceError, match="snapshot"):
            admin.dump(database, "full", tmp_path, "x.dump", nothing)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    admin.release(database)
    assert admin.dump(database, "full", tmp_path, "x.dump", nothing).tables[0].rows == 2001


def test_sweeping_ends_what_a_dead_run_left_and_nothing_else(
    server: PostgresServer, admin: PostgresAdmin, database: Database
) -> None:
    """By the run's name alone; somebody else's session and another run's go on."""
    dead = server.connect(LIVE, application_name="quiesce:20261121-dead")
    other = server.connect(LIVE, application_name="quiesce:20261121-deadly")
    dead.autocommit = False
    dead.cursor().execute("LOCK TABLE t IN ACCESS SHARE MODE")
    (ended,) = admin.remove_orphans("20261121-dead")
    assert str(dead.info.backend_pid) in ended
    assert LIVE in ended
    assert admin.remove_orphans("20261121-dead") == ()
    other.cursor().execute("SELECT 1")
    server.run("SET lock_timeout = '1s'; ALTER TABLE t ADD x int", LIVE)
    other.close()
    dead.close()


# ------------------------------------------------------------------------------ damage, refusals


@pytest.mark.parametrize("cut", ["one byte short", "half", "empty", "missing", "text"])
def test_a_damaged_dump_is_refused(
    admin: PostgresAdmin, database: Database, cut: str, tmp_path: Path
) -> None:
    """Always an error, and the live database is as it was."""
    record = admin.dump(database, "full", tmp_path, "x.dump", nothing)
    path = tmp_path / "x.dump"
    whole = path.read_bytes()
    damage = {
        "one byte short": whole[:-1],
        "half": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"pg_dump: warning: there are circular\n" + whole,
    }
    path.unlink()
    if cut != "missing":
        path.write_bytes(damage[cut])
    admin.create(database, SIDE, record)
    with pytest.raises(QuiesceError):
        admin.load(database, SIDE, tmp_path, "x.dump")


def test_a_database_made_just_before_a_death_is_made_anew(
    server: PostgresServer, admin: PostgresAdmin, database: Database
) -> None:
    """Without our mark yet, it is known by its name; any other one is somebody else's."""
    server.run(f"CREATE DATABASE {SIDE}")
    server.run("CREATE TABLE half (a int)", SIDE)
    admin.create(database, SIDE, None)
    assert server.run("SELECT 1 FROM pg_class WHERE relname = 'half'", SIDE) == []
    server.run(f"CREATE DATABASE {LIVE}__new_ff99")
    with pytest.raises(QuiesceError, match="already exists"):
        admin.create(database, f"{LIVE}__new_ff99", None)


def test_a_file_outside_its_set_is_refused(
    admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """A manifest is hostile until checked."""
    for file in ("../x.dump", "/etc/passwd", "a/../../x", ""):
        with pytest.raises(QuiesceError, match="not a file of its set"):
            admin.load(database, LIVE, tmp_path, file)


def test_everything_that_keeps_a_dump_from_loading_is_listed_at_once(
    admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """Version, extensions, roles and locale, in one list, before anything changes."""
    record = admin.dump(database, "schema", tmp_path, "x.dump", nothing)
    (plpgsql,) = [one for one in record.extensions if one.name == "plpgsql"]
    wrong = replace(
        record,
        server_version="99.1",
        extensions=(replace(plpgsql, version="9.9"), replace(plpgsql, name="postgis")),
        roles=("no such role",),
        locale_provider="libc",
        collate="xx_YY.utf8",
        ctype="xx_YY.utf8",
    )
    found = "\n".join(admin.check_loadable(database, wrong))
    for word in ("99.1", "plpgsql 1.0", "postgis", "no such role", "xx_YY.utf8"):
        assert word in found
    assert len(found.splitlines()) == 5


def test_an_altered_setting_in_a_record_is_not_run(
    server: PostgresServer, admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """Only the forms we write ourselves: a forged one changes nothing."""
    record = admin.dump(database, "full", tmp_path, "x.dump", nothing)
    admin.create(database, SIDE, record)
    for forged in (
        "DROP DATABASE postgres",
        f"""COMMENT ON DATABASE "{LIVE}" IS 'x'; CREATE ROLE evil""",
        f"""ALTER DATABASE "{LIVE}" SET "work_mem" TO '1'; CREATE ROLE evil; --'""",
        f"""ALTER ROLE "x" IN DATABASE "{LIVE}" SET "a" TO current_user""",
    ):
        with pytest.raises(QuiesceError, match="unknown form"):
            admin.finish(database, SIDE, replace(record, settings=(forged,)))
    assert server.run("SELECT 1 FROM pg_roles WHERE rolname = 'evil'") == []


# ---------------------------------------------------------------------------- connections, names


@pytest.mark.parametrize(
    "name",
    [
        "host=127.0.0.1 port=1",
        "postgresql://evil:1/x",
        "-d postgres",
        "dbname='x'",
        'it\'s "quoted" \\ back',
        "UPPER case.dot",
        "%s {directory}",
        "ünï ☃",
        "n" * 63,
    ],
)
def test_a_database_may_have_any_name(
    server: PostgresServer, runtime: LocalRuntime, name: str, tmp_path: Path
) -> None:
    """Never a connection string, an option or a template, from dump to exchange."""
    statements = "CREATE TABLE t AS SELECT 1 AS a"
    stem = name.encode()[:40].decode(errors="ignore")
    side, aside = f"{stem}__new_ab12", f"{stem}__old_ab12"
    with new_database(server, name, statements) as database:
        admin = PostgresAdmin(runtime, [database], RUN)
        record = admin.dump(database, "full", tmp_path, "x.dump", nothing)
        admin.create(database, side, record)
        admin.load(database, side, tmp_path, "x.dump")
        admin.finish(database, side, record)
        assert differences(record, admin.contents(database, side, record.digest_algorithm)) == ()
        admin.block_connections("db", [name, side])
        admin.swap("db", [DatabaseSwap(name, name, side, aside)])
        assert admin.observe([database])[0].exists
        admin.drop(database, aside, "ab12")
        for argv in runtime.calls:
            assert server_password() not in " ".join(argv)


def server_password() -> str:
    """The password of the test server."""
    from tests.support.postgres import PASSWORD

    return PASSWORD


def test_a_name_that_would_be_cut_is_refused(admin: PostgresAdmin, database: Database) -> None:
    """PostgreSQL keeps 63 bytes and drops the rest without a word."""
    with pytest.raises(QuiesceError, match="is not a valid name"):
        admin.create(database, "é" * 32, None)


def test_the_environment_of_the_operator_does_not_count(
    admin: PostgresAdmin, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGHOSTADDR would beat the host, PGOPTIONS the settings, PGSERVICE everything."""
    for name, value in {
        "PGHOSTADDR": "127.0.0.99", "PGHOST": "nowhere", "PGPORT": "1", "PGUSER": "nobody",
        "PGDATABASE": "nothing", "PGPASSWORD": "wrong", "PGOPTIONS": "-c search_path=x",
        "PGAPPNAME": "other", "PGTARGETSESSIONATTRS": "standby", "PGCLIENTENCODING": "LATIN1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    (state,) = admin.observe([database])
    assert (state.reachable, state.exists) == (True, True)


def test_a_wrong_password_is_a_fact_and_never_shown(
    server: PostgresServer, runtime: LocalRuntime, database: Database
) -> None:
    """One line that says which setting to correct."""
    wrong = replace(database, password=Secret("geheim-4711"))
    admin = PostgresAdmin(runtime, [wrong], RUN)
    (state,) = admin.observe([wrong])
    assert not state.reachable
    assert "password of user postgres" in state.problem
    with pytest.raises(QuiesceError) as failure:
        admin.hold(wrong)
    chain: BaseException | None = failure.value
    assert "databases.trouble.password" in failure.value.hint
    while chain is not None:
        assert "geheim" not in f"{chain} {getattr(chain, 'details', '')}"
        chain = chain.__cause__


def test_each_way_a_connection_fails_has_its_own_words(
    server: PostgresServer, runtime: LocalRuntime, database: Database
) -> None:
    """Missing database, missing role, nobody listening, closed database."""
    admin = PostgresAdmin(runtime, [database], RUN)
    for wrong, words in (
        (replace(database, name="absent"), "has no database absent"),
        (replace(database, port=1), "does not answer on 127.0.0.1:1"),
    ):
        with pytest.raises(QuiesceError, match=words) as failure:
            admin.hold(wrong)
        assert failure.value.hint
    admin.block_connections("db", [LIVE])
    with pytest.raises(QuiesceError, match="closed to connections") as failure:
        admin.hold(database)
    assert "inv recover" in failure.value.hint
    (state,) = admin.observe([database])
    assert (state.reachable, state.exists) == (True, True)
    assert "closed" in state.problem
    admin.put_back("db", [replace(SWAP)])
    admin.hold(database)
    admin.release(database)


def test_no_password_is_in_any_argument(
    runtime: LocalRuntime, admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """Clients get it through their environment alone."""
    build(admin, database, tmp_path)
    admin.dump_globals("db", tmp_path, "globals.sql")
    assert {argv[0] for argv in runtime.calls} == {"pg_dump", "pg_restore", "pg_dumpall"}
    for argv, environment in zip(runtime.calls, runtime.environments, strict=True):
        assert server_password() not in " ".join(argv)
        assert environment["PGPASSWORD"] == server_password()
        assert environment["PGAPPNAME"] == f"quiesce:{RUN}"


def test_hashes_of_passwords_are_kept_where_they_are_wanted(
    runtime: LocalRuntime, database: Database, tmp_path: Path
) -> None:
    """`roles: with-passwords`, for bringing a whole server back."""
    wanted = replace(database, role_passwords=True)
    admin = PostgresAdmin(runtime, [wanted], RUN)
    admin.dump_globals("db", tmp_path, "globals.sql")
    text = (tmp_path / "globals.sql").read_text()
    assert "PASSWORD 'SCRAM-SHA-256" in text
    assert server_password() not in text


def test_files_are_private_and_nothing_partial_stays(
    admin: PostgresAdmin, database: Database, tmp_path: Path
) -> None:
    """A dump holds everything its database does."""
    admin.dump(database, "full", tmp_path, "databases/x.dump", nothing)
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
