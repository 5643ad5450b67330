"""How a safety set is made of what an exchange left, with ports that only note what they are asked.

The real ones are asked in `tests/crash/test_safety_set_pending.py`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quiesce.errors import QuiesceError, StillNeeded
from quiesce.execute.handlers.safety import require_kept
from quiesce.model import BackupSet, Member, VolumeRecord
from quiesce.observed import WrittenBetween
from quiesce.plan import steps as s
from quiesce.ports import Measured, VolumeSize
from tests.support.builders import NOW, RUN, a_set
from tests.support.handling import SESSION, SWAPS, World

NAME = "core-1-safety"
COPY = f".quiesce-{RUN}/old"
PARTS: tuple[s.Node, ...] = (
    s.OpenSet(NAME, "full", "consistent", "", False, (), (), "", safety=True),
    s.ArchiveVolume(NAME, "backend-media", 0, "volumes/backend-media", "", copy=COPY),
    s.DumpDatabase(NAME, "rulesdb", "full", "databases/rulesdb.dump", "", copy="rulesdb__old"),
    s.SealSet(NAME, ""),
)
STEP = s.MakeSafetySet(NAME, RUN, SWAPS, ("backend-media",), PARTS, "")
MADE = a_set(NAME)


def a_record(volume: str) -> VolumeRecord:
    """What was archived."""
    return replace(a_set().volume("backend-media"), key=volume)


def measured(_run: str, _name: str, file: str, kind: Any, source: str) -> Measured:
    """A member as it was read back."""
    return Measured(Member(Path(file).name, kind, source, file, 1, "0" * 64), (1,))


def a_place(**answers: Any) -> World:
    """Ports with which a set can be made, unless something else is answered."""
    good: dict[str, Any] = {
        "store__sets": (),
        "store__open": Path("/staging"),
        "store__measure": measured,
        "store__seal": MADE,
        "store__verify": (),
        "volumes__leftover_size": VolumeSize(3, 3),
        "volumes__archive": lambda state, *_: a_record(state.key),
        "databases__size": 1,
        "databases__dump": lambda database, *_: a_set().database(database.key),
        "databases__written_between": WrittenBetween(),
        "runtime__images": {},
    }
    return World(**(good | answers))


def order(world: World, *names: str) -> list[str]:
    """These calls, in the order in which they were made."""
    return [call[0] for call in world.calls if call[0] in names]


def test_the_copies_are_opened_archived_and_closed_and_the_set_is_verified() -> None:
    """Of the moment of the exchange; then what it contains may be removed."""
    world = a_place()
    world.run.exchanged_at = NOW - timedelta(days=1)
    world.run.ended_sessions = (SESSION,)
    said: list[tuple[str, int]] = []
    world.answers["sink.progress"] = lambda *facts: said.append(facts)
    assert world.do(STEP) == f"{len(MADE.manifest.members)} members good"
    calls = ("databases.allow_connections", "databases.dump", "databases.block_connections")
    assert order(world, *calls, "store.seal", "store.verify") == [
        *(calls[0], calls[1], "store.seal", calls[2], "store.verify"),
    ]
    assert world.asked("databases.allow_connections") == [("db", ("rulesdb__old",))]
    assert world.asked("databases.dump")[0][0].name == "rulesdb__old"
    assert world.asked("volumes.archive")[0][-1] == {"copy": COPY}
    assert world.asked("volumes.begin") == []
    ((_, manifest, *_),) = world.asked("store.seal")
    assert manifest.created_at == world.run.exchanged_at
    assert manifest.doubt.count("psql") == 1
    assert (f"archive the copy of volume backend-media in {COPY}", 0) in said
    assert manifest.databases[0].name == "rulesdb"
    ((_, state),) = world.asked("store.remember")
    assert state.verified_good
    assert world.asked("store.discard_set") == [(RUN, NAME)]
    require_kept(NAME, world.run)


def test_without_a_known_exchange_the_set_is_of_now() -> None:
    """A journal may be gone."""
    world = a_place()
    world.do(STEP)
    assert world.asked("store.seal")[0][1].created_at == NOW


@pytest.mark.parametrize("part", ["volumes.archive", "databases.dump", "store.seal"])
def test_a_part_that_fails_leaves_nothing_and_lets_nothing_be_removed(part: str) -> None:
    """The unfinished set is removed, and the copy is closed again."""
    world = a_place(**{part.replace(".", "__"): QuiesceError("the disk is full", "free some")})
    world.fail(STEP)
    assert order(world, "databases.block_connections", "store.discard_set") == [
        *("store.discard_set", "store.discard_set", "databases.block_connections"),
    ]
    assert world.run.drafts == {}
    assert world.asked("store.verify") == []
    with pytest.raises(StillNeeded, match=NAME):
        require_kept(NAME, world.run)


def test_a_set_that_an_interrupted_run_published_is_verified_and_not_made_again() -> None:
    """Its copies may be gone already."""
    world = a_place(
        store__sets=(a_set("core-0"), MADE),
        databases__size=None,
        volumes__leftover_size=VolumeSize(0, 0),
    )
    assert "good" in world.do(STEP)
    assert world.asked("store.verify")[0][0] == MADE
    assert world.asked("store.discard_set") == []
    assert world.asked("databases.dump") == []


def test_a_damaged_set_is_removed_so_that_it_is_made_again() -> None:
    """And until then its copies stay."""
    world = a_place(store__verify=("x: its content has changed", "y: is missing"))
    error = world.fail(STEP)
    assert (error.fact, error.details) == (
        f"safety set {NAME} was damaged when it was read back: x: its content has changed",
        ("y: is missing",),
    )
    assert world.asked("store.remove") == [(NAME,)]
    assert world.asked("store.remember") == []
    with pytest.raises(StillNeeded):
        require_kept(NAME, world.run)


@pytest.mark.parametrize(("size", "files"), [(None, 0), (1, 0), (None, 1)])
def test_only_if_every_copy_is_gone_there_is_nothing_to_wait_for(
    size: int | None, files: int
) -> None:
    """As after `nuke`."""
    world = a_place(databases__size=size, volumes__leftover_size=VolumeSize(files, 0))
    done = world.do(STEP)
    gone = size is None and files == 0
    assert (done == "nothing left") is gone
    assert bool(world.warned) is gone
    assert bool(world.asked("store.seal")) is not gone
    require_kept(NAME, world.run)


def test_a_volume_that_is_gone_is_not_looked_into() -> None:
    """It cannot be."""
    world = a_place(databases__size=None)
    volumes = tuple(replace(v, exists=False) for v in world.run.observed.volumes)
    world.run.observed = replace(world.run.observed, volumes=volumes)
    assert world.do(STEP) == "nothing left"
    assert world.asked("volumes.leftover_size") == []


@pytest.mark.parametrize("kept", [True, False])
def test_what_waits_for_a_set_is_removed_when_there_is_one(kept: bool) -> None:
    """Made by this run, or by an earlier one."""
    sets: tuple[BackupSet, ...] = (MADE,) if kept else ()
    world = a_place(store__sets=sets)
    for step in (
        s.DropDatabase("rulesdb", "rulesdb__old", "abc123", "", kept_in=NAME),
        s.FinishSwap("backend-media", "", kept_in=NAME, run="other"),
    ):
        if kept:
            world.do(step)
        else:
            assert "still needed" in world.fail(step, StillNeeded).fact
    assert bool(world.asked("databases.drop")) is kept
    assert [run for _, run in world.asked("volumes.finish_swap")] == (["other"] if kept else [])


def test_what_waits_for_no_set_is_removed() -> None:
    """Without a safety set, or of a restore that failed."""
    world = a_place()
    world.do(s.DropDatabase("rulesdb", "rulesdb__new", "abc123", ""))
    assert len(world.asked("databases.drop")) == 1


def test_the_record_of_an_undone_restore_is_removed(tmp_path: Path) -> None:
    """Only that of this run."""
    for run in (RUN, "other"):
        (tmp_path / f"{run}.pending.json").write_text("{}")
    world = a_place()
    world.run.runs_folder = tmp_path
    for _ in range(2):
        world.do(s.ForgetPending(RUN, ""))
    assert [path.name for path in tmp_path.iterdir()] == ["other.pending.json"]
