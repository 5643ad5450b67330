"""What is done about SQLite databases: recorded, warned of, required, and compared again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quiesce.commands.verify import Decoder
from quiesce.errors import CheckFailed
from quiesce.model import SqliteRecord
from quiesce.plan import steps as s
from quiesce.ports import SqliteCopies, VolumeSize
from tests.support.builders import RUN, a_set
from tests.support.handling import SET, World

KEY = "backend-media"
GOOD = SqliteRecord("app.db", 9, {"t": 3})
DAMAGED = SqliteRecord("old lib.db", 9, {}, ("page 3 is broken", "page 4 is broken"))
UNKNOWN = SqliteRecord("own.db", 9, {}, unchecked="no such collation")


def recorded(*found: SqliteRecord) -> Any:
    """What the example set records of the volume, with these databases."""
    return replace(a_set(SET).volume(KEY), sqlite=found)


def checked(world: World, *found: SqliteRecord, **opened: Any) -> str:
    """Check what is in a set that is being made."""
    world.answers["volumes.sqlite"] = found
    world.draft(**opened).volumes[KEY] = recorded()
    return world.do(s.CheckSqlite(SET, (KEY,), ""))


def test_what_was_found_is_recorded_and_what_is_not_good_is_warned_of() -> None:
    """Each by its name, with its first finding."""
    world = World()
    assert checked(world, GOOD, DAMAGED, UNKNOWN) == "3 databases, 1 good"
    assert world.run.drafts[SET].volumes[KEY].sqlite == (GOOD, DAMAGED, UNKNOWN)
    assert world.warned == [
        f"volume {KEY}: SQLite old lib.db: page 3 is broken",
        f"volume {KEY}: SQLite own.db: no such collation",
    ]
    ((archives, gone, _),) = world.asked("volumes.sqlite")
    assert archives == [Path("/staging") / file for file in recorded().levels]
    assert gone == (Path("/staging") / recorded().gone if recorded().gone else None)


def test_a_damaged_one_ends_the_backup_with_a_way_back_for_that_file() -> None:
    """Others are named, too; what cannot be checked is no failure."""
    world = World()
    checked(world, GOOD, UNKNOWN)
    assert world.do(s.RequireSqlite(SET, "")) == ""
    checked(world, DAMAGED, replace(DAMAGED, file="b"))
    error = world.fail(s.RequireSqlite(SET, ""), CheckFailed)
    assert f"old lib.db of volume {KEY}: page 3 is broken" in error.fact
    assert f"--only {KEY} --path 'old lib.db'" in error.hint
    assert error.details == (f"b of volume {KEY}: page 3 is broken",)


def test_a_damaged_one_in_a_path_is_told_as_such() -> None:
    """A path is recorded like a volume, by the folder that it is."""
    world = World()
    checked(world, DAMAGED)
    record = world.run.drafts[SET].volumes[KEY]
    world.run.drafts[SET].volumes[KEY] = replace(record, name="/srv/media")
    error = world.fail(s.RequireSqlite(SET, ""), CheckFailed)
    assert f"old lib.db of path {KEY}: page 3" in error.fact


def test_one_without_its_log_cannot_be_judged() -> None:
    """A pattern may leave out the file that holds its last transactions."""
    world = World()
    kept = replace(world.run.stack.volume(KEY), exclude=("**/*-wal",))
    rest = tuple(v for v in world.run.stack.volumes if v.key != KEY)
    world.run.stack = replace(world.run.stack, volumes=(kept, *rest))
    checked(world, GOOD)
    (found,) = world.run.drafts[SET].volumes[KEY].sqlite or ()
    assert "exclude leaves out app.db-wal" in found.unchecked


def test_a_copy_made_while_services_write_says_nothing_of_the_database() -> None:
    """It may be torn although the database is whole."""
    world = World()
    checked(world, DAMAGED, mode="live")
    (found,) = world.run.drafts[SET].volumes[KEY].sqlite or ()
    assert found.problems == ()
    assert found.unchecked == "copied while services ran: page 3 is broken"


def copied(world: World, copies: SqliteCopies, *found: SqliteRecord) -> tuple[SqliteRecord, ...]:
    """Copy in a live backup, check, and return what the set records."""
    world.answers |= {"volumes.sqlite": found, "volumes.copy_sqlite": copies}
    world.draft(mode="live").volumes[KEY] = recorded()
    world.do(s.CopySqlite(SET, (KEY,), ""))
    world.do(s.CheckSqlite(SET, (KEY,), ""))
    return world.run.drafts[SET].volumes[KEY].sqlite or ()


def test_what_sqlite_copied_counts_like_a_copy_from_the_stop() -> None:
    """Its damage is that of the database, and its log was not needed for it."""
    world = World()
    kept = replace(world.run.stack.volume(KEY), exclude=("**/*-wal",))
    rest = tuple(v for v in world.run.stack.volumes if v.key != KEY)
    world.run.stack = replace(world.run.stack, volumes=(kept, *rest))
    both = replace(recorded(), levels=("0", "1"), gone="gone")
    copies = SqliteCopies(both, copied=frozenset({"app.db", "old lib.db"}))
    assert copied(world, copies, GOOD, DAMAGED) == (GOOD, DAMAGED)
    assert world.run.drafts[SET].volumes[KEY].levels == ("0", "1")
    assert world.warned == [f"volume {KEY}: SQLite old lib.db: page 3 is broken"]
    world.fail(s.RequireSqlite(SET, ""), CheckFailed)


def test_what_sqlite_could_not_copy_is_named_even_if_it_is_good() -> None:
    """With the reason; and if its copy is torn, the database may be whole."""
    world = World()
    copies = SqliteCopies(recorded(), {"app.db": "it has several hard links"})
    found = copied(world, copies, GOOD, DAMAGED)
    assert [one.unchecked for one in found] == [
        "",
        "copied while services ran: page 3 is broken",
    ]
    how = "was copied as a file while services ran, not through SQLite"
    assert world.warned[:2] == [
        f"volume {KEY}: SQLite app.db {how} (it has several hard links); "
        "Quiesce only checks the archived copy",
        f"volume {KEY}: SQLite old lib.db {how}; Quiesce only checks the archived copy",
    ]
    assert world.do(s.RequireSqlite(SET, "")) == ""


@pytest.mark.parametrize(
    ("now", "refused"),
    [((GOOD,), ""), ((replace(GOOD, tables={"t": 2}),), "other rows"), ((), "is not an SQLite")],
)
def test_a_restore_refuses_one_that_is_worse_before_it_unpacks_anything(
    now: tuple[SqliteRecord, ...], refused: str
) -> None:
    """The live data stays as it is."""
    world = World(volumes__check=(), volumes__sqlite=now)
    backup = a_set(SET)
    record = recorded(GOOD, *((replace(GOOD, file="second.db"),) if not now else ()))
    volumes = tuple(record if v.key == KEY else v for v in backup.manifest.volumes)
    world.run.sources[SET] = replace(backup, manifest=replace(backup.manifest, volumes=volumes))
    world.answers["volumes.stage"] = VolumeSize(record.files, record.bytes)
    step = s.StageVolume(SET, KEY, "")
    if not refused:
        world.do(step)
        return
    error = world.fail(step)
    assert refused in error.fact
    assert error.details == (() if now else ("second.db is not an SQLite database",))
    assert world.asked("volumes.stage") == []


def test_a_deep_verification_names_one_that_is_worse() -> None:
    """And does not look where the set recorded none."""
    asked: list[Any] = []
    volumes = SimpleNamespace(
        check=lambda *_: (), sqlite=lambda *call: asked.append(call) or (DAMAGED,)
    )
    ports: Any = SimpleNamespace(
        volumes=volumes,
        sink=SimpleNamespace(progress=lambda *_: None, warn=lambda *_: None),
        store=SimpleNamespace(discard=lambda _: None),
        runtime=SimpleNamespace(services=tuple),
    )
    backup = a_set(SET)
    for found, wrong in ((replace(DAMAGED, problems=()), 1), (None, 0)):
        record = replace(backup.volume(KEY), sqlite=None if found is None else (found,))
        manifest = replace(backup.manifest, volumes=(record,), databases=(), encryption="")
        asked.clear()
        reading = Decoder(ports, RUN, None)(replace(backup, manifest=manifest))
        assert len(reading.wrong) == len(asked) == wrong
