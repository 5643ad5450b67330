"""A recovery changes nothing on another engine than the one that the dead run worked on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quiesce.app.backups_folder import runs_folder
from quiesce.app.run import Changing
from quiesce.app.wiring import SystemClock
from quiesce.errors import RecoveryPending, ServiceFailed
from quiesce.execute import journal as journals
from quiesce.execute import pending
from quiesce.execute.handlers import HANDLERS
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.journal import Journal
from quiesce.execute.run import Ports
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from tests.fakes.runtime import FakeRuntime
from tests.support.builders import NOW, RUN, a_stack, a_world


class Quiet:
    """Ports that have nothing to say, to find or to remove."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: ()


class World:
    """A run died with its services stopped. `done` has what its recovery carries out."""

    def __init__(self, folder: Path, *, engine: str) -> None:
        self.stack = a_stack(folder)
        self.seen = replace(a_world(), engine=replace(a_world().engine, id=engine))
        self.runtime = FakeRuntime(self.seen.services)
        self.done: list[str] = []
        self.fails: set[str] = set()

    def recover(self) -> Changing:
        quiet: Any = Quiet()
        ports = Ports(self.runtime, quiet, quiet, quiet, quiet, quiet, SystemClock(), quiet, quiet)
        handlers = dict.fromkeys(HANDLERS, self._handle)
        work = Changing(self.stack, "another-run", ports, Interrupts(), handlers)
        work.observe = lambda: self.seen  # type: ignore[method-assign]
        work.recover()
        return work

    def _handle(self, step: s.Step, _: Any) -> str:
        name = type(step).__name__
        self.done.append(name)
        if name in self.fails:
            raise ServiceFailed("db does not start", "see its log")
        return ""


def _die_with_services_stopped(world: World) -> None:
    plan = plan_backup(world.stack, a_world(), BackupRequest(), RUN, "core-1")
    journal = Journal(runs_folder(world.stack), RUN)
    journal.open(plan, NOW)
    for at, node in s.walk(plan.nodes):
        if isinstance(node, s.Bracket):
            journal.write("owed", position=at)
        if isinstance(node, s.StopServices):
            break
    journal.leave_open()


def test_a_dead_run_is_settled_on_its_own_engine(tmp_path: Path) -> None:
    """What it stopped runs again."""
    world = World(tmp_path, engine="ENGINE")
    _die_with_services_stopped(world)
    world.recover()
    assert "StartServices" in world.done
    assert journals.unfinished(runs_folder(world.stack)) == ()


def test_on_another_engine_nothing_of_it_is_done(tmp_path: Path) -> None:
    """Containers and volumes of the same names may be there too, and are somebody else's."""
    world = World(tmp_path, engine="ANOTHER")
    _die_with_services_stopped(world)
    with pytest.raises(RecoveryPending, match="worked on another engine"):
        world.recover()
    assert world.done == []
    (dead,) = journals.unfinished(runs_folder(world.stack))
    assert dead.run == RUN


def test_what_was_left_for_later_waits_for_its_engine_too(tmp_path: Path) -> None:
    """It is tried again only where it failed."""
    world = World(tmp_path, engine="ENGINE")
    _die_with_services_stopped(world)
    world.fails = {"StartServices"}
    world.recover()
    (note,), _ = pending.read_all(runs_folder(world.stack))
    world.done.clear()
    world.seen = replace(world.seen, engine=replace(world.seen.engine, id="ANOTHER"))
    world.recover()
    assert world.done == []
    (again,), _ = pending.read_all(runs_folder(world.stack))
    assert all("another engine" in why for why in again.problems.values())
    assert again.steps == note.steps
    world.seen = replace(world.seen, engine=replace(world.seen.engine, id=note.plan.engine))
    world.fails = set()
    world.recover()
    assert "StartServices" in world.done
    assert pending.read_all(runs_folder(world.stack)) == ((), ())
