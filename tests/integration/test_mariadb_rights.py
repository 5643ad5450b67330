"""A MariaDB user with few rights: what it lacks is found before a backup or restore needs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.adapters.mariadb.admin import MariaDbAdmin
from quiesce.adapters.mariadb.digest import ALGORITHM
from quiesce.errors import QuiesceError
from quiesce.model import Database, DatabaseSwap
from tests.support.mariadb import (
    PASSWORD,
    LocalRuntime,
    MariaDbServer,
    new_database,
    shared_server,
)
from tests.support.mariadb_rich import RICH, definitions
from tests.support.postgres import nothing

pytestmark = pytest.mark.mariadb


@pytest.fixture(scope="module")
def server() -> MariaDbServer:
    """The one of all tests."""
    return shared_server()


@pytest.fixture
def low(server: MariaDbServer) -> Iterator[Database]:
    """A database whose user may do nothing, and whose code is that of somebody else."""
    secret = PASSWORD.replace("\\", "\\\\").replace("'", "''")
    with new_database(server, "low_db", RICH) as database:
        server.run(f"CREATE OR REPLACE USER low@'%' IDENTIFIED BY '{secret}'")
        server.run("GRANT SELECT ON `low\\_db`.* TO low@'%'")
        yield server.database(database.name, user="low")
        server.run("DROP USER low@'%'")


def test_what_is_granted_as_told_suffices(
    server: MariaDbServer, low: Database, tmp_path: Path
) -> None:
    """A backup and a restore of everything, by a user that has what was asked for and no more."""
    admin = MariaDbAdmin(
        LocalRuntime(server), [low], "20260101000000-abcd", scratch=tmp_path / "scratch"
    )
    before = definitions(server, "low_db")
    told = admin.rehearse([low])
    assert {part.partition(" lacks ")[2].partition(";")[0] for part in told} == {
        "RELOAD, PROCESS",
        "SHOW VIEW, TRIGGER, EVENT on low_db",
        "SELECT on mysql",
    }
    with pytest.raises(QuiesceError, match="RELOAD"):
        admin.dump(low, "full", tmp_path, "d.sql.zst", nothing)
    for part in told:
        server.run(part.partition("; run: ")[2])
    assert admin.rehearse([low]) == ()
    record = admin.dump(low, "full", tmp_path, "d.sql.zst", nothing)
    for missing in admin.missing_rights(low):
        server.run(missing.hint)
    assert admin.missing_rights(low) == ()
    side, aside = "low_db__new_abcd", "low_db__old_abcd"
    admin.create(low, side, record)
    admin.load(low, side, tmp_path, "d.sql.zst", record)
    contents = admin.contents(low, side, ALGORITHM)
    assert sorted(contents.tables, key=lambda t: t.name) == sorted(
        record.tables, key=lambda t: t.name
    )
    admin.finish(low, side, record)
    admin.swap("db", [DatabaseSwap("low_db", "low_db", side, aside)])
    assert definitions(server, "low_db") == before
    admin.drop(low, aside, "_abcd")


def test_the_rights_of_another_database_do_not_count(
    server: MariaDbServer, low: Database, tmp_path: Path
) -> None:
    """In a GRANT, `_` matches any character; a database whose name is alike is another one."""
    admin = MariaDbAdmin(
        LocalRuntime(server), [low], "20260101000000-abcd", scratch=tmp_path / "scratch"
    )
    server.run("GRANT TRIGGER, EVENT, SHOW VIEW ON `low\\_dc`.* TO low@'%'")
    assert any("TRIGGER, EVENT on low_db" in part for part in admin.rehearse([low]))
    server.run("GRANT TRIGGER, EVENT, SHOW VIEW ON `low_d_`.* TO low@'%'")
    assert not any("TRIGGER" in part for part in admin.rehearse([low]))
