"""What a MariaDB dump does not keep by itself: history of rows, digits of FLOAT, packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.adapters.mariadb.admin import MariaDbAdmin
from quiesce.adapters.mariadb.digest import ALGORITHM
from quiesce.errors import QuiesceError
from quiesce.execute.comparison import differences
from quiesce.model import Database, DatabaseRecord, DatabaseSwap
from tests.support.mariadb import LocalRuntime, MariaDbServer, new_database, shared_server
from tests.support.postgres import nothing

pytestmark = pytest.mark.mariadb

SIDE = "kept_db__new_abcd"
SCRIPT = """
CREATE TABLE versions (id int PRIMARY KEY, x int) WITH SYSTEM VERSIONING;
INSERT INTO versions VALUES (1, 1), (2, 2);
UPDATE versions SET x = 3 WHERE id = 1;
DELETE FROM versions WHERE id = 2;
CREATE TABLE period (id int PRIMARY KEY, x int, s timestamp(6) GENERATED ALWAYS AS ROW START,
  t timestamp(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, t)) WITH SYSTEM VERSIONING;
INSERT INTO period (id, x) VALUES (1, 1);
UPDATE period SET x = 2;
CREATE TABLE measured (id int PRIMARY KEY, exact float, more float, d double) ENGINE=InnoDB;
INSERT INTO measured VALUES (1, 0.1, 0.1234567, 0.1234567), (2, 1.5e30, 16777217, 1), (3, 0, 0, 0);
"""


@pytest.fixture
def server() -> MariaDbServer:
    """The one of all tests."""
    return shared_server()


@pytest.fixture
def database(server: MariaDbServer) -> Iterator[Database]:
    """A database with such tables."""
    with new_database(server, "kept_db", SCRIPT) as there:
        yield there


@pytest.fixture
def admin(server: MariaDbServer, database: Database, tmp_path: Path) -> Iterator[MariaDbAdmin]:
    """The driver for it."""
    made = MariaDbAdmin(
        LocalRuntime(server), [database], "20260101000000-abcd", scratch=tmp_path / "scratch"
    )
    yield made
    made.close()


def loaded(admin: MariaDbAdmin, database: Database, folder: Path) -> DatabaseRecord:
    """Dump it and load it beside the live one."""
    record = admin.dump(database, "full", folder, "d.sql.zst", nothing)
    admin.create(database, SIDE, record)
    admin.load(database, SIDE, folder, "d.sql.zst", record)
    return record


def test_the_history_of_rows_comes_back(
    server: MariaDbServer, admin: MariaDbAdmin, database: Database, tmp_path: Path
) -> None:
    """Every version with its times; and a digest sees that one is missing."""
    record = loaded(admin, database, tmp_path)
    for columns, table in (("id, x, row_start, row_end", "versions"), ("id, x, s, t", "period")):
        query = f"SELECT {columns} FROM {table} FOR SYSTEM_TIME ALL ORDER BY 3, 1"
        kept = server.run(query, SIDE)
        assert kept == server.run(query, "kept_db")
        assert len(kept) == (3 if table == "versions" else 2)
    contents = admin.contents(database, SIDE, ALGORITHM)
    assert differences(record, contents) == ()
    server.run("DELETE HISTORY FROM versions", SIDE)
    changed = differences(record, admin.contents(database, SIDE, ALGORITHM))
    assert changed == ("table versions has 1 rows instead of 3",)


def test_a_history_by_transactions_is_refused_by_name(
    server: MariaDbServer, admin: MariaDbAdmin, database: Database
) -> None:
    """Before services stop: no dump contains it."""
    assert admin.rehearse([database]) == ()
    server.run(
        "CREATE TABLE numbered (i int, s bigint unsigned GENERATED ALWAYS AS ROW START,"
        " t bigint unsigned GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, t))"
        " ENGINE=InnoDB WITH SYSTEM VERSIONING",
        "kept_db",
    )
    (problem,) = admin.rehearse([database])
    assert "table numbered (its history goes by transactions" in problem


def test_values_that_a_dump_rounds_are_named(
    server: MariaDbServer, admin: MariaDbAdmin, database: Database, tmp_path: Path
) -> None:
    """By column, with how many there are; those with few digits are exact."""
    record = loaded(admin, database, tmp_path)
    (obstacle,) = record.obstacles
    assert obstacle.kind == "rounded"
    assert obstacle.fact.startswith("2 values of measured.more (FLOAT) have more digits")
    query = "SELECT exact + 0e0, d FROM measured ORDER BY id"
    assert server.run(query, SIDE) == server.run(query, "kept_db")


def test_what_is_missing_besides_rows_is_found(
    server: MariaDbServer, admin: MariaDbAdmin, database: Database, tmp_path: Path
) -> None:
    """An index, a key, a trigger, a routine that was changed: a load is compared with all of it."""
    server.run(
        "CREATE INDEX by_x ON versions (x); CREATE FUNCTION f() RETURNS int RETURN 1;"
        "CREATE TRIGGER tr BEFORE INSERT ON measured FOR EACH ROW SET NEW.d = 1;"
        "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DO SET @x = 1;"
        "CREATE TABLE child (i int, CONSTRAINT fk FOREIGN KEY (i) REFERENCES measured (id));"
        "CREATE VIEW vw AS SELECT id FROM measured",
        "kept_db",
    )
    record = loaded(admin, database, tmp_path)
    assert differences(record, admin.contents(database, SIDE, ALGORITHM)) == ()
    server.run(
        "DROP INDEX by_x ON versions; CREATE OR REPLACE FUNCTION f() RETURNS int RETURN 2;"
        "DROP TRIGGER tr; ALTER TABLE child DROP FOREIGN KEY fk; DROP VIEW vw;"
        "DROP TABLE quiesce_code",
        SIDE,
    )
    assert set(differences(record, admin.contents(database, SIDE, ALGORITHM))) == {
        "index versions.by_x is missing",
        "function f is different",
        "trigger tr is missing",
        "foreign key child.fk is missing",
        "view vw is missing",
        "event ev is missing",
    }


def test_packages_are_exchanged(
    server: MariaDbServer, admin: MariaDbAdmin, database: Database, tmp_path: Path
) -> None:
    """Functions in them are no routines of the database by themselves."""
    with server.connect("kept_db") as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = 'ORACLE'")
        cursor.execute("CREATE PACKAGE pk AS FUNCTION one RETURN int; END")
        cursor.execute(
            "CREATE PACKAGE BODY pk AS FUNCTION one RETURN int AS BEGIN RETURN 7; END; END"
        )
        cursor.execute("SET sql_mode = ''")
    record = loaded(admin, database, tmp_path)
    assert differences(record, admin.contents(database, SIDE, ALGORITHM)) == ()
    server.run("SET sql_mode = 'ORACLE'; DROP PACKAGE pk", "kept_db")
    admin.swap("db", [DatabaseSwap("kept_db", "kept_db", SIDE, "kept_db__old_abcd")])
    assert server.run("SET sql_mode = 'ORACLE'; SELECT pk.one()", "kept_db") == [(7,)]


def test_a_dump_that_a_restore_would_refuse_is_no_backup(
    server: MariaDbServer, admin: MariaDbAdmin, database: Database, tmp_path: Path
) -> None:
    """It is read back, and the error says what to do; nothing is left of it."""
    with server.connect("kept_db") as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = 'NO_BACKSLASH_ESCAPES'")
        cursor.execute("CREATE FUNCTION ends() RETURNS text RETURN concat('a\\', ';b', 'c')")
    with pytest.raises(QuiesceError, match="the dump of database kept_db could not be restored"):
        admin.dump(database, "full", tmp_path, "d.sql.zst", nothing)
    assert [*tmp_path.glob("*.zst*")] == []


@pytest.mark.parametrize("charset", ["latin1", "utf8mb4", "ascii", "ucs2", "sjis", "binary"])
@pytest.mark.parametrize("default", ["latin1", "utf8mb4"])
def test_a_table_is_read_whatever_its_character_set_and_that_of_the_server(
    server: MariaDbServer, admin: MariaDbAdmin, database: Database, tmp_path: Path,
    charset: str, default: str,
) -> None:  # fmt: skip
    """A server without a configuration has latin1; numbers, text, times and NULL are in one row."""
    before = server.run("SELECT @@GLOBAL.character_set_server")[0][0]
    server.run(f"SET GLOBAL character_set_server = {default}")
    try:
        server.run(
            "CREATE TABLE mixed (id int PRIMARY KEY, v varchar(20), w char(3) CHARACTER SET latin1,"
            f" t time, n text) CHARACTER SET {charset};"
            "INSERT INTO mixed VALUES (1, 'one', 'a', '10:00', NULL), (2, NULL, 'b', NULL, 'x')",
            database.name,
        )
        record = loaded(admin, database, tmp_path)
    finally:
        server.run(f"SET GLOBAL character_set_server = {before}")
    assert differences(record, admin.contents(database, SIDE, ALGORITHM)) == ()
    server.run("UPDATE mixed SET v = 'onf' WHERE id = 1", SIDE)
    (wrong,) = differences(record, admin.contents(database, SIDE, ALGORITHM))
    assert "mixed" in wrong
