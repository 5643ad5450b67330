"""Which units `start` starts, and who is asked about addresses that changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quiesce.errors import RequestError
from quiesce.model import Command
from quiesce.observed import Address, Dependency, Observed
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.services import plan_rebuild, plan_restart, plan_start, plan_up
from quiesce.plan.steps import steps_of
from tests.support.builders import RUN, a_service, a_stack, a_world


def _with_one_shot(*, awaited: bool) -> Observed:
    """A stack whose redis ended with 0, and a backend that waits for its end or its health."""
    world = a_world({"redis": "exited"})
    condition = "completed" if awaited else "healthy"
    redis = a_service("redis", "exited")
    redis = replace(
        redis,
        units=tuple(
            replace(u, exit_code=0, restart_policy="no", health="none") for u in redis.units
        ),
    )
    services = {service.name: service for service in world.services}
    services["redis"] = redis
    services["backend"] = replace(
        services["backend"],
        depends_on=(Dependency("redis", condition),),  # type: ignore[arg-type]
    )
    return replace(world, services=tuple(services.values()))


def _started(observed: Observed, *names: str) -> list[str]:
    plan = plan_start(a_stack(), observed, RUN, names)
    return [
        unit.service
        for _, step in steps_of(plan.nodes)
        if isinstance(step, s.StartServices)
        for unit in step.units
    ]


def test_a_service_that_was_stopped_in_order_is_started() -> None:
    """Ending with 0 is how a well-made service answers a stop."""
    assert _started(_with_one_shot(awaited=False)) == ["redis"]


def test_a_one_shot_that_is_done_is_not_run_again_unless_it_is_named() -> None:
    """What others wait for the end of has had its run."""
    assert _started(_with_one_shot(awaited=True)) == []
    assert _started(_with_one_shot(awaited=True), "redis") == ["redis"]


def test_who_is_paused_is_not_brought_up_nor_taken_for_down() -> None:
    """Somebody meant that. The hint wakes it and does nothing else; the others can be started."""
    world = a_world({"backend": "paused", "proxy": "exited"})
    for planner in (plan_up, plan_start, plan_rebuild):
        with pytest.raises(RequestError, match="service backend is paused") as caught:
            planner(a_stack(), world, RUN, ("backend",))
        assert "'docker unpause core-backend-1'" in caught.value.hint
    assert _started(world) == ["proxy"]
    stack = a_stack(before=(Command("backend", ("true",), 5.0),))
    with pytest.raises(RequestError, match="a command runs in it"):
        plan_backup(stack, world, BackupRequest(), RUN, "core-1")


def test_a_paused_writer_is_stopped_and_comes_back_as_it_was() -> None:
    """It is in the way like one that runs."""
    world = a_world({"backend": "paused"})
    plan = plan_backup(a_stack(), world, BackupRequest(), RUN, "core-1")
    steps = [step for _, step in steps_of(plan.nodes)]
    stopped = [u for step in steps if isinstance(step, s.StopServices) for u in step.units]
    started = [u for step in steps if isinstance(step, s.StartServices) for u in step.units]
    assert {u.service: u.state for u in started}["backend"] == "paused"
    assert set(stopped) == set(started)


def _in_networks(observed: Observed, **networks: str) -> Observed:
    """The world with each named service in a network."""
    return replace(
        observed,
        services=tuple(
            replace(
                service,
                units=tuple(
                    replace(unit, addresses=(Address(networks[service.name], "172.18.0.2"),))
                    if service.name in networks
                    else unit
                    for unit in service.units
                ),
            )
            for service in observed.services
        ),
    )


def _bystanders(observed: Observed) -> list[str]:
    plan = plan_restart(a_stack(), observed, RUN, ["backend"])
    return [
        unit.service
        for _, step in steps_of(plan.nodes)
        if isinstance(step, s.CheckAddresses)
        for unit in step.bystanders
    ]


def test_who_runs_on_in_a_network_of_what_restarts_may_keep_an_address() -> None:
    """Not a server of databases, which asks nobody, and nobody in another network."""
    world = a_world()
    near = _in_networks(world, backend="front", redis="front", postgres="front")
    assert _bystanders(near) == ["redis"]
    assert _bystanders(_in_networks(world, backend="front", redis="back")) == []
    assert _bystanders(world) == []


def _steps(observed: Observed, **fields: Any) -> list[s.Step]:
    stack = a_stack(**fields)
    return [step for _, step in steps_of(plan_restart(stack, observed, RUN, ()).nodes)]


def test_services_stop_and_start_at_the_same_time_where_nothing_orders_them() -> None:
    """depends_on and restart.order order them. The step names those of one group with `+`."""
    free = replace(a_stack().restart, order=())
    stop, first, *_ = (
        step
        for step in _steps(a_world(), restart=free)
        if isinstance(step, s.StopServices | s.StartServices)
    )
    assert isinstance(stop, s.StopServices)
    assert stop.groups == (("redis", "db"),)
    assert stop.sentence() == "stop proxy, frontend, backend, redis + db"
    assert isinstance(first, s.StartServices)
    assert (first.groups, first.sentence()) == ((("db", "redis"),), "start db + redis")
    assert all(
        step.groups == ()
        for step in _steps(a_world())
        if isinstance(step, s.StopServices | s.StartServices)
    ), "restart.order names all of them"


def test_services_start_one_after_another_beside_one_that_may_remember_their_addresses() -> None:
    """Started in order they usually get them back. They may stop at the same time all the same."""
    world = a_world()
    there = {
        service.name: replace(
            service,
            depends_on=(),
            units=tuple(
                replace(unit, addresses=(Address("core_default", f"172.20.0.{number}"),))
                for unit in service.units
            ),
        )
        for number, service in enumerate(world.services)
    }
    world = replace(world, services=tuple(there.values()))
    stack = a_stack(restart=replace(a_stack().restart, order=()))
    plan = plan_restart(stack, world, RUN, ("db", "redis"))
    steps = [step for _, step in steps_of(plan.nodes)]
    (start,) = (step for step in steps if isinstance(step, s.StartServices))
    assert (start.sentence(), start.groups) == ("start db, redis", ())
    (stop,) = (step for step in steps if isinstance(step, s.StopServices))
    assert stop.sentence() == "stop redis + db"
    alone = replace(world, services=(there["db"], there["redis"]))
    steps = [step for _, step in steps_of(plan_restart(stack, alone, RUN, ("db", "redis")).nodes)]
    (start,) = (step for step in steps if isinstance(step, s.StartServices))
    assert start.sentence() == "start db + redis"


def test_a_group_loses_services_that_a_later_run_decided_about() -> None:
    """What is left of a pending start keeps its groups."""
    units = tuple(unit for service in a_world().services for unit in service.units)
    db, redis, backend = units[:3]
    groups = (("db", "redis", "backend"),)
    assert s.grouped((db, redis, backend), groups) == ((db, redis, backend),)
    assert s.grouped((db, backend), groups) == ((db, backend),)
    assert s.grouped((db, units[4], backend), groups) == ((db,), (units[4],), (backend,))
    assert s.grouped((), groups) == ()
