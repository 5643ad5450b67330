"""When services are up: a database server answers, and only what was checked is called healthy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quiesce.app.wiring import SystemClock
from quiesce.commands.lifecycle import _up_words
from quiesce.errors import QuiesceError, ServiceFailed
from quiesce.execute.answering import wait_until_up
from quiesce.execute.run import Ports, Run
from quiesce.observed import Unit
from quiesce.plan.services import plan_up
from tests.fakes.databases import FakeDatabase, FakeDatabases
from tests.fakes.runtime import FakeRuntime
from tests.support.builders import RUN, a_stack, a_world
from tests.unit.report_samples import Watch
from tests.unit.test_service_handlers import Sink


class World:
    """The example stack in memory, with its one server."""

    def __init__(self, folder: Path) -> None:
        self.observed = a_world()
        self.runtime = FakeRuntime(self.observed.services)
        self.databases = FakeDatabases({"db": {"rulesdb": FakeDatabase()}})
        self.sink = Sink()
        other: Any = Sink()
        sink: Any = self.sink
        clock = SystemClock()
        ports = Ports(self.runtime, self.databases, other, other, other, sink, clock, other, other)
        self.run = Run(RUN, a_stack(folder), self.observed, ports)

    def units(self, *names: str) -> list[Unit]:
        return [unit for unit in self.observed.running if unit.service in names]

    def fail(self, name: str) -> None:
        """Let waiting for this service fail."""

        def failing(call: str) -> None:
            if call == f"wait:{name}":
                raise ServiceFailed(f"{name} is ill", services=(name,))

        self.runtime.on_call = failing

    def wait(self, *names: str, **given: Any) -> set[str]:
        return set(wait_until_up(self.run, self.units(*names), 1.0, **given))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A stack that runs."""
    return World(tmp_path)


def test_a_server_is_asked_once_and_others_are_not(world: World) -> None:
    """Two databases of one server are one question."""
    assert world.wait("db", "redis") == {"db", "redis"}
    assert world.databases.calls == ["answer:db"]
    world.wait("redis")
    assert world.databases.calls == ["answer:db"]


def test_between_attempts_the_unit_is_looked_at(world: World) -> None:
    """A container that ends is not waited for."""
    world.databases.starting["db"] = 2
    world.wait("db")
    assert world.runtime.calls == ["wait:db"] * 3
    world.databases.starting["db"] = 2
    world.runtime.calls.clear()

    def ended(call: str) -> None:
        if len(world.runtime.calls) > 1 and call == "wait:db":
            raise ServiceFailed("service db ended with exit code 3", services=("db",))

    world.runtime.on_call = ended
    with pytest.raises(ServiceFailed, match="ended with exit code 3") as caught:
        world.wait("db", "redis")
    assert caught.value.services == ("db",)
    assert set(caught.value.waited) == {"redis"}


def test_a_silent_server_fails_beside_what_failed_already(world: World) -> None:
    """Both are named, each with what to do."""
    world.databases.down.add("db")
    with pytest.raises(ServiceFailed, match="db did not answer SQL within 1 seconds") as caught:
        world.wait("db", "redis")
    assert caught.value.services == ("db",)
    assert "raise restart.health_timeout" in caught.value.hint
    world.fail("redis")
    with pytest.raises(ServiceFailed, match=r"^redis is ill; service db did not answer") as caught:
        world.wait("db", "redis")
    assert set(caught.value.services) == {"redis", "db"}


@pytest.mark.parametrize("ill", ["db", "redis"])
def test_a_server_that_fails_keeps_no_other_one_from_its_question(world: World, ill: str) -> None:
    """Whether it is ill or silent: the other one is asked, and is up."""
    (well,) = {"db", "redis"} - {ill}
    (rulesdb, *_) = world.run.stack.databases
    other = replace(rulesdb, key="other", service="redis")
    world.run.stack = replace(world.run.stack, databases=(rulesdb, other))
    world.databases.servers["redis"] = {"other": FakeDatabase()}
    world.databases.down.add(ill)
    with pytest.raises(ServiceFailed) as silent:
        world.wait("db", "redis")
    assert f"answer:{well}" in world.databases.calls
    world.databases.calls.clear()
    world.fail(ill)
    with pytest.raises(ServiceFailed) as failed:
        world.wait("db", "redis")
    assert world.databases.calls == [f"answer:{well}"]
    for caught in (silent, failed):
        assert (caught.value.services, set(caught.value.waited)) == ((ill,), {well})


def test_who_is_asked_is_named_meanwhile(world: World) -> None:
    """A server may need minutes until it answers."""
    said: list[tuple[str, int]] = []
    monitored: Any = world.sink
    monitored.progress = lambda text, done: said.append((text, done))
    world.databases.on_call = lambda call: said.append((call, -1))
    world.wait("db", "redis")
    assert said[-2:] == [("waiting for db", 0), ("answer:db", -1)]


def test_a_server_that_is_not_well_is_not_asked(world: World) -> None:
    """The first failure says enough."""
    world.fail("db")
    with pytest.raises(ServiceFailed, match="db is ill"):
        world.wait("db")
    assert world.databases.calls == []


def test_a_paused_server_is_not_asked(world: World) -> None:
    """It is as it was when it is paused again."""
    (unit,) = world.units("db")
    assert wait_until_up(world.run, [replace(unit, state="restarting")], 1.0) == {"db": 0.0}
    assert world.databases.calls == []


def test_a_lost_engine_is_no_failed_service(world: World) -> None:
    """Nothing is known of the service then."""

    class Lost(QuiesceError):
        lost_engine = True

    def lost(call: str) -> None:
        raise Lost("the engine does not answer")

    world.databases.on_call = lost
    with pytest.raises(Lost):
        world.wait("db")


@pytest.mark.parametrize("report", [True, False])
def test_a_refused_user_is_a_warning_where_it_is_asked_for(world: World, report: bool) -> None:
    """The server is up."""
    world.databases.refusals["postgres"] = "db does not accept the password"
    assert world.wait("db", report=report) == {"db"}
    assert world.run.unasked == {"db"}
    assert len(world.sink.warned) == int(report)
    assert all("correct databases." in text for text in world.sink.warned)
    world.databases.refusals.clear()
    world.sink.warned.clear()
    world.wait("db", report=report)
    assert world.sink.warned == []


def test_only_what_was_checked_is_called_healthy() -> None:
    """A server without a health check answers SQL; others just run."""
    world = a_world()
    unchecked = replace(
        world,
        services=tuple(
            replace(s, has_health=s.name not in ("db", "proxy")) for s in world.services
        ),
    )
    plan = plan_up(a_stack(), unchecked, RUN, ())
    assert plan.nodes[1].sentence() == (  # type: ignore[union-attr]
        "wait until healthy: redis, backend, frontend; answering SQL: db; running: proxy"
    )
    assert _up_words(plan, ()) == (
        "up; healthy: redis, backend, frontend; answering SQL: db; "
        "running, without a health check: proxy"
    )
    assert "answering SQL" not in _up_words(plan, {"db"})
    assert "running, login refused: db" in _up_words(plan, {"db"})
    healthy = plan_up(a_stack(), world, RUN, ())
    assert _up_words(healthy, ()) == "up and healthy"


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (30.0, [("answer", 200.0), ("entry point", 60.0), ("answer", 140.0)]),
        (90.0, [("answer", 200.0), ("entry point", 60.0), ("answer", 20.0)]),
        (160.0, [("answer", 200.0), ("entry point", 40.0), ("answer", 0.0)]),
        (250.0, [("answer", 200.0), ("entry point", 0.0), ("answer", 0.0)]),
    ],
)
def test_each_wait_gets_the_time_that_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch, each: float, expected: list[tuple[str, float]]
) -> None:
    """An entry point that goes on for ever takes a minute at most."""
    watch, asked = Watch(seconds=1000.0), list[tuple[str, float]]()
    world.run.ports = replace(world.run.ports, clock=watch)

    def noted(what: str, answer: str) -> Any:
        def call(_: object, seconds: float, *__: object) -> str:
            asked.append((what, seconds))
            watch.advance(each)
            return answer

        return call

    monkeypatch.setattr(world.databases, "await_answer", noted("answer", ""))
    monkeypatch.setattr(world.runtime, "await_entry_point", noted("entry point", "initdb"))
    wait_until_up(world.run, world.units("db"), 200.0)
    assert asked == expected
