"""Who wrote between snapshots: proven by rows, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.adapters.postgres.activity import between
from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.model import Database
from tests.support.postgres import (
    LocalRuntime,
    PostgresServer,
    new_database,
    nothing,
    shared_server,
)

pytestmark = pytest.mark.postgres

RUN = "20260101000000-be12"
TABLES = "CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE TABLE u (a int)"

Pair = tuple[PostgresServer, PostgresAdmin, Database, Database]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two databases of one server, and their admin; the first is held."""
    server = shared_server()
    with (
        new_database(server, "between_a", TABLES) as first,
        new_database(server, "between_b", TABLES) as second,
    ):
        admin = PostgresAdmin(LocalRuntime(server), [first, second], RUN, scratch=tmp_path)
        admin.hold(first)
        yield server, admin, first, second
        admin.close()


def seen(
    admin: PostgresAdmin, folder: Path, *databases: Database
) -> list[tuple[int, tuple[str, ...]]]:
    """Hold the second as well, and return what dumps find out about each."""
    admin.hold(databases[1])
    admin.activity(databases)
    found = []
    for database in databases:
        admin.dump(database, "full", folder, f"{database.key}.dump", nothing)
        meanwhile = admin.written_between(database)
        found.append((meanwhile.transactions, meanwhile.tables))
    return found


def test_reading_and_what_failed_prove_nothing(pair: Pair, tmp_path: Path) -> None:
    """ANALYZE is a transaction, as are temporary tables and what was rolled back."""
    server, admin, first, second = pair
    server.run("ANALYZE t", second.name)
    server.run("CREATE TEMP TABLE x AS SELECT * FROM t; SELECT * FROM t FOR UPDATE", second.name)
    server.run("BEGIN; INSERT INTO t VALUES (2); ROLLBACK", second.name)
    at_first, at_second = seen(admin, tmp_path, first, second)
    assert at_first == (0, ())
    assert at_second[0] > 0
    assert at_second[1] == ()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO u VALUES (1)",
        "UPDATE t SET a = 2",
        "TRUNCATE t",
        "DROP TABLE t; CREATE TABLE t ()",
    ],
)
def test_a_write_that_the_later_snapshot_shows_is_proven(
    pair: Pair, statement: str, tmp_path: Path
) -> None:
    """With the table; one that is in neither snapshot, or in the first database alone, is none."""
    server, admin, first, second = pair
    server.run("INSERT INTO t VALUES (3)", first.name)
    server.run(statement, second.name)
    at_first, at_second = seen(admin, tmp_path, first, second)
    assert at_first == (0, ())
    assert at_second[1] == ("public.u",) if "u" in statement.split() else ("public.t",)


def test_a_long_transaction_that_ends_in_between_is_seen(pair: Pair, tmp_path: Path) -> None:
    """It had its number before the first snapshot, which says that it was running."""
    server, admin, first, second = pair
    admin.release(first)
    writer = server.connect(second.name)
    with writer.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO t VALUES (4)")
        admin.hold(first)
        cursor.execute("COMMIT")
    writer.close()
    assert seen(admin, tmp_path, first, second)[1][1] == ("public.t",)


def test_who_only_waits_is_idle_and_who_did_something_is_not(pair: Pair) -> None:
    """By the server's own clock."""
    server, admin, first, second = pair
    admin.release(first)
    idle = server.connect(second.name, application_name="idle one")
    busy = server.connect(second.name, application_name="busy one")
    admin.hold(first)
    with busy.cursor() as cursor:
        cursor.execute("SELECT 1")
    external_sessions = {
        v.application: v.idle for v in admin.activity((first, second)).external_sessions
    }
    assert external_sessions == {"idle one": True, "busy one": False}
    idle.close()
    busy.close()


def test_transactions_between_two_snapshots_are_told_from_their_texts() -> None:
    """What started and ended in between, and what ran and has ended; as rows number them."""
    assert between("10:12:10", "10:12:10") == ()
    assert between("10:12:10", "12:12:") == (10,)
    assert between("10:12:10", "10:15:10,13") == (12, 14)
    assert between("4294967296:4294967296:", "4294967298:4294967298:") == (0, 1)
