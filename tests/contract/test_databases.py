"""What every DatabaseAdmin and Migrator promises, held against real servers and the fakes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.errors import QuiesceError
from quiesce.model import DatabaseRecord, DatabaseSwap, Secret, engine_of, lacks
from quiesce.ports import DatabaseContents, Drift, DumpReading
from tests.contract.database_worlds import LIVE, REVISIONS, RUN, WORLDS, World, open_world
from tests.support.postgres import nothing

SIDE, ASIDE = "contractdb__new_ab12", "contractdb__old_ab12"
SWAP = DatabaseSwap(LIVE, LIVE, SIDE, ASIDE)
DUMP = "databases/contractdb.dump"


@pytest.fixture(params=[pytest.param(name, marks=marks) for name, marks in WORLDS.items()])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """The same world on every engine. What an engine cannot do is skipped, by name."""
    with open_world(request.param, tmp_path, monkeypatch) as there:
        for marker in request.node.iter_markers("needs"):
            (capability,) = marker.args
            if not engine_of(there.database.engine).can(capability):
                pytest.skip(lacks(there.database.engine, capability))
        yield there


def build(world: World, folder: Path, name: str = SIDE) -> None:
    """Dump the live database and load it into a new one."""
    record = world.admin.dump(world.database, "full", folder, DUMP, nothing)
    world.admin.create(world.database, name, record)
    world.admin.load(world.database, name, folder, DUMP)


def rows(world: World, name: str, algorithm: str) -> int:
    """Rows of the table `notes` in database `name`."""
    contents = world.admin.contents(world.database, name, algorithm)
    return next(table.rows for table in contents.tables if table.name == "notes")


def algorithm_of(world: World, folder: Path) -> str:
    """The digest algorithm of this admin's records."""
    return world.admin.dump(world.database, "full", folder, "a.dump", nothing).digest_algorithm


def test_what_was_dumped_and_loaded_is_what_the_record_says(world: World, tmp_path: Path) -> None:
    """A record is only of use if a load of its dump compares equal to it."""
    record = world.admin.dump(world.database, "full", tmp_path, DUMP, nothing)
    assert world.admin.check_loadable(world.database, record) == ()
    world.admin.create(world.database, SIDE, record)
    world.admin.load(world.database, SIDE, tmp_path, DUMP)
    world.admin.finish(world.database, SIDE, record)
    contents = world.admin.contents(world.database, SIDE, record.digest_algorithm)
    assert contents.tables == record.tables
    assert contents.sequences == record.sequences
    assert [table.rows for table in contents.tables] == [2]


def test_a_server_is_waited_for_until_it_answers(world: World) -> None:
    """Whoever waits is told when it is over: at once, refused, or never."""
    looks: list[str] = []
    assert world.admin.await_answer(world.database, 10.0, lambda: looks.append("again")) == ""
    assert looks == []
    stranger = replace(world.database, user="nobody")
    assert "nobody" in world.admin.await_answer(stranger, 10.0, lambda: looks.append("again"))
    assert looks == []
    world.stop()
    with pytest.raises(QuiesceError):
        world.admin.await_answer(world.database, 0.0, lambda: looks.append("again"))


def test_a_server_that_ends_meanwhile_is_not_waited_for(world: World) -> None:
    """The error of the one who looks ends the wait, however much time is left."""

    def look() -> None:
        raise QuiesceError("it has ended")

    world.start_slowly()
    with pytest.raises(QuiesceError, match="it has ended"):
        world.admin.await_answer(world.database, 3600.0, look)


@pytest.mark.needs("snapshots")
def test_a_held_snapshot_does_not_see_what_is_written_later(world: World, tmp_path: Path) -> None:
    """The quiet point is where it was held, however long the dump waits."""
    world.admin.hold(world.database)
    world.write(LIVE, "three")
    record = world.admin.dump(world.database, "full", tmp_path, DUMP, nothing)
    world.admin.release(world.database)
    assert record.tables[0].rows == 2
    later = world.admin.dump(world.database, "full", tmp_path, "later.dump", nothing)
    assert later.tables[0].rows == 3
    assert later.tables[0].digest != record.tables[0].digest


def test_holding_and_releasing_twice_is_as_good_as_once(world: World) -> None:
    """A recovery repeats steps."""
    world.admin.hold(world.database)
    world.admin.hold(world.database)
    world.admin.release(world.database)
    world.admin.release(world.database)


def test_a_swap_makes_the_new_one_live_and_keeps_the_old_aside(
    world: World, tmp_path: Path
) -> None:
    """Twice, because a recovery repeats steps: the second time there is nothing to do."""
    algorithm = algorithm_of(world, tmp_path)
    build(world, tmp_path)
    world.write(LIVE, "three")
    world.admin.block_connections("db", [LIVE, SIDE])
    if engine_of(world.database.engine).can("closing"):
        assert world.names()[LIVE] is False
    for _ in range(2):
        world.admin.swap("db", [SWAP])
        names = world.names()
        assert (names[LIVE], ASIDE in names, SIDE in names) == (True, True, False)
        if engine_of(world.database.engine).can("closing"):
            assert names[ASIDE] is False
        assert rows(world, LIVE, algorithm) == 2


def test_the_previous_database_is_dumped_under_the_name_of_the_live_one(
    world: World, tmp_path: Path
) -> None:
    """It was closed by the exchange, is opened for the dump, and is closed and dropped again."""
    build(world, tmp_path)
    world.write(LIVE, "three")
    world.admin.block_connections("db", [LIVE, SIDE])
    world.admin.swap("db", [SWAP])
    world.admin.allow_connections("db", [ASIDE, "absent"])
    assert world.names()[ASIDE] is True
    previous = replace(world.database, name=ASIDE)
    record = world.admin.dump(previous, "full", tmp_path, "previous.dump", nothing)
    assert next(t.rows for t in record.tables if t.name == "notes") == 3
    world.admin.block_connections("db", [ASIDE])
    if engine_of(world.database.engine).can("closing"):
        assert world.names()[ASIDE] is False
    world.admin.drop(world.database, ASIDE, "ab12")
    assert ASIDE not in world.names()


@pytest.mark.parametrize("state", ["not fenced", "fenced", "swapped", "put back"])
def test_put_back_makes_the_old_one_live_from_every_state(
    world: World, tmp_path: Path, state: str
) -> None:
    """However far the exchange had got, the old database is live and open afterwards."""
    algorithm = algorithm_of(world, tmp_path)
    build(world, tmp_path)
    world.write(LIVE, "three")
    if state != "not fenced":
        world.admin.block_connections("db", [LIVE, SIDE])
    if state in ("swapped", "put back"):
        world.admin.swap("db", [SWAP])
    for _ in range(2 if state == "put back" else 1):
        world.admin.put_back("db", [SWAP])
    names = world.names()
    assert names[LIVE] is True
    assert ASIDE not in names
    assert rows(world, LIVE, algorithm) == 3


def test_an_absent_database_comes_to_life_and_goes_away_again(world: World, tmp_path: Path) -> None:
    """The main disaster: nothing is live, so there is nothing to put aside."""
    build(world, tmp_path)
    absent = DatabaseSwap(LIVE, f"{LIVE}_absent", SIDE, "")
    for _ in range(2):
        world.admin.swap("db", [absent])
        assert world.names()[absent.live] is True
    for _ in range(2):
        world.admin.put_back("db", [absent])
        assert absent.live not in world.names()
    world.admin.swap("db", [absent])
    for _ in range(2):
        world.admin.unmark_made(world.database, absent.live)
    # It is nobody's run's any more.
    world.admin.put_back("db", [absent])
    assert world.names()[absent.live] is True


def test_put_back_leaves_alone_what_was_always_there(world: World) -> None:
    """Without anything aside, a live database that the run did not make stays live."""
    world.admin.put_back("db", [replace(SWAP, aside="")])
    assert world.names()[LIVE] is True


def test_a_swap_without_its_side_database_changes_nothing(world: World) -> None:
    """Nothing was built, so nothing is exchanged."""
    with pytest.raises(QuiesceError, match=SIDE):
        world.admin.swap("db", [SWAP])
    assert world.names()[LIVE] is True


def test_all_swaps_of_a_server_happen_or_none(world: World, tmp_path: Path) -> None:
    """A second swap that cannot happen takes the first one back with it."""
    build(world, tmp_path)
    world.admin.block_connections("db", [LIVE, SIDE])
    before = set(world.names())
    with pytest.raises(QuiesceError):
        world.admin.swap("db", [SWAP, DatabaseSwap("other", "other", "other__new_ab12", "")])
    assert set(world.names()) == before


def test_only_a_name_with_the_suffix_is_dropped(world: World, tmp_path: Path) -> None:
    """Dropping twice is as good as once; a foreign name and the live one are refused."""
    build(world, tmp_path)
    for foreign in (LIVE, SIDE):
        with pytest.raises(QuiesceError, match=foreign):
            world.admin.drop(world.database, foreign, "ff99")
    with pytest.raises(QuiesceError, match=LIVE):
        world.admin.drop(world.database, LIVE, "contractdb")
    world.admin.drop(world.database, SIDE, "ab12")
    world.admin.drop(world.database, SIDE, "ab12")
    assert SIDE not in world.names()
    assert LIVE in world.names()


def test_creating_makes_an_own_database_anew_and_refuses_another(
    world: World, tmp_path: Path
) -> None:
    """Repeated after a crash, the half-loaded database of this run is replaced by an empty one."""
    build(world, tmp_path)
    record = world.admin.dump(world.database, "full", tmp_path, DUMP, nothing)
    world.admin.create(world.database, SIDE, record)
    assert world.admin.contents(world.database, SIDE, record.digest_algorithm).tables == ()
    with pytest.raises(QuiesceError, match="already exists"):
        world.admin.create(world.database, LIVE, record)


def test_a_damaged_dump_does_not_load(world: World, tmp_path: Path) -> None:
    """Cut at half its length: an error, never a shorter database that looks whole."""
    record = world.admin.dump(world.database, "full", tmp_path, DUMP, nothing)
    path = tmp_path / DUMP
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    world.admin.create(world.database, SIDE, record)
    with pytest.raises(QuiesceError):
        world.admin.load(world.database, SIDE, tmp_path, DUMP)


def test_no_password_is_an_argument_of_the_client(world: World) -> None:
    """Everybody on the machine can read arguments. A person types, unless it ends by itself."""
    secret = replace(world.database, password=Secret("s3cret"))
    client = world.admin.shell(secret, (), RUN)
    assert client.typed
    assert not any("s3cret" in word for word in client.argv)
    assert "s3cret" not in repr(client)
    given = world.admin.shell(secret, ("--version",), RUN)
    assert given.argv[-1] == "--version"
    assert not given.typed


def test_a_dump_is_read_to_its_end_without_loading_it(world: World, tmp_path: Path) -> None:
    """A good one, one whose end is missing, and one whose server does not run."""
    record = world.admin.dump(world.database, "full", tmp_path, DUMP, nothing)
    read = world.admin.read_dump
    assert read(record, tmp_path, DUMP, running=True) == DumpReading()
    assert read(record, tmp_path, DUMP, running=False).wrong == ""
    path = tmp_path / DUMP
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read(record, tmp_path, DUMP, running=True).wrong


def test_a_record_names_its_engine(world: World, tmp_path: Path) -> None:
    """A restore goes by it."""
    record = world.admin.dump(world.database, "full", tmp_path, DUMP, nothing)
    assert record.engine == world.database.engine


def test_a_dump_is_not_loaded_over_something(world: World, tmp_path: Path) -> None:
    """A table without a key would hold every row twice."""
    build(world, tmp_path)
    with pytest.raises(QuiesceError, match="not empty"):
        world.admin.load(world.database, SIDE, tmp_path, DUMP)


def test_a_schema_dump_loads_as_its_record_says(world: World, tmp_path: Path) -> None:
    """Every table, no rows."""
    record = world.admin.dump(world.database, "schema", tmp_path, DUMP, nothing)
    world.admin.create(world.database, SIDE, record)
    world.admin.load(world.database, SIDE, tmp_path, DUMP)
    contents = world.admin.contents(world.database, SIDE, record.digest_algorithm)
    assert contents.tables == record.tables
    assert [table.rows for table in contents.tables] == [0]


def test_what_is_there_is_seen(world: World, tmp_path: Path) -> None:
    """Declared and there, declared and missing, there and not declared."""
    build(world, tmp_path, "contractdb_stray")
    missing = replace(world.database, key="absent", name="contract_absent")
    states = world.admin.observe([world.database, missing])
    assert [(state.reachable, state.exists) for state in states] == [(True, True), (True, False)]
    assert "contractdb_stray" in world.admin.undeclared([world.database])
    assert LIVE not in world.admin.undeclared([world.database])


def test_a_server_that_is_down_is_seen_and_never_an_exception(world: World) -> None:
    """Observing is how everybody finds out; only acting raises."""
    world.stop()
    (state,) = world.admin.observe([world.database])
    assert (state.reachable, state.exists) == (False, False)
    assert state.problem
    with pytest.raises(QuiesceError):
        world.admin.hold(world.database)
    assert world.admin.remove_orphans("r-9999") == ()


@pytest.mark.needs("globals")
def test_globals_are_written_without_passwords(world: World, tmp_path: Path) -> None:
    """Roles belong to the server, so once per server."""
    world.admin.dump_globals("db", tmp_path, "databases/globals.sql")
    text = (tmp_path / "databases/globals.sql").read_text()
    assert text.count("CREATE ") > 0
    assert world.database.user in text
    assert "PASSWORD" not in text


def live_revision(world: World) -> tuple[str, ...]:
    """The revisions that the live database says it has."""
    (state,) = world.admin.observe([world.database])
    return state.revision


@pytest.mark.needs("migrations")
def test_a_database_is_migrated_step_by_step_and_to_the_head(world: World) -> None:
    """Pending shrinks as current moves; at the head nothing happens any more."""
    migrator, database = world.migrator, world.database
    assert migrator.heads(database) == ("c2",)
    assert migrator.known(database, "c1")
    assert not migrator.known(database, "zz")
    assert migrator.pending(database, ()) == REVISIONS
    migrator.upgrade(database, LIVE, "c1")
    assert live_revision(world) == ("c1",)
    assert migrator.pending(database, ("c1",)) == ("c2",)
    for _ in range(2):
        migrator.upgrade(database, LIVE, "head")
        assert live_revision(world) == ("c2",)
    assert migrator.pending(database, ("c2",)) == ()


@pytest.mark.needs("migrations")
def test_an_unknown_revision_is_refused_by_name(world: World) -> None:
    """The set was made by newer code: say which revision is missing, change nothing."""
    with pytest.raises(QuiesceError, match="zz"):
        world.migrator.pending(world.database, ("zz",))
    with pytest.raises(QuiesceError, match="zz"):
        world.migrator.upgrade(world.database, LIVE, "zz")
    assert live_revision(world) == ()


@pytest.mark.needs("migrations")
def test_a_side_database_is_migrated_and_the_live_one_is_not(world: World, tmp_path: Path) -> None:
    """The restore of an older set migrates what it built, beside what is in use."""
    build(world, tmp_path)
    world.migrator.upgrade(world.database, SIDE, "head")
    algorithm = algorithm_of(world, tmp_path)
    assert world.admin.contents(world.database, SIDE, algorithm).revision == ("c2",)
    assert live_revision(world) == ()


def _rows_of(world: World, folder: Path) -> DatabaseRecord:
    return world.admin.dump(world.database, "data", folder, DUMP, nothing)


@pytest.mark.needs("rows")
def test_rows_replace_all_that_a_copied_schema_holds(world: World, tmp_path: Path) -> None:
    """A side database with the live schema and the dumped rows, checked before it counts."""
    record = _rows_of(world, tmp_path)
    world.write(LIVE, "three")
    world.admin.create(world.database, SIDE, record)
    world.admin.copy_schema(world.database, SIDE)
    assert rows(world, SIDE, record.digest_algorithm) == 0
    assert world.admin.drift(world.database, SIDE, record, tmp_path, DUMP) == Drift()
    seen: list[DatabaseContents] = []
    world.admin.replace_rows(world.database, SIDE, record, tmp_path, DUMP, seen.append)
    assert [table.digest for table in seen[0].tables] == [record.tables[0].digest]
    assert rows(world, SIDE, record.digest_algorithm) == 2
    assert rows(world, LIVE, record.digest_algorithm) == 3


@pytest.mark.needs("rows")
def test_rows_that_are_refused_at_the_end_leave_the_old_ones(world: World, tmp_path: Path) -> None:
    """Also in the live database itself."""
    record = _rows_of(world, tmp_path)
    world.write(LIVE, "three")

    def refuse(_: DatabaseContents) -> None:
        raise QuiesceError("it is not what was recorded", "this is a test")

    with pytest.raises(QuiesceError, match="not what was recorded"):
        world.admin.replace_rows(world.database, LIVE, record, tmp_path, DUMP, refuse)
    assert rows(world, LIVE, record.digest_algorithm) == 3
    for _ in range(2):
        world.admin.replace_rows(world.database, LIVE, record, tmp_path, DUMP, lambda _: None)
    assert rows(world, LIVE, record.digest_algorithm) == 2


@pytest.mark.needs("scripts")
def test_a_script_shows_what_was_held(world: World) -> None:
    """Complete to its last line, or an error."""
    world.admin.hold(world.database)
    world.write(LIVE, "three")
    script = world.admin.script(world.database, "full", nothing)
    world.admin.release(world.database)
    text = script.read_text()
    assert "two" in text
    assert "three" not in text
