"""What ties a database to others, and what a server lacks: said before anything stops."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from quiesce.commands.lifecycle import run_down
from tests.support.counting import DATABASES, Counting

SUBSCRIBE = (
    "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p"
    " WITH (connect = false)"
)


@pytest.fixture(scope="module")
def counting() -> Iterator[Counting]:
    """Two databases and a volume, on a server that allows all that these tests are about."""
    with Counting.temporary() as made:
        made.begin()
        made.sql("postgres", "ALTER SYSTEM SET wal_level = logical")
        made.sql("postgres", "ALTER SYSTEM SET max_prepared_transactions = 4")
        run_down(made.session(), ())
        made.begin()
        done = made.inv("backup")
        assert done.returncode == 0, done.stderr
        yield made


def databases(counting: Counting) -> set[str]:
    """All that the server has."""
    return {name for (name,) in counting.sql("postgres", "SELECT datname FROM pg_database")}


def sessions(counting: Counting) -> list[tuple[object, ...]]:
    """The counter's sessions: the same ones as long as it was not stopped."""
    return counting.sql(
        "postgres", "SELECT pid FROM pg_stat_activity WHERE datname IN ('rulesdb', 'memorydb')"
        " AND application_name NOT IN ('test', '') ORDER BY 1",
    )  # fmt: skip


def words(ended: subprocess.CompletedProcess[str]) -> str:
    """All that was said."""
    return ended.stdout + ended.stderr


def test_replication_is_never_broken_without_being_asked_for(counting: Counting) -> None:
    """Refused with the flag that allows it; then it works and says how to go on."""
    counting.sql("rulesdb", SUBSCRIBE)
    counting.sql("rulesdb", "ALTER SUBSCRIPTION s ENABLE")
    counting.sql("memorydb", "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')")
    checked = counting.inv("check")
    assert checked.returncode == 0
    assert "subscription s" in words(checked)
    assert "logical slot feed" in words(checked)
    assert counting.inv("backup").returncode == 0
    before = (databases(counting), counting.sets())
    refused = counting.inv("restore", "--file", "latest", "--yes")
    assert refused.returncode == 2
    assert "subscription s" in refused.stderr
    assert "logical slot feed" in refused.stderr
    assert "--break-replication" in refused.stderr
    assert (databases(counting), counting.sets()) == before
    counting.wait_until_it_counts()
    assert counting.sql("rulesdb", "SELECT subenabled FROM pg_subscription") == [(True,)]
    # Beside the live one nothing is replaced, so nothing is in the way.
    aside = counting.inv(
        "restore", "--file", "latest", "--only", "rulesdb", "--as", "looked_at", "--yes"
    )
    assert aside.returncode == 0, aside.stderr
    counting.sql("looked_at", "ALTER SUBSCRIPTION s SET (slot_name = NONE)")
    counting.sql("looked_at", "DROP SUBSCRIPTION s")
    counting.sql("postgres", "DROP DATABASE looked_at")
    done = counting.inv("restore", "--file", "latest", "--yes", "--break-replication")
    assert done.returncode == 0, done.stderr
    assert 'ALTER SUBSCRIPTION "s" ENABLE' in words(done)
    assert "pg_create_logical_replication_slot('feed', 'pgoutput')" in words(done)
    assert databases(counting) == before[0]
    assert counting.sql("rulesdb", "SELECT subenabled FROM pg_subscription") == [(False,)]
    assert counting.sql("postgres", "SELECT 1 FROM pg_replication_slots") == []
    undone = counting.inv("undo-restore", "--yes", "--break-replication")
    assert undone.returncode == 0, undone.stderr
    assert counting.inv("backup").returncode == 0
    counting.sql("rulesdb", "ALTER SUBSCRIPTION s SET (slot_name = NONE)")
    counting.sql("rulesdb", "DROP SUBSCRIPTION s")
    counting.wait_until_it_counts()


def test_a_prepared_transaction_is_said_as_it_is_before_anything_stops(
    counting: Counting,
) -> None:
    """A backup fails at its lock, a restore at the transaction itself; the hint ends both."""
    counting.sql("rulesdb", "CREATE TABLE held (n int)")
    counting.sql("rulesdb", "BEGIN; LOCK TABLE held; PREPARE TRANSACTION 'for''gotten'")
    before = sessions(counting)
    try:
        for task in (["backup"], ["backup-db"], ["restore", "--file", "latest", "--yes"]):
            refused = counting.inv(*task)
            assert refused.returncode == 2, words(refused)
            assert "prepared transaction for'gotten" in refused.stderr
            assert "public.held" in refused.stderr
            assert "ROLLBACK PREPARED 'for''gotten'" in refused.stderr
        assert sessions(counting) == before
        assert "for'gotten" in words(counting.inv("check"))
    finally:
        counting.sql("rulesdb", "ROLLBACK PREPARED 'for''gotten'")
    counting.sql("rulesdb", "BEGIN; INSERT INTO held VALUES (1); PREPARE TRANSACTION 'open'")
    try:
        made = counting.inv("backup")
        assert made.returncode == 0, words(made)
        assert "no backup contains the changes of transaction open in database rulesdb" in words(
            made
        )
        assert counting.inv("restore", "--file", "latest", "--yes").returncode == 2
    finally:
        counting.sql("rulesdb", "ROLLBACK PREPARED 'open'")
        counting.sql("rulesdb", "DROP TABLE held")


def test_roles_come_with_the_set(counting: Counting) -> None:
    """By themselves where the server has none of its own, or when it is asked for."""
    counting.sql("postgres", 'CREATE ROLE "w eb" LOGIN')
    counting.sql("rulesdb", 'GRANT SELECT ON counted TO "w eb"')
    assert counting.inv("backup").returncode == 0

    def lose() -> None:
        counting.sql("rulesdb", 'DROP OWNED BY "w eb"')
        counting.sql("postgres", 'DROP ROLE "w eb"')

    lose()
    counting.sql("postgres", "CREATE ROLE somebody")
    refused = counting.inv("restore", "--file", "latest", "--yes")
    assert refused.returncode == 2
    assert "no role w eb" in refused.stderr
    assert "--create-roles" in refused.stderr
    name = counting.sets()[-1].name
    done = counting.inv("restore", "--file", name, "--yes", "--create-roles")
    assert done.returncode == 0, done.stderr
    assert "create role w eb on the server in db" in words(done)
    granted = "SELECT has_table_privilege('w eb', 'counted', 'SELECT')"
    assert counting.sql("rulesdb", granted) == [(True,)]
    lose()
    counting.sql("postgres", "DROP ROLE somebody")
    done = counting.inv("restore", "--file", name, "--yes")
    assert done.returncode == 0, done.stderr
    assert counting.sql("rulesdb", granted) == [(True,)]
    assert set(DATABASES) <= databases(counting)
