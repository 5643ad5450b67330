"""A MariaDB database dumped, loaded beside the live one, compared, exchanged and put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.adapters.mariadb import exchange
from quiesce.adapters.mariadb.admin import MariaDbAdmin
from quiesce.adapters.mariadb.digest import ALGORITHM
from quiesce.adapters.mariadb.session import Session
from quiesce.adapters.zstd import module as zstd
from quiesce.errors import QuiesceError, RequestError
from quiesce.execute.comparison import differences
from quiesce.model import Database, DatabaseRecord, DatabaseSwap
from tests.support.mariadb import LocalRuntime, MariaDbServer, new_database, shared_server
from tests.support.mariadb_rich import RICH, definitions
from tests.support.postgres import nothing
from tests.support.sampling import each_kill

pytestmark = pytest.mark.mariadb

SIDE, ASIDE = "shop__new_abcd", "shop__old_abcd"
RUN = "20260101000000-abcd"
SWAP = DatabaseSwap("shop", "shop", SIDE, ASIDE)


@pytest.fixture(scope="module")
def server() -> MariaDbServer:
    """The one of all tests."""
    return shared_server()


@pytest.fixture
def shop(server: MariaDbServer) -> Iterator[Database]:
    """A database with one of everything."""
    with new_database(server, "shop", RICH) as database:
        yield database


@pytest.fixture
def admin(server: MariaDbServer, shop: Database, tmp_path: Path) -> Iterator[MariaDbAdmin]:
    """The driver for it."""
    made = MariaDbAdmin(
        LocalRuntime(server), [shop], "20260101000000-abcd", scratch=tmp_path / "scratch"
    )
    yield made
    made.close()


def loaded(admin: MariaDbAdmin, shop: Database, folder: Path) -> DatabaseRecord:
    """Dump the database and load it beside the live one."""
    record = admin.dump(shop, "full", folder, "shop.sql.zst", nothing)
    admin.create(shop, SIDE, record)
    assert admin.load(shop, SIDE, folder, "shop.sql.zst", record) == ()
    return record


def test_everything_comes_back_as_it_was(
    server: MariaDbServer, admin: MariaDbAdmin, shop: Database, tmp_path: Path
) -> None:
    """Rows by digest, and every definition, its sql_mode, character set and time zone included."""
    before = definitions(server, "shop")
    record = loaded(admin, shop, tmp_path)
    contents = admin.contents(shop, SIDE, ALGORITHM)
    assert {t.name: t for t in contents.tables} == {t.name: t for t in record.tables}
    assert contents.sequences == record.sequences
    assert [t.rows for t in record.tables if t.name == "t ü'\""] == [3]
    assert server.run(f"SELECT * FROM information_schema.events WHERE event_schema='{SIDE}'") == []
    server.run("DELETE FROM child; DROP VIEW a_view; DROP TRIGGER before_child", "shop")
    admin.finish(shop, SIDE, record)
    admin.swap("db", [SWAP])
    assert definitions(server, "shop") == before
    assert server.run("SELECT * FROM child ORDER BY 1", "shop") == [(1, 0), (2, 7)]
    assert server.run("SELECT count(*) FROM child", ASIDE) == [(0,)]
    assert admin.size(shop, SIDE) is None


def test_a_sequence_has_the_value_of_the_instant(
    server: MariaDbServer, admin: MariaDbAdmin, shop: Database, tmp_path: Path
) -> None:
    """A snapshot does not contain it, so the dump may have a later one; the record has not."""
    record = admin.dump(shop, "full", tmp_path, "shop.sql.zst", nothing)
    (found,) = record.sequences
    ((there,),) = server.run("SELECT next_not_cached_value FROM numbers", "shop")
    assert found.last_value == str(there)
    record = replace(record, sequences=(replace(found, last_value="11"),))
    admin.create(shop, SIDE, record)
    admin.load(shop, SIDE, tmp_path, "shop.sql.zst", record)
    assert admin.contents(shop, SIDE, ALGORITHM).sequences == record.sequences
    assert server.run("SELECT nextval(numbers)", SIDE) == [(11,)]


CHANGES = {
    "größe €": "12345678901234.567892", "d": "1.0000000000000002e300", "f": "0.25", "b": "3",
    "bl": "concat(bl, 0x00)", "vb": "NULL", "tx": "replace(tx, '😀', '😁')", "l1": "'é'",
    "u2": "'Ж'", "dt": "'0000-00-01'", "ts": "'2024-10-27 01:30:00.124'", "dd": "'2024-00-00'",
    "ti": "'838:59:59'", "y": "1902", "en": "'ü'", "se": "'x'", "js": "'{\"a\": [1, 0]}'",
    "ip": "'::2'", "uu": "'123e4567-e89b-12d3-a456-426655440001'", "g": "point(1, 3)",
    "secret": "8",
}  # fmt: skip


def test_a_digest_sees_every_change(
    server: MariaDbServer, admin: MariaDbAdmin, shop: Database
) -> None:
    """Of any column of any type, and of the number of equal rows; but not the order of rows."""

    def digests() -> dict[str, str]:
        tables = admin.contents(shop, "shop", ALGORITHM).tables
        return {table.name: table.digest for table in tables}

    server.run("DROP EVENT tick", "shop")  # it writes rows
    table, before = "t ü'\"", digests()
    seen = {before[table]}
    for column, value in CHANGES.items():
        server.run(f"SET sql_mode = ''; UPDATE `{table}` SET `{column}` = {value} LIMIT 1", "shop")
        after = digests()
        assert after.pop(table) not in seen, column
        seen.add(digests()[table])
        assert after == {name: digest for name, digest in before.items() if name != table}
    server.run("UPDATE aria SET i = 1 WHERE i = 2 LIMIT 1", "shop")
    fewer = digests()["aria"]
    server.run("TRUNCATE aria; INSERT INTO aria VALUES (2), (1), (2)", "shop")
    assert digests()["aria"] == before["aria"] != fewer


def test_nothing_of_a_bad_script_is_run(
    server: MariaDbServer, admin: MariaDbAdmin, shop: Database, tmp_path: Path
) -> None:
    """It is read to its end first: damaged, cut off, or with a statement that is no dump's."""
    record = admin.dump(shop, "full", tmp_path, "shop.sql.zst", nothing)
    packed = (tmp_path / "shop.sql.zst").read_bytes()
    text = zstd().decompress(packed)
    bad = {
        "is damaged": packed[:-20],
        "has no end": text[: text.rindex(b"SET SQL_NOTES")],
        "is not permitted: DROP DATABASE": text + b"DROP DATABASE shop;\n",
        "contains no statement": b"-- nothing\n",
    }
    admin.create(shop, SIDE, record)
    for why, content in bad.items():
        (tmp_path / "bad.sql").write_bytes(content)
        with pytest.raises(RequestError, match=why):
            admin.load(shop, SIDE, tmp_path, "bad.sql", record)
        assert server.run("SHOW TABLES", SIDE) == []


def test_an_exchange_is_undone(
    server: MariaDbServer, admin: MariaDbAdmin, shop: Database, tmp_path: Path
) -> None:
    """Twice has no effect, then forth again; the copy aside can be dropped, the live one not."""
    before = definitions(server, "shop")
    loaded(admin, shop, tmp_path)
    server.run("CREATE TABLE later (i int)", "shop")
    changed = definitions(server, "shop")
    admin.swap("db", [SWAP])
    assert definitions(server, "shop") == before
    for _ in range(2):
        admin.put_back("db", [SWAP])
        assert definitions(server, "shop") == changed
        assert admin.size(shop, ASIDE) is None
    for _ in range(2):
        admin.swap("db", [SWAP])
        assert definitions(server, "shop") == before
    with pytest.raises(QuiesceError, match="was not created by this run"):
        admin.drop(shop, ASIDE, "_other")
    with pytest.raises(QuiesceError, match="is declared"):
        admin.drop(shop, "shop", "shop")
    admin.drop(shop, ASIDE, "_abcd")
    assert admin.size(shop, ASIDE) is None


def test_what_an_exchange_left_is_dumped_with_its_events(
    server: MariaDbServer, admin: MariaDbAdmin, shop: Database, tmp_path: Path
) -> None:
    """They do not exist in a database beside the live one, and come back with its dump; what
    Quiesce keeps there does not."""
    old = definitions(server, "shop")
    loaded(admin, shop, tmp_path)
    assert admin.rehearse([shop]) == ()
    admin.swap("db", [SWAP])
    server.run("DROP EVENT asleep; DROP VIEW a_view; DELETE FROM child", "shop")
    previous = replace(shop, name=ASIDE)
    record = admin.dump(previous, "full", tmp_path, "previous.sql.zst", nothing)
    assert not any(table.name.startswith("quiesce_") for table in record.tables)
    assert "event asleep" in record.objects
    script = zstd().decompress((tmp_path / "previous.sql.zst").read_bytes())
    assert b"CREATE TABLE `child`" in script
    assert b"quiesce_" not in script
    admin.drop(shop, ASIDE, "_abcd")
    admin.create(shop, SIDE, record)
    admin.load(shop, SIDE, tmp_path, "previous.sql.zst", record)
    assert differences(record, admin.contents(shop, SIDE, ALGORITHM)) == ()
    admin.swap("db", [SWAP])
    assert definitions(server, "shop") == old


def test_a_foreign_key_of_another_database_is_found_before_a_restore(
    server: MariaDbServer, admin: MariaDbAdmin, shop: Database, tmp_path: Path
) -> None:
    """It would go with the previous copy."""
    record = admin.dump(shop, "full", tmp_path, "shop.sql.zst", nothing)
    assert admin.check_loadable(shop, record) == ()
    script = (
        "CREATE TABLE far (i int, CONSTRAINT out_fk FOREIGN KEY (i) REFERENCES shop.zero (id));"
    )
    with new_database(server, "foreign_db", script):
        (problem,) = admin.check_loadable(shop, record)
    assert problem.startswith("foreign key out_fk of table foreign_db.far refers to shop")


class Dead(Exception):
    """The process ended here."""


def steps_of(session: Session, dies_at: int) -> Session:
    """A session that raises instead of the statement with this number."""
    told = [0]
    original, original_bytes = session.rows, session.run_bytes

    def count(statement: str) -> None:
        if not statement.lstrip().upper().startswith("SELECT"):
            told[0] += 1
            if told[0] == dies_at:
                raise Dead(statement[:60])

    def rows(statement: str, values: object = None) -> object:
        count(statement)
        return original(statement, values)  # type: ignore[arg-type]

    def run_bytes(statement: bytes) -> None:
        count(statement.decode(errors="replace"))
        original_bytes(statement)

    session.rows, session.run_bytes = rows, run_bytes  # type: ignore[method-assign,assignment]
    return session


def test_an_exchange_that_dies_anywhere_is_put_back(
    server: MariaDbServer,
    admin: MariaDbAdmin,
    shop: Database,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Before any statement that changes something, as by a kill: in another session, what was there
    before is restored. Afterwards the exchange works."""
    loaded(admin, shop, tmp_path)
    server.run("CREATE TABLE later (i int)", "shop")
    old = definitions(server, "shop")

    def dies(number: int) -> bool:
        with admin._open(shop) as session:
            try:
                exchange.swap(steps_of(session, number + 1), [SWAP], RUN)
            except Dead:
                killed = True
            else:
                killed = False
        admin.put_back("db", [SWAP])
        assert definitions(server, "shop") == old, number
        assert admin.size(shop, ASIDE) is None, number
        assert admin.size(shop, SIDE) is not None, number
        return killed

    points = each_kill(request.node.name, dies, all_of_them=request.config.getoption("--long"))
    assert points > 40
    admin.swap("db", [SWAP])
    new = definitions(server, "shop")
    assert "TABLE later" not in new
    assert {**new, "TABLE later": old["TABLE later"]} == old


def killed(
    admin: MariaDbAdmin, shop: Database, number: int, act: Callable[[Session], None]
) -> bool:
    """Whether an action was ended before its statement with this number."""
    with admin._open(shop) as session:
        try:
            act(steps_of(session, number + 1))
        except Dead:
            return True
    return False


@pytest.mark.parametrize("absent", [False, True])
def test_what_dies_anywhere_is_finished_by_another(
    server: MariaDbServer,
    admin: MariaDbAdmin,
    shop: Database,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    *,
    absent: bool,
) -> None:
    """An exchange goes on, and what puts it back goes on; also where nothing was live before."""
    loaded(admin, shop, tmp_path)
    swaps = [replace(SWAP, live="shop_gone", aside="") if absent else SWAP]
    live, whole = swaps[0].live, request.config.getoption("--long")
    new = definitions(server, "shop")
    if not absent:
        server.run("CREATE TABLE later (i int)", "shop")
    old = definitions(server, "shop")
    kept = server.run("SELECT * FROM child ORDER BY 1", "shop")

    def forth(number: int) -> bool:
        died = killed(admin, shop, number, lambda s: exchange.swap(s, swaps, RUN))
        admin.swap("db", swaps)
        assert definitions(server, live) == new, number
        assert server.run("SELECT * FROM child ORDER BY 1", live) == kept
        assert admin.size(shop, SIDE) is None, number
        admin.put_back("db", swaps)
        return died

    def back(number: int) -> bool:
        admin.swap("db", swaps)
        died = killed(admin, shop, number, lambda s: exchange.put_back(s, swaps, RUN))
        admin.put_back("db", swaps)
        assert admin.size(shop, SIDE) is not None, number
        if absent:
            assert admin.size(shop, live) is None, number
        else:
            assert definitions(server, live) == old, number
            assert admin.size(shop, ASIDE) is None, number
        return died

    points = each_kill(f"{request.node.name} forth", forth, all_of_them=whole)
    assert points > 30
    points = each_kill(f"{request.node.name} back", back, all_of_them=whole)
    assert points > 30
    admin.swap("db", swaps)
    assert definitions(server, live) == new


def test_two_databases_are_exchanged_by_one_statement(
    server: MariaDbServer, admin: MariaDbAdmin, shop: Database, tmp_path: Path
) -> None:
    """If one of them cannot be moved, none is, and all is put back."""
    loaded(admin, shop, tmp_path)
    with new_database(server, "second", "CREATE TABLE a (i int); INSERT INTO a VALUES (1)"):
        server.run("CREATE DATABASE second__new_abcd; CREATE TABLE second__new_abcd.a (j int)")
        server.run("CREATE DATABASE second__old_abcd; CREATE TABLE second__old_abcd.a (k int)")
        before = definitions(server, "shop"), definitions(server, "second")
        second = replace(SWAP, live="second", side="second__new_abcd", aside="second__old_abcd")
        with pytest.raises(QuiesceError, match="already exist at the same time"):
            admin.swap("db", [SWAP, second])
        assert server.run("SELECT i FROM a", "second") == [(1,)]
        admin.put_back("db", [SWAP])
        assert definitions(server, "shop") == before[0]
        assert definitions(server, "second") == before[1]
