"""The instant of several MariaDB databases, their dumps and digests, on a real server."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from quiesce.adapters.mariadb.admin import MariaDbAdmin
from quiesce.adapters.zstd import module as zstd
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Database
from quiesce.observed import Activity
from quiesce.ports import BlockedAnotherSession
from tests.support.mariadb import LocalRuntime, MariaDbServer, new_database, shared_server
from tests.support.postgres import nothing, wait_until

pytestmark = pytest.mark.mariadb

COUNTER = "CREATE TABLE n (i int primary key) ENGINE=InnoDB; INSERT INTO n VALUES (0);"


@pytest.fixture(scope="module")
def server() -> MariaDbServer:
    """The one of all tests."""
    return shared_server()


@pytest.fixture
def runtime(server: MariaDbServer) -> LocalRuntime:
    """Reaches it, and runs its clients."""
    return LocalRuntime(server)


def admin_of(runtime: LocalRuntime, folder: Path, *databases: Database) -> MariaDbAdmin:
    """The driver for these databases."""
    return MariaDbAdmin(runtime, databases, "20260101000000-abcd", scratch=folder / "scratch")


def text_of(path: Path) -> str:
    """What is in a compressed script."""
    with zstd().open(path) as stream:
        return str(stream.read().decode())


class Writer:
    """Writes rising numbers in turn into several databases, until it is told to stop."""

    def __init__(self, server: MariaDbServer, names: tuple[str, ...], table: str = "n") -> None:
        self._server, self._names, self._table = server, names, table
        self._stop = threading.Event()
        self.written = 0
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        with self._server.connect() as connection, connection.cursor() as cursor:
            while not self._stop.is_set():
                for name in self._names:
                    cursor.execute(f"INSERT INTO {name}.{self._table} VALUES ({self.written + 1})")
                self.written += 1

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self.written > 20, "the writer writes")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


@pytest.fixture
def pair(server: MariaDbServer) -> Iterator[tuple[Database, Database]]:
    """Two databases of one server, with a table of numbers each."""
    with new_database(server, "qa", COUNTER) as a, new_database(server, "qb", COUNTER) as b:
        yield a, b


def test_databases_of_one_server_are_held_at_one_instant(
    server: MariaDbServer, runtime: LocalRuntime, pair: tuple[Database, Database], tmp_path: Path
) -> None:
    """While a writer never rests, both dumps and both records end with the same number, and the
    writer goes on as soon as they are held."""
    admin = admin_of(runtime, tmp_path, *pair)
    with Writer(server, ("qa", "qb")) as writer:
        assert admin.rehearse(pair) == ()
        for database in pair:
            admin.hold(database)
        seen = writer.written
        wait_until(lambda: writer.written > seen + 50, "the writer goes on")
        records = [admin.dump(d, "full", tmp_path, f"{d.key}.sql.zst", nothing) for d in pair]
        admin.close()
    rows = [record.tables[0].rows for record in records]
    dumped = [text_of(tmp_path / f"{d.key}.sql.zst").count("\n(") for d in pair]
    assert 0 <= rows[0] - rows[1] <= 1  # it was between its two statements, or not
    assert dumped == rows
    assert rows[0] <= seen + 2


def test_a_dump_contains_what_its_record_says_however_long_the_dump_takes(
    server: MariaDbServer, runtime: LocalRuntime, tmp_path: Path
) -> None:
    """The record is read by another session than the dump, of the same instant."""
    with new_database(server, "qlong", COUNTER) as database:
        server.run("INSERT INTO n SELECT -seq FROM seq_1_to_50000", "qlong")
        admin = admin_of(runtime, tmp_path, database)
        with Writer(server, ("qlong",)):
            record = admin.dump(database, "full", tmp_path, "qlong.sql.zst", nothing)
        assert text_of(tmp_path / "qlong.sql.zst").count("\n(") == record.tables[0].rows
        assert record.tables[0].rows > 50000
        assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("engine", ["MyISAM", "Aria", "MEMORY"])
def test_tables_without_transactions_are_dumped_while_the_lock_is_held(
    server: MariaDbServer, runtime: LocalRuntime, engine: str, tmp_path: Path
) -> None:
    """Rows written into them right after the instant are neither in the dump nor in the record."""
    script = f"{COUNTER} CREATE TABLE m (i int) ENGINE={engine}; INSERT INTO m VALUES (7);"
    with new_database(server, "qmixed", script) as database:
        admin = admin_of(runtime, tmp_path, database)
        admin.hold(database)
        server.run("INSERT INTO m VALUES (8); INSERT INTO n VALUES (8)", "qmixed")
        record = admin.dump(database, "full", tmp_path, "d.sql.zst", nothing)
        admin.release(database)
        assert {t.name: t.rows for t in record.tables} == {"m": 1, "n": 1}
        assert text_of(tmp_path / "d.sql.zst").count("\n(") == 2
        assert "(8)" not in text_of(tmp_path / "d.sql.zst")


def test_a_table_whose_rows_are_elsewhere_is_refused_by_name(
    server: MariaDbServer, runtime: LocalRuntime, tmp_path: Path
) -> None:
    """Nothing is locked afterwards."""
    server.run("INSTALL SONAME 'ha_federatedx'")
    script = "CREATE TABLE far (i int) ENGINE=FEDERATED CONNECTION='mysql://root@127.0.0.1:%d/%s/n'"
    try:
        with new_database(server, "qfar", COUNTER) as database:
            server.run("CREATE USER far IDENTIFIED BY ''; GRANT ALL ON qfar.* TO far")
            server.client(script.replace("root", "far") % (server.port, "qfar"), "qfar")
            admin = admin_of(runtime, tmp_path, database)
            with pytest.raises(RequestError, match=r"far \(its engine FEDERATED may"):
                admin.hold(database)
            server.run("INSERT INTO n VALUES (1)", "qfar")
    finally:
        server.run("DROP USER IF EXISTS far; UNINSTALL SONAME 'ha_federatedx'")


def test_a_schema_that_changes_after_the_instant_is_found_and_named(
    server: MariaDbServer, runtime: LocalRuntime, tmp_path: Path
) -> None:
    """Whether or not the client noticed it: a snapshot shows a truncated table as empty."""
    tables = "".join(f"CREATE TABLE n{number} (i int) ENGINE=InnoDB;" for number in range(4))
    script = (
        f"{tables} CREATE TABLE `parted é$日` (i int) ENGINE=InnoDB"
        " PARTITION BY HASH (i) PARTITIONS 2; INSERT INTO n3 VALUES (1);"
    )
    changes = {
        "table n0": "ALTER TABLE n0 ADD COLUMN j int",
        "table new": "CREATE TABLE new (i int)",
        "table n1": "DROP TABLE n1",
        "table n2": "TRUNCATE TABLE n2",
        "table parted é$日": "ALTER TABLE `parted é$日` TRUNCATE PARTITION p1",
        "view v": "CREATE VIEW v AS SELECT 1 AS a",
        "routine r": "CREATE PROCEDURE r() SELECT 1",
        "trigger t": "CREATE TRIGGER t BEFORE INSERT ON n3 FOR EACH ROW SET @a = 1",
        "event e": "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SET @a = 1",
    }
    with new_database(server, "qd-dl é$日", script) as database:
        admin = admin_of(runtime, tmp_path, database)
        admin.hold(database)
        for change in changes.values():
            server.run(change, database.name)
        with pytest.raises(QuiesceError) as problem:
            admin.dump(database, "full", tmp_path, "d.sql.zst", nothing)
        admin.release(database)
        said = problem.value.fact.partition("was changed while it was dumped: ")[2]
        assert sorted(said.split(", ")) == sorted(changes)
        assert not (tmp_path / "d.sql.zst").exists()


def test_a_client_that_fails_leaves_no_lock_and_says_why(
    server: MariaDbServer, runtime: LocalRuntime, tmp_path: Path
) -> None:
    """A broken view stops it before its first table."""
    script = f"{COUNTER} CREATE TABLE g (i int); CREATE VIEW v AS SELECT i FROM g; DROP TABLE g;"
    with new_database(server, "qbroken", script) as database:
        admin = admin_of(runtime, tmp_path, database)
        with pytest.raises(QuiesceError, match="references invalid table"):
            admin.dump(database, "full", tmp_path, "d.sql.zst", nothing)
        server.run("INSERT INTO n VALUES (1)", "qbroken")
        assert not list((tmp_path / "scratch").iterdir())


def test_the_password_is_in_no_argument(
    runtime: LocalRuntime, pair: tuple[Database, Database], tmp_path: Path
) -> None:
    """Arguments are visible to everybody on the machine."""
    admin_of(runtime, tmp_path, *pair).dump(pair[0], "full", tmp_path, "d.sql.zst", nothing)
    assert runtime.calls
    assert pair[0].password is not None
    assert pair[0].password.reveal() not in repr(runtime.calls)


class Stuck(LocalRuntime):
    """Nobody reads what the client writes until its session is gone."""

    def run_tool(self, service: str, argv: Sequence[str], **more: Any) -> None:
        (result,) = (part for part in argv if part.startswith("--result-file="))
        pipe = more["directory"] / Path(result).name
        os.mkfifo(pipe)
        descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)

        def drain() -> None:
            query = "SELECT 1 FROM information_schema.processlist WHERE info LIKE '%NO_CACHE%'"
            wait_until(lambda: len(self.server.run(query)) == 2, "the client is stuck")
            wait_until(lambda: len(self.server.run(query)) == 1, "its session is gone")
            while reader.is_alive():
                with contextlib.suppress(BlockingIOError):
                    os.read(descriptor, 1 << 20)

        reader = threading.Thread(target=lambda: self._run(service, argv, more), daemon=True)
        reader.start()
        drain()
        reader.join()
        os.close(descriptor)
        raise QuiesceError("the client failed")

    def _run(self, service: str, argv: Sequence[str], more: Any) -> None:
        with contextlib.suppress(QuiesceError):
            super().run_tool(service, argv, **more)


def test_a_dump_that_nobody_wants_any_more_is_ended(server: MariaDbServer, tmp_path: Path) -> None:
    """Otherwise a failed run would wait for the dumps of all its databases."""
    with new_database(server, "qstuck", "CREATE TABLE n (t text) ENGINE=InnoDB;") as database:
        server.run("INSERT INTO n SELECT repeat('x', 1000) FROM seq_1_to_40000", "qstuck")
        admin = admin_of(Stuck(server), tmp_path, database)
        admin.hold(database)
        dumping = "SELECT 1 FROM information_schema.processlist WHERE info LIKE '%NO_CACHE%'"
        wait_until(lambda: len(server.run(dumping)) == 2, "the client is stuck")
        admin.release(database)
        assert len(server.run(dumping)) == 1
        assert not list((tmp_path / "scratch").iterdir())


def test_a_dump_that_keeps_another_session_waiting_is_ended(
    server: MariaDbServer, runtime: LocalRuntime, tmp_path: Path
) -> None:
    """After `lock_patience`: a service that changes a table at its start goes on."""
    with new_database(server, "qwait", COUNTER) as database:
        admin = MariaDbAdmin(
            runtime, [database], "20260101000000-abcd", 0.3, scratch=tmp_path / "scratch"
        )
        admin.hold(database)
        # As the digests do: the table cannot be changed while the transaction lasts.
        admin._held["qwait"].session.rows("SELECT * FROM n")
        server.run("SET lock_wait_timeout = 60; ALTER TABLE n ADD COLUMN later int", "qwait")
        with pytest.raises(BlockedAnotherSession, match="waited for more than"):
            admin.dump(database, "full", tmp_path, "d.sql.zst", nothing)
        admin.close()
        assert server.run("SELECT later FROM n", "qwait") == [(None,)]


def test_sessions_of_others_are_seen_and_own_ones_are_not(
    server: MariaDbServer, runtime: LocalRuntime, pair: tuple[Database, Database], tmp_path: Path
) -> None:
    """And databases that were not held together are said to show different moments."""
    admin = admin_of(runtime, tmp_path, *pair)
    assert admin.rehearse(pair) == ()
    with server.connect("qa"):
        admin.hold(pair[0])
        (seen,) = admin.activity(pair).external_sessions
        assert (seen.database, seen.user) == ("qa", "root")
        assert admin.activity(pair).moved == ()
        admin.close()
    apart = admin_of(runtime, tmp_path, *pair)
    for one in pair:
        apart.hold(one)
    assert apart.activity(pair) == Activity((), ("qb",), maintenance=False)
    apart.dump(pair[1], "full", tmp_path, "b.sql.zst", nothing)
    assert apart.written_between(pair[1]).unread == ("n",)
    apart.close()
