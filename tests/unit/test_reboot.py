"""What is owed when everything was started again while a run was dead."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from quiesce.codec import decode, encode
from quiesce.observed import Observed, UnitState
from quiesce.plan import order
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.reboot import with_all_that_ran
from quiesce.plan.recover import Progress, pending_nodes
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.services import ordered
from quiesce.plan.steps import Plan, steps_of, walk
from tests.support.builders import RUN, a_set, a_stack, a_world

BEFORE, AFTER = datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
STACK = a_stack()


def _world(began: datetime, **states: UnitState) -> Observed:
    """The example stack; what runs has run since `began`."""
    world = a_world(states)
    services = (
        replace(
            service,
            units=tuple(replace(u, started_at=began if u.runs else None) for u in service.units),
        )
        for service in world.services
    )
    return replace(world, services=tuple(services))


def _plan(only: tuple[str, ...] = ()) -> Plan:
    """A backup that was begun before; with `only`, one that stops less."""
    seen = _world(BEFORE)
    plan = plan_backup(STACK, seen, BackupRequest(only=only), RUN, "core-1")
    return _with_running(plan, seen)


def _with_running(plan: Plan, seen: Observed) -> Plan:
    running = order.in_start_order(seen.running, ordered(STACK, seen))
    return replace(plan, running=running)


def _in_window(plan: Plan) -> tuple[s.Node, ...]:
    brackets = {at for at, node in walk(plan.nodes) if isinstance(node, s.Bracket)}
    stops = {at for at, node in steps_of(plan.nodes) if isinstance(node, s.StopServices)}
    return pending_nodes(plan, Progress(pending=brackets, begun=stops, ended=stops))


def _starts(nodes: tuple[s.Node, ...]) -> list[str]:
    return [
        unit.service
        for _, step in steps_of(nodes)
        if isinstance(step, s.StartServices)
        for unit in step.units
    ]


def _one_alone(name: str) -> Plan:
    """A plan that stops and starts this service, and none that depends on it."""
    units = tuple(unit for unit in _world(BEFORE).running if unit.service == name)
    stop, start = s.StopServices(units, 60.0, ""), s.StartServices(units, 60.0, "")
    window = s.Bracket("services stopped", (stop,), (), always=(start,))
    return replace(_plan(), nodes=(window,))


ALL_DOWN: dict[str, UnitState] = dict.fromkeys(
    ("db", "redis", "backend", "frontend", "proxy"), "exited"
)


def test_after_a_reboot_all_that_ran_is_owed_in_order() -> None:
    """The server that the others need comes first, and everything is waited for."""
    plan = _plan()
    pending = with_all_that_ran(STACK, _world(AFTER, **ALL_DOWN), plan, _in_window(plan))
    assert _starts(pending) == ["db", "redis", "backend", "frontend", "proxy"]
    waits = [
        u.service for _, t in steps_of(pending) if isinstance(t, s.WaitHealthy) for u in t.units
    ]
    assert waits == _starts(pending)


def test_who_the_engine_has_started_by_itself_is_owed_too() -> None:
    """It runs, but not since then: that shows the reboot. Starting it changes nothing."""
    plan = _plan()
    down = {name: state for name, state in ALL_DOWN.items() if name != "db"}
    pending = with_all_that_ran(STACK, _world(AFTER, **down), plan, _in_window(plan))
    assert _starts(pending)[0] == "db"


def test_who_ran_on_shows_that_nothing_was_started_again() -> None:
    """What a person stopped meanwhile stays stopped, unless what is owed needs it."""
    plan = _plan(only=("backend-media",))
    stopped = {"backend": "exited", "frontend": "exited", "proxy": "exited"}
    seen = _world(BEFORE, **stopped)  # type: ignore[arg-type]
    assert _starts(with_all_that_ran(STACK, seen, plan, _in_window(plan))) == [
        "backend", "frontend", "proxy"
    ]  # fmt: skip
    seen = _world(BEFORE, **stopped, redis="exited")  # type: ignore[arg-type]
    assert _starts(with_all_that_ran(STACK, seen, plan, _in_window(plan)))[0] == "redis"
    assert "db" not in _starts(with_all_that_ran(STACK, seen, plan, _in_window(plan)))
    alone = _with_running(_one_alone("redis"), _world(BEFORE))
    seen = _world(BEFORE, redis="exited", db="exited")
    assert _starts(with_all_that_ran(STACK, seen, alone, _in_window(alone))) == ["redis"]


def test_data_is_put_back_on_servers_that_run() -> None:
    """A restore that died in its exchange, then a reboot."""
    seen = _world(BEFORE)
    plan = plan_restore(
        STACK, seen, a_set(), RestoreRequest(), RestoreInputs(), RUN, "core-1-safety"
    )
    plan = _with_running(plan, seen)
    brackets = {at for at, node in walk(plan.nodes) if isinstance(node, s.Bracket)}
    pending = pending_nodes(plan, Progress(pending=brackets))
    nodes = with_all_that_ran(STACK, _world(AFTER, **ALL_DOWN), plan, pending)
    kinds = [type(step) for _, step in steps_of(nodes)]
    first = next(step for _, step in steps_of(nodes) if isinstance(step, s.StartServices))
    assert [unit.service for unit in first.units] == ["db"]
    assert kinds.index(s.StartServices) < kinds.index(s.PutBackDatabases)


def test_who_stayed_up_on_what_rests_comes_back_after_it() -> None:
    """`keep_running` depends on what was stopped."""
    stack = replace(STACK, restart=replace(STACK.restart, keep_running=("proxy",)))
    seen = _world(BEFORE)
    plan = _with_running(plan_backup(stack, seen, BackupRequest(), RUN, "core-1"), seen)
    pending = with_all_that_ran(stack, _world(AFTER, **ALL_DOWN), plan, _in_window(plan))
    assert _starts(pending) == ["db", "redis", "backend", "frontend", "proxy"]


def test_a_run_that_owes_no_service_owes_none_after_a_reboot() -> None:
    """Its services were back: what starts at boot is the engine's business."""
    plan = _plan()
    window = next(
        at
        for at, node in walk(plan.nodes)
        if isinstance(node, s.Bracket) and node.why == "services stopped"
    )
    pending = pending_nodes(
        plan, Progress(pending={"/0", window}, body_done={window}, settled={window})
    )
    assert pending
    assert with_all_that_ran(STACK, _world(AFTER, **ALL_DOWN), plan, pending) == pending


def test_a_crash_loop_proves_nothing() -> None:
    """It is started again all the time. Here it is all that the plan left alone."""
    plan = _plan()
    loops = tuple(
        replace(unit, state="restarting") if unit.service == "db" else unit  # type: ignore[arg-type]
        for unit in plan.running
    )
    plan = replace(plan, running=loops)
    seen = _world(AFTER, redis="exited", backend="exited")
    assert "db" not in _starts(with_all_that_ran(STACK, seen, plan, _in_window(plan)))


def test_a_journal_of_an_earlier_version_is_settled_as_it_was() -> None:
    """It does not say what else ran."""
    written = encode(_plan())
    del written["running"]
    plan: Plan = decode(Plan, written)
    pending = _in_window(plan)
    assert with_all_that_ran(STACK, _world(AFTER, **ALL_DOWN), plan, pending) == pending
    assert _starts(pending) == ["redis", "backend", "frontend", "proxy"]


def test_who_runs_under_another_name_or_id_is_not_missing() -> None:
    """Renamed, or recreated: only what does not run at all is started."""
    plan = _plan(only=("backend-media",))
    stopped = {"backend": "exited", "frontend": "exited", "proxy": "exited"}
    seen = _world(BEFORE, **stopped)  # type: ignore[arg-type]
    for fields in ({"name": "renamed"}, {"id": "recreated"}):
        services = tuple(
            replace(one, units=tuple(replace(u, **fields) for u in one.units))  # type: ignore[arg-type]
            if one.name == "redis"
            else one
            for one in seen.services
        )
        now = replace(seen, services=services)
        starts = _starts(with_all_that_ran(STACK, now, plan, _in_window(plan)))
        assert starts == ["backend", "frontend", "proxy"]
