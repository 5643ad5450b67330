"""One service that fails keeps no other one down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from quiesce.app.run import Changing, changing, runs_folder
from quiesce.app.wiring import SystemClock
from quiesce.errors import NotDeclared, QuiesceError, RecoveryPending, StepFailed
from quiesce.execute import journal as journals
from quiesce.execute.executor import Executor
from quiesce.execute.handlers import HANDLERS
from quiesce.execute.handlers import services as handlers
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.journal import Journal
from quiesce.execute.run import Ports, Run
from quiesce.model import Command, Stack
from quiesce.observed import Observed, Unit
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.services import plan_start
from quiesce.plan.steps import Plan
from tests.fakes.runtime import FakeRuntime, make_service
from tests.support.builders import NOW, ORDER, RUN, a_stack, a_world


class Sink:
    """Remembers what is said aloud."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: ()


class World:
    """The example stack in memory."""

    def __init__(self, folder: Path, observed: Observed) -> None:
        self.stack: Stack = a_stack(folder)
        self.observed = observed
        self.runtime = FakeRuntime(observed.services)
        self.sink = Sink()

    def ports(self) -> Ports:
        other: Any = Sink()
        sink: Any = self.sink
        return Ports(self.runtime, other, other, other, other, sink, SystemClock(), other, other)

    def run(self, plan: Plan, kinds: Any) -> None:
        journal = Journal(runs_folder(self.stack), plan.run)
        journal.open(plan, NOW)
        run = Run(plan.run, self.stack, self.observed, self.ports())
        Executor(run, journal, Interrupts(), kinds).execute(plan)

    def down_after(self, plan: Plan) -> RecoveryPending:
        with pytest.raises(RecoveryPending) as caught:
            self.run(plan, ONLY_SERVICES)
        return caught.value


#: What is not about services does nothing.
ONLY_SERVICES = {
    kind: handler if handler.__module__ == handlers.__name__ else lambda step, run: ""
    for kind, handler in HANDLERS.items()
}
ONLY_SERVICES[s.CheckAddresses] = lambda step, run: ""


def _stack_with_jobs(folder: Path) -> World:
    """A server, an application that needs it, a job that fails, one that needs that job, and one
    that merely starts after it."""
    services = (
        make_service("job", state="exited"),
        make_service("db", health=True, state="exited"),
        make_service("app", needs={"db": "healthy"}, state="exited"),
        make_service("after", needs={"job": "completed"}, state="exited"),
        make_service("beside", needs={"job": "started"}, state="exited"),
    )
    services = tuple(
        replace(s, units=tuple(replace(u, exit_code=3) for u in s.units)) for s in services
    )
    world = World(folder, replace(a_world(), services=services))
    world.stack = replace(world.stack, restart=replace(world.stack.restart, order=()))
    return world


def test_a_job_that_fails_keeps_only_down_what_waits_for_its_end(tmp_path: Path) -> None:
    """Exit 3 at the end, with the job and what was not started for it."""
    world = _stack_with_jobs(tmp_path)
    world.runtime.ends_at_once["job"] = 3
    plan = plan_start(world.stack, world.observed, RUN, ())
    with pytest.raises(StepFailed, match="job ended with exit code 3") as caught:
        world.run(plan, ONLY_SERVICES)
    assert world.runtime.running == {"db", "app", "beside"}
    assert "after was not started, because it needs job" in caught.value.fact
    assert world.runtime.calls.count("start:job") == 1


def test_what_cannot_be_started_keeps_down_all_that_needs_it(tmp_path: Path) -> None:
    """A missing image, a port that is taken: nothing waits for it either."""
    world = _stack_with_jobs(tmp_path)
    world.runtime.fail_on["start:job"] = -1
    world.runtime.never_healthy.add("db")
    with pytest.raises(StepFailed) as caught:
        world.run(plan_start(world.stack, world.observed, RUN, ()), ONLY_SERVICES)
    assert world.runtime.running == {"db"}
    assert "wait:job" not in world.runtime.calls
    waiting = [f"{name} was not started" for name in ("app", "beside")]
    for name in ("start:job", "db was not healthy", *waiting):
        assert name in caught.value.fact


def _backup(world: World) -> Plan:
    return plan_backup(world.stack, world.observed, BackupRequest(), RUN, "core-1")


def test_after_a_backup_everything_else_comes_back(tmp_path: Path) -> None:
    """Also what depends on it: it ran before, and may be able to wait. All failures are named."""
    world = World(tmp_path, a_world())
    world.runtime.fail_on.update({"start:redis": -1, "start:frontend": -1})
    pending = world.down_after(_backup(world))
    assert world.runtime.running == {"db", "backend", "proxy"}
    told = " ".join((pending.fact, *pending.details))
    assert "wait:redis" not in world.runtime.calls, "it is known to be down"
    assert "start:redis" in told
    assert "start:frontend" in told


def test_a_recovery_starts_what_it_can_and_a_backup_is_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is down stays pending, is reported, and is settled once it can be started."""
    world = World(tmp_path, a_world())
    world.runtime.fail_on.update({"start:redis": -1, "start:backend": 1})
    world.down_after(_backup(world))
    assert "backend" not in world.runtime.running
    monkeypatch.setattr(Changing, "observe", lambda self: world.observed)
    done = []

    with changing(world.stack, "second", "backup", NOW, world.ports) as work:
        assert work.pending
        done.append("a set")

    assert done == ["a set"]
    assert world.runtime.running == {"db", "backend", "frontend", "proxy"}
    assert any("start:redis" in text for text in world.sink.warned)
    world.runtime.fail_on.clear()
    with changing(world.stack, "third", "backup", NOW, world.ports) as work:
        assert not work.pending
    assert world.runtime.running == set(ORDER)
    assert not journals.unfinished(runs_folder(world.stack))


def test_data_that_is_not_settled_is_never_gone_on_from(tmp_path: Path) -> None:
    """Only services are: here a step of another kind fails on the way back."""
    world = World(tmp_path, a_world())
    world.runtime.fail_on["start:redis"] = -1

    def broken(step: Any, run: Run) -> str:
        raise QuiesceError("the disk is full")

    kinds = {**ONLY_SERVICES, s.ArchiveVolume: broken, s.DiscardStaging: broken}
    with pytest.raises(RecoveryPending) as caught:
        world.run(_backup(world), kinds)
    assert any("the disk is full" in line for line in caught.value.details)


def test_a_command_that_fails_is_no_reason_to_make_no_backup(tmp_path: Path) -> None:
    """`after:` is owed like a service, and no data with it."""
    world = World(tmp_path, a_world())
    world.stack = replace(world.stack, after=(Command("backend", ("false",), 5.0),))

    class Project:
        def run_in_service(self, *_: object) -> None:
            raise QuiesceError("false in service backend failed with exit code 1")

    ports = replace(world.ports(), project=cast(Any, Project()))
    cast(Any, world).ports = lambda: ports
    pending = world.down_after(_backup(world))
    assert "false in service backend failed" in pending.fact
    assert world.runtime.running == set(ORDER)


def test_who_was_taken_out_of_the_stack_is_owed_nothing(tmp_path: Path) -> None:
    """Its container is gone, and nothing declares it: it is named, and the rest comes back."""
    world = World(tmp_path, a_world())
    start = world.runtime.start

    def without_redis(units: Sequence[Unit], **_options: Any) -> None:
        for unit in units:
            if unit.service == "redis":
                raise NotDeclared("service redis has no container")
            start([unit])

    cast(Any, world.runtime).start = without_redis
    world.run(_backup(world), ONLY_SERVICES)
    assert world.runtime.running == {"db", "backend", "frontend", "proxy"}
    assert "service redis has no container" in world.sink.warned
    assert "wait:redis" not in world.runtime.calls


def test_units_that_start_one_after_another_are_one_call() -> None:
    """Each call looks at all containers first. Those that start together are another call."""
    a, b, c, d, e = a_world().running
    assert handlers._calls([(a,), (b,), (c, d), (e,)]) == [
        (False, (a, b)),
        (True, (c, d)),
        (False, (e,)),
    ]
