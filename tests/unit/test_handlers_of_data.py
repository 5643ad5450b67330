"""What handlers of volumes and databases ask of their ports, say and remember.

The ports only note it. What the real ones make of it is in tests/contract, tests/integration and
tests/e2e.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.errors import (
    QuiesceError,
)
from quiesce.execute import database_settings
from quiesce.execute.database_settings import write_settings
from quiesce.model import (
    ImportedVolume,
    ImportSource,
    Member,
    TableRecord,
    VolumeRecord,
)
from quiesce.observed import Activity, WrittenBetween
from quiesce.obstacles import Obstacle
from quiesce.plan import steps as s
from quiesce.ports import DatabaseContents, Drift, LoadedRows, VolumeSize
from quiesce.ports.databases import Handover
from tests.support.builders import RUN, a_set, a_stack, a_world
from tests.support.handling import SESSION, SET, World, database, volume

# ------------------------------------------------------------------------------------- volumes


def test_a_volume_is_archived_with_its_patterns_and_its_remarks_are_said() -> None:
    """Level 0 prepares what level 1 needs."""
    record = a_set().volume("backend-media")
    world = World(volumes__archive=record, volumes__remarks=("a socket was skipped",))
    draft = world.draft()
    stack = a_stack()
    volumes = tuple(replace(v, exclude=("*.tmp",)) for v in stack.volumes)
    world.run.stack = replace(stack, volumes=volumes)
    for level in (0, 1):
        step = s.ArchiveVolume(SET, "backend-media", level, "volumes/backend-media", "")
        assert world.do(step) == "3 files"
    assert world.asked("volumes.begin") == [(volume(),)]
    order = [call[0] for call in world.calls if call[0] != "volumes.remarks"]
    assert order[:3] == ["volumes.begin", "volumes.archive", "sink.warn"]
    assert [(call[1], call[2], call[4]) for call in world.asked("volumes.archive")] == [
        (0, Path("/staging"), ("*.tmp",)),
        (1, Path("/staging"), ("*.tmp",)),
    ]
    assert draft.volumes == {"backend-media": record}
    assert world.warned == ["volume backend-media: a socket was skipped"] * 2


def test_a_volume_that_was_made_is_known_to_the_steps_after() -> None:
    """They go by what is there now."""
    world = World()
    missing = a_world(missing_volumes=["backend-media"])
    world.run.observed = missing
    assert world.do(s.FinishSwap("backend-media", "")) == ""
    assert world.do(s.EmptyVolume("backend-media", "")) == ""
    assert world.calls == [], "there is nothing to empty"
    world.do(s.CreateVolume("backend-media", ""))
    assert world.calls == [("volumes.create", missing.volume("backend-media"))]
    assert world.run.observed.volume("backend-media").exists


@pytest.mark.parametrize("step", [s.SwapVolume("backend-media", ""),
                                  s.EmptyVolume("backend-media", "")])  # fmt: skip
def test_a_foreign_writer_keeps_a_volume_as_it_is(step: s.Step) -> None:
    """One of now, not of when the plan was made."""
    foreign = replace(volume(), outside_writers=("stranger",))
    others = tuple(v for v in a_world().volumes if v.key != "backend-media")
    world = World(runtime__volumes=(*others, foreign))
    assert "container stranger, outside of the project" in world.fail(step).fact
    assert world.calls == []
    elsewhere = replace(others[0], outside_writers=("stranger",))
    world.answers["runtime.volumes"] = (elsewhere, *others[1:], volume())
    world.do(step)
    assert len(world.calls) == 1


def test_what_was_unpacked_has_to_be_what_was_recorded() -> None:
    """Files and bytes; and no member may be unsafe, which is known before anything is written."""
    source = a_set(SET)
    record = VolumeRecord(
        "backend-media", "app", 3, 400, ("volumes/m.0", "volumes/m.1"), "volumes/m.gone", "zstd",
        level_0=(1, 10),
    )  # fmt: skip
    manifest = replace(source.manifest, volumes=(record,))
    world = World(volumes__check=(), volumes__stage=VolumeSize(3, 400))
    world.run.sources = {SET: replace(source, manifest=manifest)}
    step = s.StageVolume(SET, "backend-media", "")
    archives = [source.path / "volumes/m.0", source.path / "volumes/m.1"]
    most = VolumeSize(4, 410)
    assert world.do(step) == "3 files"
    assert world.calls == [
        ("volumes.check", archives, most),
        ("volumes.stage", volume(), RUN, archives, source.path / "volumes/m.gone", most),
    ]
    assert world.run.staged == {"backend-media": (3, 400)}
    for wrong in (VolumeSize(3, 401), VolumeSize(2, 400)):
        world.answers["volumes.stage"] = wrong
        assert "but the set recorded 3 with 400" in world.fail(step).fact
    world.answers["volumes.check"] = tuple(f"../{n}: outside" for n in range(21))
    world.calls.clear()
    assert world.fail(step).details == tuple(f"../{n}: outside" for n in range(20))
    assert world.asked("volumes.stage") == []


def test_one_folder_of_a_volume_and_an_imported_archive_are_staged() -> None:
    """Nothing recorded how large an archive of another program gets: the free room is its limit."""
    imported = ImportedVolume("backend-media", "media.tar")
    source = ImportSource("file", Path("/file"), volumes=(imported,))
    world = World(volumes__check=(), volumes__stage=VolumeSize(9, 9))
    world.answers["volumes.pick"] = VolumeSize(2, 5)
    world.run.sources = {"file": source}
    step = s.StageVolume("file", "backend-media", "", path="photos")
    assert world.do(step) == "2 files"
    ((_, run, archives, gone, most),) = world.asked("volumes.stage")
    assert (run, archives, gone) == (RUN, [Path("/file/media.tar")], None)
    assert most.bytes == 10**12
    assert world.asked("volumes.pick") == [(volume(), RUN, "photos")]
    assert world.run.staged == {"backend-media": (2, 5)}
    engine = replace(a_world().engine, local=False)
    world.run.observed = replace(a_world(), engine=engine)
    world.do(step)
    assert world.asked("volumes.stage")[1][4] is None, "the room of another machine is not known"


def test_a_folder_of_the_stack_is_emptied() -> None:
    """Below the stack's folder, which the adapter holds on to."""
    world = World(volumes__empty_folder=3)
    assert world.do(s.EmptyPath("backend/logs", "")) == "3 entries"
    assert world.calls == [("volumes.empty_folder", Path("/stack"), Path("backend/logs"))]


# ----------------------------------------------------------------------------------- databases


def test_a_dump_is_recorded_with_what_speaks_against_it(tmp_path: Path) -> None:
    """Rows that were written meanwhile, doubts, obstacles; its settings are in a member."""
    obstacles = (
        Obstacle("names", "f() finds its tables by the search path"),
        Obstacle("orphans", "rows of a violate b"),
    )
    record = replace(a_set().database("rulesdb"), settings=("ALTER",), obstacles=obstacles)
    world = World(
        databases__dump=record, databases__written_between=WrittenBetween(3, ("public.rules",), ())
    )
    draft = world.draft()
    draft.directory = tmp_path
    (tmp_path / "databases").mkdir()
    draft.activity = Activity((SESSION,), (), maintenance=False)
    step = s.DumpDatabase(SET, "rulesdb", "full", "databases/rulesdb.dump", "")
    assert world.do(step) == "1 tables, 2 rows"
    assert world.asked("databases.release") == [(database(),)]
    assert "psql (user ann" in draft.inconsistencies[0]
    assert draft.doubts == [""]
    assert world.warned == [
        "rulesdb: f() finds its tables by the search path; Quiesce can restore it by setting a "
        "search path; plain pg_restore fails",
        "rulesdb: rows of a violate b; a full restore needs --not-valid",
    ]
    settings = "databases/rulesdb.settings.json"
    assert draft.files == [
        ("databases/rulesdb.dump", "database", "rulesdb"),
        (settings, "settings", "rulesdb"),
    ]
    assert (tmp_path / settings).read_text() == '[\n "ALTER"\n]\n'
    assert draft._thread is not None, "it is read back while the next one is dumped"
    draft._thread.join(10)
    assert world.asked("measure") == [(step.file,), (settings,)]
    assert draft.databases == [replace(record, settings=())]
    world.answers["databases.dump"] = replace(record, settings=(), obstacles=())
    world.answers["databases.written_between"] = WrittenBetween(3)
    world.do(step)
    assert draft.inconsistencies[1] == ""
    assert draft.doubts[1].startswith("3 transactions ended")
    assert len(draft.files) == 3
    draft.measure_rest(lambda *_: None)
    assert sorted({name for (name,) in world.asked("measure")}) == [step.file, settings]


def test_a_script_is_published_and_the_snapshot_let_go() -> None:
    """Where it is, is remembered for the report."""
    world = World(databases__script=Path("/tmp/x"), store__publish_file=Path("/out.sql"))
    step = s.WriteScript("rulesdb", "full", "out.sql", True, "")
    assert world.do(step) == "/out.sql"
    assert world.asked("databases.release") == [(database(),)]
    assert world.asked("store.publish_file") == [
        (Path("/tmp/x"), "out.sql", {"compress": True, "recipients": world.run.stack.recipients})
    ]
    assert world.run.files == {"rulesdb": Path("/out.sql")}


def test_the_roles_of_a_server_are_a_member_and_those_that_are_left_out_are_said() -> None:
    """Of the set that is made, and of the one that is restored."""
    world = World(databases__create_roles=("role x is a superuser: not created",))
    draft = world.draft()
    world.do(s.DumpGlobals(SET, "db", "databases/globals.sql", ""))
    assert draft.files == [("databases/globals.sql", "globals", "db")]
    assert world.asked("databases.dump_globals") == [
        ("db", Path("/staging"), "databases/globals.sql")
    ]
    world.do(s.CreateRoles(SET, "db", "databases/globals.sql", ("ann",), True, ""))
    script = a_set(SET).path / "databases/globals.sql"
    assert world.asked("databases.create_roles") == [("db", script, ("ann",), {"whole": True})]
    assert world.warned == ["role x is a superuser: not created"]


def contents(rows: int = 2) -> DatabaseContents:
    """What the set recorded, or another number of rows."""
    return DatabaseContents((TableRecord("public", "rules", rows, "1234"),), (), ("0003",))


def test_a_dump_is_loaded_by_its_record_and_compared_with_it() -> None:
    """Whatever differs is listed; what could not be read is not called equal."""
    world = World(databases__load=("a check was left out",))
    source = a_set(SET)
    step = s.LoadDump(SET, "rulesdb", "new", "x.dump", "", not_valid=True)
    assert world.do(step) == "1 restored differently"
    assert world.asked("databases.load") == [
        (
            *(database(), "new", source.path, "x.dump", source.database("rulesdb")),
            {"not_valid": True, "skip_broken": False},
        )
    ]
    assert world.warned == ["rulesdb: a check was left out"]
    assert world.run.deviations == {"rulesdb": ("a check was left out",)}
    world.answers["databases.load"] = ()
    assert world.do(step) == ""

    world.do(s.CreateDatabase(SET, "rulesdb", "new", ""))
    assert world.asked("databases.create") == [(database(), "new", source.database("rulesdb"))]

    world.answers["databases.contents"] = contents()
    compare = s.CheckDatabase(SET, "rulesdb", "new", "")
    assert world.do(compare) == "1 tables, 2 rows identical"
    assert (world.run.compared, world.run.uncompared) == ({"rulesdb": (1, 2)}, {})
    world.answers["databases.contents"] = contents(rows=1)
    assert world.fail(compare).details == ("table public.rules has 1 rows instead of 2",)
    unread = replace(contents().tables[0], digest="unread")
    world.answers["databases.contents"] = replace(contents(), tables=(unread,))
    assert world.do(compare) == (
        "1 tables, 2 rows identical except large objects, which only a superuser may read"
    )
    assert world.run.uncompared == {"rulesdb": ("large objects",)}


def test_steps_that_go_by_records_refuse_what_has_none() -> None:
    """A file of another program."""
    world = World()
    world.run.sources = {"file": ImportSource("file", Path("/file"))}
    for step in (
        s.LoadDump("file", "rulesdb", "new", "x", ""),
        s.CheckDatabase("file", "rulesdb", "new", ""),
        s.CreateDatabase("file", "rulesdb", "new", ""),
        s.FinishDatabase("file", "rulesdb", "new", ""),
    ):
        assert world.fail(step).fact == "file is not a set and has no records"
    assert world.calls == []


def test_a_script_of_another_program_is_loaded_and_migrated() -> None:
    """As whoever works in the database."""
    other = replace(database(), user="ann")
    world = World(databases__load_script=(2, 5), databases__login_for=other)
    world.run.sources = {"file": ImportSource("file", Path("/file"))}
    step = s.LoadScript("file", "rulesdb", "new", "x.sql", "")
    assert world.do(step) == "2 tables, 5 rows"
    assert world.run.loaded == {"rulesdb": (2, 5)}
    assert world.asked("databases.load_script") == [(database(), "new", Path("/file/x.sql"))]
    world.do(s.MigrateDatabase("rulesdb", "new", "head", ""))
    assert world.asked("migrator.upgrade") == [(database(), "new", "head", other)]


def rows_world(counted: tuple[str, ...] = ()) -> tuple[World, s.ReplaceRows]:
    """Rows of a set that fit, and the step that loads them."""
    world = World(
        databases__drift=Drift(()), databases__replace_rows=LoadedRows(1, 2, ("deviations",))
    )
    step = s.ReplaceRows(SET, "rulesdb", "new", "x.dump", counted, False, "", skip_broken=True)
    return world, step


def test_rows_that_fit_are_loaded_and_said_to_be_identical() -> None:
    """Except in tables whose rows were only counted."""
    world, step = rows_world()
    assert world.do(step) == "1 tables, 2 rows identical"
    assert world.run.compared == {"rulesdb": (1, 2)}
    assert world.run.uncompared == {}
    assert world.run.deviations == {"rulesdb": ("deviations",)}
    *_, check, keywords = world.asked("databases.replace_rows")[0]
    assert keywords == {"not_valid": False, "skip_broken": True}
    check(contents())
    with pytest.raises(QuiesceError, match="database new would differ") as caught:
        check(contents(rows=3))
    assert caught.value.details == ("table public.rules has 3 rows instead of 2",)

    world, step = rows_world(counted=("public.rules",))
    assert world.do(step) == "1 tables, 2 rows identical except public.rules"
    assert world.run.uncompared == {"rulesdb": ("public.rules",)}
    *_, check, _ = world.asked("databases.replace_rows")[0]
    check(replace(contents(), tables=(replace(contents().tables[0], digest="other"),)))


def test_rows_that_do_not_fit_are_not_loaded() -> None:
    """Every reason is listed; `--force` accepts only rows that would be lost."""
    world, step = rows_world()
    world.answers["databases.drift"] = Drift(("a", "b"))
    error = world.fail(step)
    assert error.fact.endswith("cannot be loaded into new: a")
    assert error.details == ("b",)
    assert world.asked("databases.replace_rows") == []
    world.answers["databases.drift"] = Drift((), left=("public.more",))
    assert "table public.more contains rows" in world.fail(step).fact
    world.do(replace(step, force=True))


def test_settings_are_private_and_can_be_read(tmp_path: Path) -> None:
    """They may contain passwords; people look into the file when they restore by hand."""
    file = tmp_path / "s.json"
    write_settings(file, ("COMMENT ON DATABASE d IS 'Bücher'", "ALTER"))
    assert file.stat().st_mode & 0o777 == 0o600
    assert "'Bücher'" in file.read_text(encoding="utf-8")
    with pytest.raises(FileExistsError):
        write_settings(file, ())


def test_a_database_is_finished_by_the_settings_of_its_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom it is given to is said, and which functions lost their rights."""
    source = a_set(SET, tmp_path)
    others = Member("o", "settings", "memorydb", "databases/o.json", 1, "")
    member = Member("s", "settings", "rulesdb", "databases/s.json", 1, "")
    manifest = replace(source.manifest, members=(others, *source.manifest.members, member))
    source = replace(source, manifest=manifest)
    (source.path / "databases").mkdir(parents=True)
    (source.path / "databases/s.json").write_text('["ALTER"]')
    given = Handover("ann", ("bob", "eve"), ("f()",))
    world = World(databases__finish=given)
    world.run.sources = {SET: source}
    step = s.FinishDatabase(SET, "rulesdb", "new", "")
    assert world.do(step) == ("owned by ann, which is not a superuser, and so can bob, eve")
    ((asked, name, record),) = world.asked("databases.finish")
    assert (asked, name, record.settings) == (database(), "new", ("ALTER",))
    assert world.warned[0].startswith("function f() in new was changed from SECURITY DEFINER")
    world.answers["databases.finish"] = replace(given, members=(), invokers=())
    assert world.do(step) == "owned by ann, which is not a superuser"
    world.answers["databases.finish"] = None
    assert world.do(replace(step, set="")) == ""
    assert world.asked("databases.finish")[-1] == (database(), "new", None)
    for wrong in ('{"a": 1}', '["ALTER", 1]', "no JSON"):
        (source.path / "databases/s.json").write_text(wrong)
        assert "does not contain settings of a database" in world.fail(step).fact
    (source.path / "databases/s.json").write_text('["ALTER"]')
    monkeypatch.setattr(database_settings, "_LARGEST", len('["ALTER"'))
    assert "does not contain settings of a database" in world.fail(step).fact
