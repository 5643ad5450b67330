"""What handlers of services, and checks, ask of their ports, say and remember.

The ports only note it. What the real ones make of it is in tests/contract, tests/integration and
tests/e2e.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quiesce.errors import (
    CheckFailed,
    NotDeclared,
    QuiesceError,
    ServiceFailed,
    StepFailed,
)
from quiesce.execute.handlers.registry import HANDLERS, handles
from quiesce.model import (
    ClusterRecord,
    Downtime,
)
from quiesce.observed import Activity, Address, Condition, Unit
from quiesce.plan import steps as s
from quiesce.ports import StopResult
from tests.fakes.runtime import make_service
from tests.support.builders import RUN, a_set, a_world
from tests.support.handling import SESSION, SET, SWAPS, UNITS, World, database, volume


@pytest.mark.parametrize(
    ("step", "call"),
    [
        (s.UpServices(("db",), True, ""), ("runtime.up", ("db",), {"build": True})),
        (s.HoldRestart(UNITS, ""), ("runtime.hold_restart", UNITS)),
        (s.FreeRestart(UNITS, ""), ("runtime.free_restart", UNITS)),
        (s.RemoveServices(("db",), ""), ("runtime.remove", ("db",))),
        (s.WatchStarts(""), ("runtime.watch_starts",)),
        (s.RunCommand("db", ("ls",), 5.0, ""), ("project.run_in_service", "db", ("ls",), 5.0)),
        (s.BuildServices(("db",), ""), ("project.build", ("db",))),
        (s.RemoveProject(""), ("project.remove_project",)),
        (s.RemoveVolume("app-db", ""), ("project.remove_volume", "app-db")),
        (s.ExportSnapshot("rulesdb", ""), ("databases.hold", database(), "full")),
        (s.ReleaseSnapshot("rulesdb", ""), ("databases.release", database())),
        (s.CopySchema("rulesdb", "new", ""), ("databases.copy_schema", database(), "new")),
        (s.UnmarkDatabase("rulesdb", "new", ""), ("databases.unmark_made", database(), "new")),
        (s.BlockConnections("db", ("a",), ""), ("databases.block_connections", "db", ("a",))),
        (s.SwapDatabases("db", SWAPS, ""), ("databases.swap", "db", SWAPS)),
        (s.PutBackDatabases("db", SWAPS, ""), ("databases.put_back", "db", SWAPS)),
        (s.DropDatabase("rulesdb", "n", "x", ""), ("databases.drop", database(), "n", "x")),
        (s.PutBackVolume("backend-media", ""), ("volumes.put_back", volume(), RUN, "")),
        (s.FinishSwap("backend-media", ""), ("volumes.finish_swap", volume(), RUN)),
        (s.SwapVolume("backend-media", ""), ("volumes.swap", volume(), RUN, "")),
        (s.EmptyVolume("backend-media", ""), ("volumes.empty", volume())),
        (s.RemoveSet("old", ""), ("store.remove", "old")),
        (s.DiscardStaging(""), ("store.discard", RUN)),
        (s.CreateDatabase("", "rulesdb", "new", ""), ("databases.create", database(), "new", None)),
    ],
)
def test_a_step_that_is_one_call_makes_just_that(step: s.Step, call: tuple[Any, ...]) -> None:
    """With what the plan says, and nothing to say of it."""
    world = World()
    assert world.do(step) == ""
    assert world.calls == [call]


# ------------------------------------------------------------------------------------ services


def test_a_downtime_begins_with_the_request_to_stop_and_what_was_killed_is_said() -> None:
    """The worst end of a service's units is the one that counts for its files."""
    codes = iter([137, 0, None])
    world = World()

    def stop(units: tuple[Unit, ...], timeout: float) -> tuple[StopResult, ...]:
        world.seconds += 10.0
        return (StopResult(units[0], next(codes), 10.0),)

    world.answers["runtime.stop"] = stop
    proxy, backend = UNITS[4], UNITS[2]
    world.do(s.StopServices((proxy, replace(proxy, id="second"), backend), 60.0, ""))
    assert world.run.exit_codes == {"proxy": 137, "backend": 0}
    assert [call[0] for call in world.asked("runtime.stop")] == [
        (proxy,),
        (replace(proxy, id="second"),),
        (backend,),
    ]
    assert world.warned == [
        "proxy had to be killed: raise the service's stop_grace_period, or make its main "
        "process exit on SIGTERM"
    ]
    world.answers["runtime.wait_healthy"] = {"proxy": 5.0, "backend": 7.0}
    world.run.not_started = {"redis"}
    world.run.undeclared = {"frontend"}
    world.do(s.WaitHealthy((proxy, backend, UNITS[1], UNITS[3]), 9.0, ""))
    ((units, timeout, waiting),) = world.asked("runtime.wait_healthy")
    assert (units, timeout) == ([proxy, backend], 9.0), "what is known to be down was reported"
    waiting("proxy")
    assert world.run.downtime.result() == Downtime(37.0, {"proxy": 35.0, "backend": 17.0})


def test_the_groups_of_a_step_are_stopped_and_started_at_the_same_time() -> None:
    """Each downtime of a group begins with the request to stop the group."""
    db, redis, backend, frontend, proxy = UNITS
    world = World()

    def stop(units: tuple[Unit, ...], timeout: float, **_: Any) -> tuple[StopResult, ...]:
        world.seconds += 10.0
        return tuple(StopResult(unit, 1, 10.0) for unit in units)

    world.answers["runtime.stop"] = stop
    stopping = s.StopServices(
        (proxy, frontend, backend), 9.0, "", groups=(("frontend", "backend"),)
    )
    world.do(stopping)
    assert world.calls[-2:] == [
        ("runtime.stop", (proxy,), 9.0, {"together": False}),
        ("runtime.stop", (frontend, backend), 9.0, {"together": True}),
    ]
    assert world.run.exit_codes == {"proxy": 1, "frontend": 1, "backend": 1}
    world.do(s.StartServices((db, redis, backend), 9.0, "", groups=(("db", "redis"),)))
    assert world.asked("runtime.start") == [
        ((db, redis), {"together": True}),
        ((backend,), {"together": False}),
    ]
    world.answers["runtime.wait_healthy"] = {"frontend": 0.0, "backend": 0.0, "proxy": 0.0}
    world.do(s.WaitHealthy((proxy, frontend, backend), 9.0, ""))
    spans = world.run.downtime.result().services
    assert spans == {"proxy": 20.0, "frontend": 10.0, "backend": 10.0}


def test_of_services_that_start_at_the_same_time_each_failure_is_reported() -> None:
    """One that cannot start hides no other, and what follows its group is started too."""
    bad = {"redis", "backend"}

    def start(units: tuple[Unit, ...], **_: Any) -> None:
        failed = [unit.service for unit in units if unit.service in bad]
        if failed:
            parts = {name: QuiesceError(f"{name} is broken", f"mend {name}") for name in failed}
            raise ServiceFailed.of(parts)

    world = World(runtime__start=start)
    step = s.StartServices(UNITS[:4], 9.0, "", groups=(("db", "redis"),))
    error = world.fail(step, ServiceFailed)
    assert error.fact == "redis is broken; backend is broken"
    assert error.hint == "mend redis; mend backend"
    started = [unit for call in world.asked("runtime.start") for unit in call[0]]
    assert started[-4:] == list(UNITS[:4])
    assert world.run.not_started == bad


def test_of_services_that_fail_to_get_well_those_that_did_count_as_back() -> None:
    """Their downtime is known; the others' is not."""
    world = World()
    assert world.run.downtime.result() == Downtime(0.0, {})
    error = ServiceFailed("redis is down", "see its log", services=("redis",))
    error.waited = {"proxy": 2.00049}
    world.answers["runtime.wait_healthy"] = error
    for name in ("proxy", "redis"):
        world.run.downtime.stopping(name, 0.0)
    draft = world.draft()
    draft.files.append(("a.dump", "database", "rulesdb"))
    assert world.fail(s.WaitHealthy((UNITS[4], UNITS[1]), 9.0, ""), ServiceFailed) is error
    assert draft._thread is not None, "checksums are computed while this waits"
    draft._thread.join(10)
    assert draft.measured.keys() == {"a.dump"}
    assert world.run.downtime.result() == Downtime(2.0, {"proxy": 2.0})


@pytest.mark.parametrize("count", [1, 2])
def test_an_engine_that_is_lost_ends_a_start(count: int) -> None:
    """Nothing else can be started either, and no service is called broken for it."""
    lost = QuiesceError("no answer", "start Docker")
    world = World(runtime__start=lost)
    if count == 2:
        first = QuiesceError("one failed", "see its log")
        answers = iter([first, lost])

        def start(_: Any, **_options: Any) -> None:
            raise next(answers)

        world.answers["runtime.start"] = start
    lost.lost_engine = True
    world.run.not_started = {"db"}
    assert world.fail(s.StartServices(UNITS[:2], 9.0, "")) is lost
    assert len(world.asked("runtime.start")) == count
    assert world.run.failed == {}
    assert world.run.not_started == ({"db"} if count == 1 else set())


@pytest.mark.parametrize("keep_going", [True, False])
def test_one_that_cannot_be_started_keeps_down_only_what_needs_it(keep_going: bool) -> None:
    """And nothing at all where every service that ran has to be started again."""
    db, redis, backend, *_ = UNITS
    error = QuiesceError("its image is gone", "pull it")

    def start(units: list[Unit]) -> None:
        if redis in units:
            raise error

    world = World(runtime__start=start)
    world.run.not_started = {"db"}
    step = s.StartServices((redis, backend, db), 9.0, "", keep_going=keep_going)
    if keep_going:
        world.do(step)
        assert set(world.run.failed) == world.run.not_started == {"redis", "backend"}
    else:
        world.run.failed = {"db": error}
        assert world.fail(step, ServiceFailed).fact == error.fact
        assert world.run.not_started == {"redis"}
    alone = [redis, db] if keep_going else [redis, backend, db]
    assert world.asked("runtime.start")[1:] == [([unit],) for unit in alone]


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("condition", ["started", "healthy"])
def test_what_needs_only_the_start_of_one_that_failed_later_is_started(
    begun: bool, condition: Condition
) -> None:
    """What waits for more than its start, or for one that did not start, stays down."""
    job = make_service("job", state="exited")
    beside = make_service("beside", needs={"job": condition}, state="exited")
    world = World()
    world.run.observed = replace(world.run.observed, services=(job, beside))
    world.run.failed = {"job": QuiesceError("job ended with exit code 3", "see its log")}
    world.run.not_started = set() if begun else {"job"}
    world.do(s.StartServices(beside.units, 9.0, "", keep_going=True))
    starts = begun and condition == "started"
    assert world.asked("runtime.start") == [(beside.units, {"together": False})] * starts
    assert ("beside" in world.run.failed) != starts


def test_a_single_service_that_fails_is_not_tried_again() -> None:
    """The error of the first attempt is the one to report."""
    error = StepFailed("its image is gone", "pull it")
    world = World(runtime__start=error)
    assert world.fail(s.StartServices(UNITS[:1], 9.0, ""), ServiceFailed).fact == error.fact
    assert world.run.not_started == {"db"}
    assert len(world.asked("runtime.start")) == 1
    world.answers["runtime.start"] = None
    world.do(s.StartServices(UNITS[:1], 9.0, ""))
    assert world.run.not_started == set()
    world.answers["runtime.start"] = NotDeclared("service db has no container")
    world.do(s.StartServices(UNITS[:1], 9.0, ""))
    assert (world.run.undeclared, world.warned) == ({"db"}, ["service db has no container"])


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("step", [s.FreeRestart(UNITS[:1], ""), s.RunCommand("db", (), 1.0, "")])
def test_what_fails_about_services_is_no_failure_of_data(step: s.Step, lost: bool) -> None:
    """A backup can be made all the same; without the engine it cannot."""
    error = QuiesceError("it failed", "look", details=["more"])
    error.lost_engine = lost
    world = World(project__run_in_service=error, runtime__free_restart=error)
    found = world.fail(step)
    if lost:
        assert found is error
    else:
        assert isinstance(found, ServiceFailed)
        assert (found.fact, found.hint, found.details) == ("it failed", "look", ("more",))
        assert found.services == ("db",)
    broken = OSError("broken")
    world = World(project__run_in_service=broken, runtime__free_restart=broken)
    with pytest.raises(OSError, match="broken") as caught:
        world.do(step)
    assert caught.value is broken


def test_services_are_waited_for_in_their_order_as_they_ought_to_be() -> None:
    """The units of now, of which a job may have ended well."""
    there = {service.name: service for service in a_world().services}
    done = replace(there["redis"].units[0], state="exited", health="none", exit_code=0)
    dead = replace(there["db"].units[0], state="exited", health="none", exit_code=1)
    proxy = replace(there["proxy"].units[0], health="none")
    services = (
        replace(there["proxy"], units=(proxy,), has_health=False),
        replace(there["redis"], units=(done,)),
        replace(there["db"], units=(dead,)),
        there["backend"],
        there["frontend"],
    )
    world = World(runtime__services=services)
    world.run.failed["frontend"] = StepFailed("known", "")
    names = ("db", "redis", "frontend", "proxy")
    world.do(s.WaitServices(names, 9.0, ""))
    ((units, timeout, _),) = world.asked("runtime.wait_healthy")
    assert timeout == 9.0
    assert units == [replace(dead, state="running", health="healthy"), done, proxy]
    again = replace(done, state="running", health="starting")
    world.answers["runtime.services"] = (replace(there["redis"], units=(again,)),)
    world.do(s.WaitServices(("redis",), 9.0, ""))
    assert world.asked("runtime.wait_healthy")[1][0] == [replace(again, health="healthy")]
    world.answers["runtime.services"] = (replace(there["db"], units=()),)
    assert world.fail(s.WaitServices(("db",), 9.0, "")).fact == "db has no container"


def test_a_start_that_goes_on_keeps_the_part_of_each_service() -> None:
    """At the end each is reported with its own words, log and hint."""
    parts = {
        name: ServiceFailed(f"service {name} is down", f"see 'inv logs --service {name}'",
                            details=[f"{name}: log"], services=(name,))
        for name in ("db", "redis")
    }  # fmt: skip
    world = World(runtime__wait_healthy=ServiceFailed.of(parts))
    step = s.WaitServices(("db", "redis"), 9.0, "")
    world.fail(step, ServiceFailed)
    assert world.run.failed == {}
    world.do(replace(step, keep_going=True))
    for name, part in parts.items():
        found = world.run.failed[name]
        assert isinstance(found, ServiceFailed)
        assert (found.fact, found.hint, found.services) == (part.fact, part.hint, (name,))
        assert "log" in "".join(found.details)
    assert world.fail(s.CheckStarted(""), ServiceFailed).fact == (
        "service db is down; service redis is down"
    )
    world.run.failed = {}
    assert world.do(s.CheckStarted("")) == ""
    world.answers["runtime.wait_healthy"] = parts["db"]
    world.do(replace(step, keep_going=True))
    assert world.run.failed == {"db": parts["db"]}


def test_addresses_that_moved_are_said_and_fail_nothing() -> None:
    """Everything runs again by then."""
    before = replace(UNITS[0], addresses=(Address("net", "10.0.0.1"),))
    beside = replace(UNITS[4], addresses=(Address("net", "10.0.0.9"),))
    now = replace(before, addresses=(Address("net", "10.0.0.2"),))
    services = [replace(a_world().services[0], units=(now,)), a_world().services[4]]
    world = World(runtime__services=services)
    step = s.CheckAddresses((before,), (beside,), "")
    assert world.do(step) == "1 changed"
    assert "changed from 10.0.0.1 to 10.0.0.2" in world.warned[0]
    world.answers["runtime.services"] = [replace(services[0], units=(before,)), services[1]]
    assert world.do(step) == ""
    world.answers["runtime.services"] = QuiesceError("no answer")
    assert world.do(step) == ""
    assert world.warned[1:] == ["could not check whether IP addresses changed: no answer"]


# ------------------------------------------------------------------------- servers that answer


def test_a_server_is_up_once_it_answers_and_counts_as_down_until_then() -> None:
    """In what is left of the time; it is asked for one of its databases, the first."""
    world = World(runtime__wait_healthy={"db": 1.0, "redis": 2.0})

    def answers(*_: Any) -> str:
        world.seconds += 3.0
        return ""

    world.answers["databases.await_answer"] = answers
    for name in ("db", "redis"):
        world.run.downtime.stopping(name, 10.0)
    world.seconds = 10.0
    world.do(s.WaitHealthy(UNITS[:2], 9.0, ""))
    assert world.run.downtime.result() == Downtime(4.0, {"db": 4.0, "redis": 2.0})
    ((asked, left, require_up),) = world.asked("databases.await_answer")
    assert (asked, left) == (database(), 9.0)
    world.calls.clear()
    require_up()
    world.seconds = 18.0
    require_up()
    calls = [(units, left) for units, left, _ in world.asked("runtime.wait_healthy")]
    assert calls == [([UNITS[0]], 6.0), ([UNITS[0]], 5.0)]
    assert (world.warned, world.run.unasked) == ([], set())
    world.do(s.WaitHealthy((replace(UNITS[0], state="paused"), UNITS[1]), 9.0, ""))
    assert world.asked("databases.await_answer") == []


def test_a_server_is_asked_again_when_its_entry_point_has_ended() -> None:
    """A temporary server may have answered. What a script keeps running for good is said."""
    world = World(runtime__await_entry_point="")
    world.do(s.WaitServices(("db",), 90.0, ""))
    assert world.asked("runtime.await_entry_point") == [("db", 60.0)]
    assert len(world.asked("databases.await_answer")) == 2
    assert world.warned == []
    world = World(runtime__await_entry_point="tail -f log")
    world.do(s.WaitServices(("db",), 9.0, ""))
    assert world.asked("runtime.await_entry_point") == [("db", 9.0)]
    assert world.warned == [
        "db answers SQL, but its entry point still runs 'tail -f log': if this is its first start, "
        "the server may be a temporary one"
    ]
    world.calls.clear()
    world.do(s.WaitHealthy(UNITS[:1], 9.0, ""))
    assert world.warned == []


def test_no_time_is_left_for_an_answer_after_all_of_it() -> None:
    """One question is asked all the same."""
    world = World()

    def slow(*_: Any) -> dict[str, float]:
        world.seconds = 20.0
        return {}

    world.answers["runtime.wait_healthy"] = slow
    world.run.downtime.stopping("db", 0.0)
    world.do(s.WaitHealthy(UNITS[:1], 9.0, ""))
    ((_, left, _),) = world.asked("databases.await_answer")
    assert left == 0.0
    assert world.run.downtime.result().services == {"db": 0.0}, "nobody measured it"


def test_a_server_that_refuses_the_declared_user_is_up() -> None:
    """It is said where somebody asked for it to be up."""
    world = World(databases__await_answer="db refuses user postgres")
    world.do(s.WaitHealthy(UNITS[:1], 9.0, ""))
    assert (world.warned, world.run.unasked) == ([], {"db"})
    world.do(s.WaitServices(("db",), 9.0, ""))
    assert world.warned == [
        "db refuses user postgres, so it was not checked whether db answers SQL; correct "
        "databases.rulesdb in stack.yaml"
    ]


def test_a_server_that_stays_silent_is_named_with_all_that_failed() -> None:
    """One that is known to be down is not asked."""
    redis = ServiceFailed("redis is down", "see redis", details=["a"], services=("redis",))
    redis.waited = {"db": 1.0, "proxy": 4.0}
    silent = QuiesceError("connection refused", "x", details=["b"])
    world = World(runtime__wait_healthy=redis, databases__await_answer=silent)
    for name in ("db", "redis", "proxy"):
        world.run.downtime.stopping(name, 0.0)
    step = s.WaitHealthy((*UNITS[:2], UNITS[4]), 9.0, "")
    error = world.fail(step, ServiceFailed)
    assert isinstance(error, ServiceFailed)
    assert error.services == ("redis", "db")
    assert error.fact == (
        "redis is down; service db did not answer SQL within 9 seconds: connection refused"
    )
    assert error.hint.startswith("see redis; see 'inv logs --service db'")
    assert error.details == ("a", "b")
    assert world.run.downtime.result() == Downtime(4.0, {"proxy": 4.0})

    world.answers["runtime.wait_healthy"] = {"db": 1.0}
    assert world.fail(step, ServiceFailed).fact.startswith("service db did not answer SQL")
    ended = ServiceFailed("service db ended", "see its log", services=("db",))
    world.answers["databases.await_answer"] = ended
    assert world.fail(step, ServiceFailed).fact == ended.fact
    silent.lost_engine = True
    world.answers["databases.await_answer"] = silent
    assert world.fail(step) is silent
    world.answers["runtime.wait_healthy"] = ended
    world.calls.clear()
    assert world.fail(step, ServiceFailed).fact == "service db ended"
    assert world.asked("databases.await_answer") == []


# -------------------------------------------------------------------------------------- checks


def test_who_else_is_connected_is_said_and_kept_for_the_snapshots() -> None:
    """Except those that the stack ignores."""
    seen = Activity((SESSION, replace(SESSION, application="cron")), (), maintenance=False)
    world = World(databases__activity=seen)
    draft = world.draft()
    assert world.do(s.CheckIdle(SET, ("rulesdb",), ("cron",), "")) == "1 others connected"
    assert world.warned == ["also connected: psql (user ann, pid 7) in rulesdb"]
    assert (draft.activity, draft.ignored) == (seen, ("cron",))
    assert world.do(s.CheckIdle(SET, ("rulesdb",), ("ann",), "")) == ""


@pytest.mark.parametrize("volumes", [(), ("backend-media",)])
def test_a_writer_that_runs_in_the_window_is_recorded(volumes: tuple[str, ...]) -> None:
    """The set is published, as not consistent."""
    world = World(runtime__seen_starting=("late",))
    draft = world.draft()
    assert world.do(s.CheckStopped(SET, ("redis",), volumes, ("frontend",), "")) == (
        f"{'redis, backend, late' if volumes else 'redis, late'} running or started"
    )
    assert world.asked("runtime.seen_starting") == [(("redis",), volumes)]
    assert draft.inconsistencies[0].endswith("late")
    world.answers["runtime.seen_starting"] = ()
    assert world.do(s.CheckStopped(SET, (), (), (), "")) == ""
    assert draft.inconsistencies[1:] == [""]


def test_a_container_outside_of_the_stack_that_writes_is_recorded() -> None:
    """The engine is asked about the volumes of the step; about none, it is not asked."""
    state = replace(volume(), outside_writers=("intruder",))
    asked: list[Any] = []

    def volumes(declared: Any) -> Any:
        asked.append([one.key for one in declared])
        return (state,)

    world = World(runtime__seen_starting=(), runtime__volumes=volumes)
    draft = world.draft()
    step = s.CheckStopped(SET, (), ("backend-media",), ("frontend", "backend"), "")
    assert world.do(step) == "intruder running or started"
    assert world.do(replace(step, volumes=())) == ""
    assert asked == [["backend-media"]]
    assert draft.inconsistencies[0].endswith("write access: intruder")


CLUSTER = ClusterRecord("postgres-data", ".", "17", "shut down", False, "1", "0/1")


def test_files_of_a_server_are_copied_only_after_a_clean_shutdown() -> None:
    """By its exit code in this run, or by the one that was found, and by its control file."""
    world = World(volumes__clusters=(CLUSTER,))
    draft = world.draft()
    step = s.CheckShutdown(SET, "db", "postgres-data", "")
    assert world.do(step) == "PostgreSQL 17, shut down at 0/1"
    assert draft.clusters == [CLUSTER]
    world.run.exit_codes["db"] = 137
    assert "had to be killed (exit code 137)" in world.fail(step).fact
    found = a_world().service("db")
    units = (replace(found.units[0], exit_code=0), replace(found.units[0], exit_code=3))
    services = (replace(found, units=units), *a_world().services[1:])
    world.run.observed = replace(a_world(), services=services)
    world.run.exit_codes = {}
    assert "(exit code 3)" in world.fail(step).fact
    world.run.exit_codes["db"] = 0
    world.do(step)
    world.answers["volumes.clusters"] = ()
    assert "no PostgreSQL data directory" in world.fail(step).fact


def test_a_published_set_is_judged_after_everything_runs_again() -> None:
    """By its own manifest, not by that of another set."""
    world = World()
    good = a_set(SET, downtime_seconds=Downtime(3.0, {"db": 3.0, "redis": 2.0}))
    other = a_set("other", consistent=False, inconsistency="redis ran")
    world.run.published += [other, good]
    assert world.do(s.CheckConsistent(SET, "")) == ""
    assert "redis ran" in world.fail(s.CheckConsistent("other", ""), CheckFailed).fact
    assert world.do(s.CheckDowntime(SET, 3.0, "")) == "3.0 s"
    error = world.fail(s.CheckDowntime(SET, 2.9, ""), CheckFailed)
    assert error.details == ("db: 3.0 s", "redis: 2.0 s")


def test_a_step_has_one_handler() -> None:
    """A second one is a mistake that is seen at the import."""
    before = dict(HANDLERS)
    with pytest.raises(ValueError, match="UpServices has two handlers"):
        handles(s.UpServices)(lambda step, run: "")
    assert before == HANDLERS
