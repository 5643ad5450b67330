"""Dying before and after every step of a plan, and in the middle of its recovery: P1 in memory.

The runtime is the fake that passes the runtime's contract; what is not about services is noted
and does nothing. The real thing is killed in tests/e2e.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quiesce.app.backups_folder import runs_folder
from quiesce.app.run import Changing
from quiesce.app.wiring import SystemClock
from quiesce.errors import QuiesceError, RecoveryPending, StepFailed
from quiesce.execute import journal as journals
from quiesce.execute.executor import Executor
from quiesce.execute.handlers import HANDLERS
from quiesce.execute.handlers import services as service_handlers
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.journal import Journal
from quiesce.execute.run import Ports, Run
from quiesce.observed import ProjectResources
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.clean import plan_clean_all, plan_empty
from quiesce.plan.cold import plan_cold
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.shutdown import ShutdownRequest, plan_shutdown
from quiesce.plan.steps import Plan, steps_of
from quiesce.plan.undo import plan_undo
from tests.fakes.runtime import FakeRuntime
from tests.support.builders import (
    NOW,
    RUN,
    a_cleanable_stack,
    a_cold_set,
    a_set,
    a_stack,
    a_world,
    an_undone_restore,
    restarting_always,
)

REAL = {
    s.StopServices: service_handlers.stop,
    s.HoldRestart: service_handlers.hold_restart,
    s.FreeRestart: service_handlers.free_restart,
    s.StartServices: service_handlers.start,
    s.WaitHealthy: service_handlers.wait_healthy,
}


class Killed(BaseException):
    """SIGKILL, as far as one process can play it: nothing after it has any effect."""


class Quiet:
    """An EventSink that nobody reads, and ports that have nothing to sweep."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: ()


class World:
    """Three services that run, one that crashes again and again, one that was stopped, and what
    happens to them."""

    def __init__(self, folder: Path) -> None:
        self.stack = a_stack(folder)
        self.observed = restarting_always(a_world({"frontend": "exited", "proxy": "restarting"}))
        self.runtime = FakeRuntime(self.observed.services)
        self.dead = False
        self.effects: list[str] = []

    @property
    def running(self) -> set[str]:
        return {service.name for service in self.runtime.services() if service.running}

    @property
    def policies(self) -> set[str]:
        """How the engine restarts what runs: held back by nothing, once all is settled."""
        return {u.restart_policy for service in self.runtime.services() for u in service.running}

    def ports(self) -> Ports:
        quiet: Any = Quiet()
        return Ports(self.runtime, quiet, quiet, quiet, quiet, quiet, SystemClock(), quiet, quiet)

    def handlers(self, die: Callable[[str], bool] = lambda effect: False) -> dict[Any, Any]:
        """Handlers that die when `die` says so of `before N` or `after N`, N counting effects."""
        count = 0

        def make(kind: type[Any]) -> Callable[[Any, Run], str]:
            def handle(step: Any, run: Run) -> str:
                nonlocal count
                self._live_or_die(die(f"before {count}"))
                REAL.get(kind, lambda step, run: "")(step, run)
                self.effects.append(kind.__name__)
                count += 1
                self._live_or_die(die(f"after {count - 1}"))
                return ""

            return handle

        return {kind: make(kind) for kind in HANDLERS}

    def _live_or_die(self, now: bool) -> None:
        self.dead = self.dead or now
        if self.dead:
            raise Killed

    def run(self, plan: Plan, handlers: dict[Any, Any]) -> None:
        world = self

        class Mortal(Journal):
            def write(self, event: str, **facts: Any) -> None:
                if not world.dead:
                    super().write(event, **facts)

        journal = Mortal(runs_folder(self.stack), plan.run)
        journal.open(plan, NOW)
        run = Run(plan.run, self.stack, self.observed, self.ports())
        Executor(run, journal, Interrupts(), handlers).execute(plan)

    def recover(self, handlers: dict[Any, Any] | None = None) -> None:
        self.dead = False
        handlers = handlers or self.handlers()
        work = Changing(self.stack, "other", self.ports(), Interrupts(), handlers)
        work.observe = a_world  # type: ignore[method-assign]
        work.recover()


def _backup(world: World) -> Plan:
    return plan_backup(world.stack, world.observed, BackupRequest(), RUN, "core-1")


def _restore(world: World) -> Plan:
    request = RestoreRequest()
    return plan_restore(
        world.stack, world.observed, a_set(), request, RestoreInputs(), RUN, "core-2"
    )


def _clean_cache(world: World) -> Plan:
    return plan_empty(a_cleanable_stack(world.stack.directory), world.observed, RUN, "cache")


def _backup_cold(world: World) -> Plan:
    return plan_cold(world.stack, world.observed, BackupRequest(mode="cold"), RUN, "core-1")


def _restore_cold(world: World) -> Plan:
    request = RestoreRequest()
    return plan_restore(
        world.stack, world.observed, a_cold_set(), request, RestoreInputs(), RUN, "core-2"
    )


def _undo(world: World) -> Plan:
    undone = an_undone_restore()
    return plan_undo(world.stack, world.observed, undone, RUN, "core-3")


PLANNERS = {
    "backup": _backup,
    "backup-cold": _backup_cold,
    "restore": _restore,
    "restore-cold": _restore_cold,
    "undo": _undo,
    "clean-cache": _clean_cache,
}


def _effects(name: str) -> int:
    world = World(Path("/stack"))
    return sum(1 for _ in steps_of(PLANNERS[name](world).nodes))


MOMENTS = [
    (name, f"{when} {number}")
    for name in PLANNERS
    for number in range(_effects(name))
    for when in ("before", "after")
]


@pytest.mark.parametrize(("name", "moment"), MOMENTS)
def test_what_ran_runs_again_after_a_death_at_any_step(
    tmp_path: Path, name: str, moment: str
) -> None:
    """And what was stopped before stays stopped; a second recovery finds nothing owed."""
    world = World(tmp_path)
    before = world.running
    try:
        world.run(PLANNERS[name](world), world.handlers(lambda now: now == moment))
    except (Killed, QuiesceError):
        assert world.dead
    world.recover()
    assert world.running == before
    assert world.policies == {"always"}
    assert not journals.unfinished(runs_folder(world.stack))
    world.effects.clear()
    world.recover()
    assert world.effects == []


def test_what_ran_runs_again_after_a_death_within_a_group(tmp_path: Path) -> None:
    """Of services that stop, or start, at the same time, some had done so."""
    for number in itertools.count():
        world = World(tmp_path / str(number))
        world.stack = replace(world.stack, restart=replace(world.stack.restart, order=()))
        before = world.running
        plan = _backup_cold(world)
        grouped = [step.groups for _, step in steps_of(plan.nodes) if hasattr(step, "groups")]
        assert (("redis", "db"),) in grouped
        assert (("db", "redis"),) in grouped

        def die(call: str, world: World = world, at: int = number) -> None:
            world.dead = world.dead or len(world.runtime.calls) > at
            if world.dead:
                raise Killed

        world.runtime.on_call = die
        with contextlib.suppress(Killed, QuiesceError):
            world.run(plan, world.handlers())
        died = world.dead
        world.runtime.on_call = None
        world.recover()
        assert world.running == before, number
        assert world.policies == {"always"}
        assert not journals.unfinished(runs_folder(world.stack))
        if not died:
            break
    assert number > 8


@pytest.mark.parametrize("name", PLANNERS)
def test_a_recovery_that_dies_itself_is_finished_by_the_next(tmp_path: Path, name: str) -> None:
    """Killed while everything is stopped, then killed at every step of the recovery."""
    for number in range(6):
        world = World(tmp_path / str(number))
        before = world.running
        plan = PLANNERS[name](world)
        steps = [step for _, step in steps_of(plan.nodes)]
        stopped = [type(step) for step in steps].index(s.StopServices)
        with pytest.raises((Killed, QuiesceError)):
            world.run(plan, world.handlers(lambda now, at=stopped: now == f"after {at}"))
        assert world.running == before - {unit.service for unit in steps[stopped].units}
        try:
            world.recover(world.handlers(lambda now, at=number: now == f"after {at}"))
        except (Killed, QuiesceError):
            world.recover()
        assert world.running == before
        assert world.policies == {"always"}


@pytest.mark.parametrize("name", PLANNERS)
def test_an_error_at_any_step_puts_everything_back(tmp_path: Path, name: str) -> None:
    """Exit 3, nothing owed, and the same services as before."""
    failures = 0
    for number in range(_effects(name)):
        world = World(tmp_path / str(number))
        before = world.running

        class Failing(Exception):
            pass

        handlers = world.handlers()
        count = 0

        def fail_once(handle: Any, number: int = number) -> Any:
            def wrapped(step: Any, run: Run) -> str:
                nonlocal count
                count += 1
                if count - 1 == number:
                    raise Failing
                return handle(step, run)

            return wrapped

        count = 0
        handlers = {kind: fail_once(handle) for kind, handle in handlers.items()}
        try:
            world.run(PLANNERS[name](world), handlers)
        except StepFailed:
            failures += 1
            assert world.running == before
            assert not journals.unfinished(runs_folder(world.stack))
        except RecoveryPending:
            failures += 1
            # The step that failed was one that puts back: recovery does it.
            world.recover()
            assert world.running == before
    assert failures > 7


def _shutdown(world: World) -> Plan:
    return plan_shutdown(world.stack, world.observed, ShutdownRequest(), RUN, "core-1")


def _clean_all(world: World) -> Plan:
    return plan_clean_all(world.stack, world.observed, ProjectResources(), RUN, force=False)


@pytest.mark.parametrize("planner", [_shutdown, _clean_all])
def test_an_error_on_the_way_to_a_stop_for_good_is_put_back(tmp_path: Path, planner: Any) -> None:
    """A backup that fails, a set that is damaged, a volume in use: what ran runs."""
    steps = [step for _, step in steps_of(planner(World(tmp_path)).nodes)]
    for kind in dict.fromkeys(map(type, steps)):
        if kind in (s.StartServices, s.WaitHealthy, s.ReleaseSnapshot, s.DiscardStaging):
            continue
        world = World(tmp_path / kind.__name__)
        before = world.running

        def fail(step: Any, run: Run) -> str:
            raise QuiesceError("as the test wants")

        with pytest.raises(StepFailed):
            world.run(planner(world), {**world.handlers(), kind: fail})
        assert world.running == before, kind
        assert not journals.unfinished(runs_folder(world.stack))


@pytest.mark.parametrize("planner", [_shutdown, _clean_all])
def test_a_stop_for_good_that_dies_half_way_is_put_back(tmp_path: Path, planner: Any) -> None:
    """Whatever did not get to its end leaves what ran running; what did leaves all stopped."""
    count = sum(1 for _ in steps_of(planner(World(tmp_path)).nodes))
    ends = set()
    for number in range(count):
        for when in ("before", "after"):
            world = World(tmp_path / f"{when}{number}")
            before = world.running
            with contextlib.suppress(Killed, QuiesceError):
                world.run(
                    planner(world), world.handlers(lambda now, at=f"{when} {number}": now == at)
                )
            world.recover()
            assert world.running in (before, set())
            assert world.running == before or not world.dead or when == "after"
            ends.add(bool(world.running))
    assert True in ends
    world = World(tmp_path / "whole")
    world.run(planner(world), world.handlers())
    assert world.running == set()


def test_a_restart_that_is_not_owed_would_be_noticed(tmp_path: Path) -> None:
    """The suite fails for code that forgets what it owes: here a journal without `owed`."""
    world = World(tmp_path)
    before = world.running

    class Forgetful(Journal):
        def write(self, event: str, **facts: Any) -> None:
            if event != "owed" and not world.dead:
                super().write(event, **facts)

    plan = _backup(world)
    journal = Forgetful(runs_folder(world.stack), RUN)
    journal.open(plan, NOW)
    run = Run(RUN, world.stack, world.observed, world.ports())
    stopped = [type(step) for _, step in steps_of(plan.nodes)].index(s.StopServices)
    handlers = world.handlers(lambda now: now == f"after {stopped}")
    with pytest.raises((Killed, QuiesceError)):
        Executor(run, journal, Interrupts(), handlers).execute(plan)
    world.recover()
    assert world.running != before
