"""What would keep databases from being held, found by holding them for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.errors import QuiesceError
from quiesce.model import Secret
from tests.support.postgres import (
    LocalRuntime,
    PostgresServer,
    installed,
    new_database,
    shared_server,
    wait_until,
)

pytestmark = pytest.mark.postgres

RUN = "20261121020000-ab12"
SMALL = """
max_connections = 12
max_prepared_transactions = 1
max_locks_per_transaction = 10
max_worker_processes = 2
max_wal_senders = 1
autovacuum_max_workers = 1
"""
TABLES = 1200


@pytest.fixture(scope="module")
def small() -> Iterator[PostgresServer]:
    """A server with little room, and a database with more tables than fit into it."""
    shared_server()  # skips where there is none
    server = PostgresServer(installed()[max(installed())])
    try:
        server.kill()
        with (server.data / "postgresql.conf").open("a") as stream:
            stream.write(SMALL)
        server.start()
        server.run("CREATE DATABASE many")
        for first in range(0, TABLES, 50):
            names = range(first, first + 50)
            server.run("; ".join(f"CREATE TABLE t{n} (id int)" for n in names), "many")
        yield server
    finally:
        server.remove()


def problems(server: PostgresServer, *names: str) -> tuple[str, ...]:
    """What is in the way of holding these databases at once."""
    databases = [server.database(name) for name in names]
    admin = PostgresAdmin(LocalRuntime(server), databases, RUN)
    found = admin.rehearse(databases)
    ours = f"SELECT 1 FROM pg_stat_activity WHERE application_name = 'quiesce:{RUN}'"
    wait_until(lambda: server.run(ours) == [], "our sessions to be gone")
    return found


def test_too_little_room_for_locks_is_said_with_what_is_enough(small: PostgresServer) -> None:
    """And with that, it is enough."""
    (problem,) = problems(small, "many")
    assert "too little room for locks" in problem
    assert f"{TABLES} tables" in problem
    wanted = problem.partition("set it to ")[2].partition(" ")[0]
    small.kill()
    with (small.data / "postgresql.conf").open("a") as stream:
        stream.write(f"max_locks_per_transaction = {wanted}\n")
    small.start()
    assert problems(small, "many") == ()


def test_too_few_sessions_are_found(small: PostgresServer) -> None:
    """A backup has several sessions with a database at once."""
    others = [small.connect("postgres") for _ in range(10)]
    try:
        (problem,) = problems(small, "postgres")
        assert "too many clients" in problem or "connection slots" in problem
    finally:
        for other in others:
            other.close()


def test_a_prepared_transaction_that_holds_a_table_is_named() -> None:
    """Nobody ends it by being stopped; a session's lock may be gone when it matters."""
    server = shared_server()
    with new_database(server, "rehearsed", "CREATE TABLE t (id int)") as database:
        other = server.connect("rehearsed")
        with other.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            assert problems(server, "rehearsed") == ()
            cursor.execute("PREPARE TRANSACTION 'it''s'")
        other.close()
        try:
            (problem,) = problems(server, "rehearsed")
            assert "table public.t" in problem
            assert "by transaction it's" in problem
            assert "ROLLBACK PREPARED" in problem
            admin = PostgresAdmin(LocalRuntime(server), [database], RUN)
            with pytest.raises(QuiesceError, match="by transaction it's"):
                admin.hold(database)
            admin.close()
        finally:
            server.run("ROLLBACK PREPARED 'it''s'", "rehearsed")


def test_a_right_that_is_missing_is_found() -> None:
    """pg_dump locks every table, and may not lock one that it may not read."""
    server = shared_server()
    with new_database(server, "rehearsed", "CREATE TABLE t (id int)") as database:
        server.run("CREATE ROLE quiesce_poor LOGIN PASSWORD 'poor'")
        try:
            poor = replace(database, user="quiesce_poor", password=Secret("poor"))
            admin = PostgresAdmin(LocalRuntime(server), [poor], RUN)
            (problem,) = admin.rehearse([poor])
            assert "permission denied" in problem
        finally:
            server.run("DROP ROLE quiesce_poor")
