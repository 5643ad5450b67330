"""Whatever is killed comes to an end that can be read, and leaves no folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quiesce.adapters.sets.local import LocalStore
from quiesce.app.backups_folder import runs_folder
from quiesce.app.restore_log import append, end_interrupted, restore_log
from quiesce.app.run import changing
from quiesce.commands.status import last_restore
from quiesce.errors import QuiesceError
from quiesce.plan import steps as s
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from tests.crash.test_every_step import Killed, World
from tests.support.builders import NOW, RUN, a_set

#: A recovery that is killed in its first step: it holds its folder, and has done nothing.
KILLED_RECOVERY = """
import os, signal, sys
from pathlib import Path
from quiesce.adapters.sets.local import LocalStore
from quiesce.app.run import changing
from quiesce.app.wiring import SystemClock
from tests.crash.test_every_step import NOW, World
import dataclasses
world = World(Path(sys.argv[1]))
store = LocalStore(world.stack.backups)
ports = lambda: dataclasses.replace(world.ports(), store=store)
with changing(world.stack, "recovering", "recover", NOW, ports, recover=False):
    folder = world.stack.backups / ".staging" / "recovering"
    (folder / "scratch").mkdir()
    (folder / "scratch" / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _begun(world: World, run: str = RUN) -> None:
    line = {
        "at": "2026-11-21T01:00:00Z",
        "event": "begun",
        "run": run,
        "task": "restore",
        "instance": "core",
        "source": "core-20261120-020000",
        "operator": "me@here",
        "note": "a try",
    }
    append(restore_log(world.stack), line)


def _ends(world: World) -> list[dict[str, object]]:
    lines = map(json.loads, restore_log(world.stack).read_text().splitlines())
    return [line for line in lines if line["event"] == "ended"]


def _restore(world: World) -> s.Plan:
    request = RestoreRequest()
    return plan_restore(
        world.stack, world.observed, a_set(), request, RestoreInputs(), RUN, "core-2"
    )


def _kill(world: World, after: type[object]) -> None:
    """Run a restore that is killed when its first step of this kind is done."""

    def die(now: str) -> bool:
        return now.startswith("after") and world.effects[-1] == after.__name__

    with pytest.raises((Killed, QuiesceError)):
        world.run(_restore(world), world.handlers(die))


@pytest.mark.parametrize(
    ("after", "ok"),
    [
        (s.StageVolume, False),
        (s.StopServices, False),
        (s.SwapDatabases, False),
        (s.SwapVolume, False),
        (s.StartServices, True),
        (s.WaitHealthy, True),
        (s.DropDatabase, True),
        (s.FinishSwap, True),
    ],
)
def test_a_killed_restore_gets_its_end_by_its_recovery(
    tmp_path: Path, after: type[object], ok: bool
) -> None:
    """Undone, or finished: the log of restores says which, and `status` names a finished one."""
    world = World(tmp_path)
    _begun(world)
    _kill(world, after)
    assert _ends(world) == []
    world.recover()
    (end,) = _ends(world)
    assert (end["run"], end["ok"], end["recovered"]) == (RUN, ok, True)
    assert (end["source"], end["note"]) == ("core-20261120-020000", "a try")
    assert (last_restore(world.stack) is not None) == ok
    world.recover()
    assert len(_ends(world)) == 1


def test_a_restore_that_died_before_its_journal_ends_too(tmp_path: Path) -> None:
    """It had changed nothing."""
    world = World(tmp_path)
    _begun(world)
    world.recover()
    (end,) = _ends(world)
    assert end["ok"] is False


def test_a_restore_that_still_owes_something_has_no_end_yet(tmp_path: Path) -> None:
    """Nobody knows yet how it ends."""
    world = World(tmp_path)
    _begun(world)
    _kill(world, s.SwapVolume)
    end_interrupted(world.stack, NOW)
    assert _ends(world) == []


def test_a_recovery_that_was_killed_in_its_first_step_leaves_no_folder(tmp_path: Path) -> None:
    """It has no journal; the next run sees by its folder's lock that it is dead."""
    world = World(tmp_path)
    store = LocalStore(world.stack.backups)
    root = Path(__file__).resolve().parents[2]
    child = subprocess.run(
        [sys.executable, "-c", KILLED_RECOVERY, str(tmp_path)], cwd=root, check=False
    )
    assert child.returncode == -9
    assert (world.stack.backups / ".staging" / "recovering" / "scratch" / "half").exists()
    assert store.abandoned(()) == ("recovering",)
    ports = world.ports()
    object.__setattr__(ports, "store", store)
    with changing(world.stack, "next", "backup", NOW, lambda: ports):
        assert store.abandoned(()) == (), "its own folder is in use"
    assert list((world.stack.backups / ".staging").iterdir()) == []


def test_folders_of_earlier_versions_are_swept_once_they_are_old(tmp_path: Path) -> None:
    """Nobody marked them as in use, so only their age says that they are nobody's."""
    store = LocalStore(tmp_path / "backups")
    for name in ("old", "new"):
        folder = store.open(name, "x")
    assert folder.exists()
    old = tmp_path / "backups" / ".staging" / "old"
    long_ago = time.time() - 30 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    assert store.abandoned(()) == ("old",)


def test_what_cannot_be_removed_of_a_dead_run_is_said_and_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An immutable file in a staging folder, for example."""
    world = World(tmp_path)
    _kill(world, s.SwapVolume)
    before = world.running
    ports = world.ports()
    store = LocalStore(world.stack.backups)

    def refuse(run: str) -> None:
        raise QuiesceError("cannot write: Operation not permitted", "see lsattr")

    monkeypatch.setattr(store, "discard", refuse)
    object.__setattr__(ports, "store", store)
    monkeypatch.setattr(world, "ports", lambda: ports)
    world.dead = False
    world.recover()
    assert world.running > before
    assert not list(runs_folder(world.stack).glob("*.jsonl")) or last_restore(world.stack) is None
    (note,) = runs_folder(world.stack).glob("*.pending.json")
    assert "DiscardStaging" in note.read_text()
