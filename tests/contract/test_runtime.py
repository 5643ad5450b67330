"""What every Runtime promises, asked of the fake and of real containers alike."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.errors import Busy, QuiesceError, RequestError
from quiesce.observed import Dependency, Service, Unit
from quiesce.ports import DIRECTORY, Runtime
from tests.contract.host_world import HostWorld
from tests.contract.runtime_worlds import (
    LITERAL,
    SECRET,
    SERVICES,
    ComposeWorld,
    FakeWorld,
    World,
    connected,
)
from tests.support.builders import a_volume

WORLDS = [
    pytest.param(FakeWorld, id="fake"),
    pytest.param(HostWorld, id="host"),
    pytest.param(ComposeWorld, id="compose", marks=pytest.mark.engine),
]
#: A minute is plenty for a stack of sleepers; a runtime that needs it has failed.
PATIENCE = 60.0
UP = ("db", "job", "web", "pair")


@pytest.fixture(scope="module", params=WORLDS)
def world(request, tmp_path_factory) -> Iterator[World]:
    """One world of each kind for all these tests: making one costs seconds."""
    made = request.param(tmp_path_factory.mktemp("world"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def runtime(world: World) -> Runtime:
    """A runtime whose stack is up: web, db and pair run, job is done, spare was never begun."""
    found = world.runtime()
    found.start(paused(found))
    if units(found, *UP) != [ideal(unit) for unit in units(found, *UP)] or missing(found):
        found.up(UP, build=False)
        found.wait_healthy([ideal(unit) for unit in units(found, *UP)], PATIENCE, ignore)
    return found


def ignore(service: str) -> None:
    """Nobody listens."""


def services(runtime: Runtime) -> dict[str, Service]:
    """Return the services by name."""
    return {service.name: service for service in runtime.services()}


def units(runtime: Runtime, *names: str) -> list[Unit]:
    """Return the units of these services as they are now."""
    found = services(runtime)
    return [unit for name in names for unit in found[name].units]


def paused(runtime: Runtime) -> list[Unit]:
    """Return paused units as they shall be: running."""
    everything = units(runtime, *SERVICES)
    return [replace(unit, state="running") for unit in everything if unit.state == "paused"]


def missing(runtime: Runtime) -> list[str]:
    """Return the services of `UP` that have not all their units."""
    found = services(runtime)
    return [name for name in UP if len(found[name].units) < (2 if name == "pair" else 1)]


def ideal(unit: Unit) -> Unit:
    """Return the unit as it is when all is well."""
    if unit.service == "job":
        return replace(unit, state="exited", health="none", exit_code=0)
    return replace(
        unit, state="running", exit_code=None, health="healthy" if unit.service == "db" else "none"
    )


def test_the_engine_has_an_identity_that_stays(runtime: Runtime, world: World):
    """Two connections to one engine know it by the same id."""
    engine = runtime.engine()
    assert engine.id
    assert engine.kind
    assert engine == world.runtime().engine()


def test_services_come_in_the_order_of_their_declaration(runtime: Runtime):
    """Not by name, and also those that nobody ever began."""
    assert tuple(services(runtime)) == SERVICES


def test_a_service_says_what_it_needs_mounts_and_runs_as(runtime: Runtime):
    """Dependencies with their conditions, volumes by key, folders by path, units with health."""
    found = services(runtime)
    assert set(found["web"].depends_on) == {
        Dependency("db", "healthy"),
        Dependency("job", "completed"),
    }
    volume, folder = found["web"].mounts
    assert (volume.volume, volume.target, volume.writable) == ("data", "/data", True)
    assert (folder.volume, folder.target, folder.writable) == (None, "/conf", False)
    assert Path(folder.source).name == "conf"
    (db,) = found["db"].units
    assert (db.service, db.state, db.health) == ("db", "running", "healthy")
    assert found["db"].has_health
    assert not found["web"].has_health
    assert (found["web"].units[0].health, found["web"].units[0].exit_code) == ("none", None)


def test_up_makes_only_what_was_named(runtime: Runtime):
    """A service that was not named has no unit; one that ended well has its exit code."""
    found = services(runtime)
    assert found["spare"].units == ()
    assert len(found["pair"].running) == 2
    (job,) = found["job"].units
    assert (job.state, job.exit_code) == ("exited", 0)


def test_up_again_changes_nothing(runtime: Runtime):
    """What runs already is neither made anew nor started again."""
    before = units(runtime, "web", "db", "pair")
    runtime.up(["web", "db", "pair"], build=False)
    assert units(runtime, "web", "db", "pair") == before


def test_up_of_an_unknown_service_is_refused_before_anything(runtime: Runtime):
    """A mistyped name starts nothing, not even the services named beside it."""
    with pytest.raises(RequestError, match="no service spar"):
        runtime.up(["spare", "spar"], build=False)
    assert services(runtime)["spare"].units == ()


def test_stop_then_services_shows_it_stopped(runtime: Runtime):
    """The result has the unit and its exit code, and the unit is still there, not running."""
    (web,) = units(runtime, "web")
    (result,) = runtime.stop([web], 0.0)
    assert (result.unit, result.exit_code) in [(web, 0), (web, 143)]
    assert result.seconds >= 0
    (now,) = units(runtime, "web")
    assert (now.id, now.state, now.exit_code) == (web.id, "exited", result.exit_code)
    assert services(runtime)["db"].running


def test_stopping_twice_is_as_good_as_once(runtime: Runtime):
    """Stopped units, and units that exist no more, are stopped already."""
    (web,) = units(runtime, "web")
    runtime.stop([web], 0.0)
    gone = replace(web, id="0" * 64, name="nobody")
    first, second = runtime.stop([web, gone], 0.0)
    assert first.unit == web
    assert first.exit_code is not None
    assert second.exit_code is None


def test_units_stop_in_the_order_given(runtime: Runtime):
    """The order is the caller's decision, and one ends before the next is asked to."""
    wanted = [*units(runtime, "web"), *units(runtime, "db"), *units(runtime, "pair")]
    assert [result.unit for result in runtime.stop(wanted, 0.0)] == wanted
    assert not any(unit.runs for unit in units(runtime, "web", "db", "pair"))


def test_start_brings_back_the_same_units_and_only_those(runtime: Runtime):
    """One of two replicas was down before: it stays down."""
    both = units(runtime, "pair")
    runtime.stop(both, 0.0)
    runtime.start(both[:1])
    runtime.wait_healthy(both[:1], PATIENCE, ignore)
    first, second = units(runtime, "pair")
    assert (first.id, first.state) == (both[0].id, "running")
    assert (second.id, second.state) == (both[1].id, "exited")
    runtime.start(both)
    assert all(unit.runs for unit in units(runtime, "pair"))


def test_what_is_held_is_not_restarted_by_the_engine_until_it_is_freed(runtime: Runtime):
    """Held, stopped, started and freed: it restarts as before; what is gone is as good as held."""
    before = units(runtime, "web", "pair")
    gone = replace(before[0], id="0" * 64, service="spare")
    runtime.hold_restart([*before, gone])
    runtime.hold_restart(before)
    runtime.stop(before, 0.0)
    runtime.start(before)
    runtime.free_restart([*before, gone])
    policies = {unit.name: unit.restart_policy for unit in before}
    assert {u.name: u.restart_policy for u in units(runtime, "web", "pair")} == policies


def test_starting_what_runs_changes_nothing(runtime: Runtime):
    """Start states a goal: it is met."""
    before = units(runtime, "web", "db")
    runtime.start(before)
    assert units(runtime, "web", "db") == before


def test_a_unit_removed_since_is_made_again_as_its_service(runtime: Runtime, world: World):
    """Somebody ran `docker rm` meanwhile: the service runs again, under another id."""
    (web,) = units(runtime, "web")
    runtime.stop([web], 0.0)
    world.lose(web)
    runtime.start([web])
    runtime.wait_healthy([web], PATIENCE, ignore)
    (now,) = units(runtime, "web")
    assert now.state == "running"
    assert now.id != web.id


def test_a_paused_unit_is_paused_again(runtime: Runtime, world: World):
    """Paused counts as running: it is stopped, started, and paused as it was."""
    (web,) = units(runtime, "web")
    world.pause(web)
    (before,) = units(runtime, "web")
    assert before.state == "paused"
    assert before.runs
    (result,) = runtime.stop([before], 0.0)
    assert result.exit_code in (0, 143), "frozen, it did not hear the signal"
    assert not units(runtime, "web")[0].runs
    runtime.start([before])
    runtime.wait_healthy([before], PATIENCE, ignore)
    # It is the same unit, started again: only the time of its start differs.
    (after,) = units(runtime, "web")
    assert replace(after, started_at=None) == replace(before, started_at=None)


def test_waiting_tells_whom_it_waits_for_and_how_long_each_took(runtime: Runtime):
    """Healthy again is asked of what was healthy, running of what ran without a health check."""
    wanted = [*units(runtime, "db"), *units(runtime, "web")]
    runtime.stop(list(reversed(wanted)), 0.0)
    runtime.start(wanted)
    told: list[str] = []
    took = runtime.wait_healthy(wanted, PATIENCE, told.append)
    assert set(took) == {"db", "web"}
    assert all(0 <= seconds < PATIENCE for seconds in took.values())
    assert told[0] == "db"
    assert set(told) <= {"db", "web"}
    assert services(runtime)["db"].running


def test_what_did_not_run_needs_nothing(runtime: Runtime):
    """A one-shot that had ended, and a service that was down, are as well as they were."""
    job = units(runtime, "job")
    assert runtime.wait_healthy(job, PATIENCE, ignore) == {"job": 0.0}


def test_waiting_for_a_unit_that_ended_fails_with_its_name(runtime: Runtime, world: World):
    """The wait ends at once, not when the time is up, and its error names the service."""
    (db,) = units(runtime, "db")
    world.crash(db)
    with pytest.raises(QuiesceError, match="service db ended with exit code 137") as caught:
        runtime.wait_healthy([db], PATIENCE, ignore)
    assert "ready" in caught.value.details
    assert caught.value.hint


def test_an_endpoint_reaches_the_port_by_every_way(runtime: Runtime, world: World):
    """Directly, through the published port and through the container: the same server answers."""
    for way, other in world.runtimes_by_way().items():
        endpoint = other.endpoint("db", 7000)
        for _ in range(2):
            with connected(endpoint.host, endpoint.port) as connection:
                for _ in range(3):
                    connection.sendall(b"ping")
                    assert connection.recv(100) == b"pong", way


def test_an_endpoint_serves_several_connections_at_once(runtime: Runtime, world: World):
    """A dump and a watcher talk to one server at the same time."""
    for other in world.runtimes_by_way().values():
        endpoint = other.endpoint("db", 7000)
        with (
            connected(endpoint.host, endpoint.port) as first,
            connected(endpoint.host, endpoint.port) as second,
        ):
            second.sendall(b"ping")
            assert second.recv(100) == b"pong"
            first.sendall(b"ping")
            assert first.recv(100) == b"pong"


def test_a_port_of_a_service_that_does_not_run_has_no_endpoint(runtime: Runtime):
    """The error names the service."""
    runtime.stop(units(runtime, "web", "db"), 0.0)
    with pytest.raises(QuiesceError, match="service db is not running"):
        runtime.endpoint("db", 7000)


def test_a_tool_sees_the_folder_and_its_environment_and_its_files_are_ours(
    runtime: Runtime, tmp_path: Path
):
    """What it writes is on this machine afterwards, owned by the caller."""
    runtime.run_tool(
        "db",
        ["sh", "-c", 'printf %s "$PGPASSWORD" > "$0/out"', DIRECTORY],
        environment={"PGPASSWORD": "of the environment"},
        directory=tmp_path,
        writable=True,
        label="run-1",
    )
    assert (tmp_path / "out").read_text() == "of the environment"
    assert (tmp_path / "out").stat().st_uid == os.geteuid()
    assert runtime.remove_orphans("run-1") == ()


def test_a_failing_tool_tells_its_last_words_and_leaves_nothing(runtime: Runtime, tmp_path: Path):
    """The program's own exit code counts, and no secret of its environment is repeated."""
    with pytest.raises(QuiesceError, match="failed with exit code 3") as caught:
        runtime.run_tool(
            "db",
            ["sh", "-c", 'echo "cannot log in with $PGPASSWORD" >&2; exit 3'],
            environment={"PGPASSWORD": SECRET},
            directory=tmp_path,
            writable=False,
            label="run-2",
        )
    assert SECRET not in str(caught.value.__dict__)
    assert "cannot log in with ***" in caught.value.details
    assert runtime.remove_orphans("run-2") == ()


def test_a_tool_cannot_write_where_it_may_only_read(runtime: Runtime, tmp_path: Path):
    """A restore hands its set to a tool; the set stays what it is."""
    (tmp_path / "dump").write_text("precious")
    script = 'cat "$0/dump" >/dev/null || exit 9; echo broken > "$0/dump"; exit 0'
    runtime.run_tool(
        "db",
        ["sh", "-c", script, DIRECTORY],
        environment={},
        directory=tmp_path,
        writable=False,
        label="run-3",
    )
    assert (tmp_path / "dump").read_text() == "precious"


def test_tools_run_side_by_side(runtime: Runtime, tmp_path: Path):
    """Databases are dumped in parallel."""
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            runtime.run_tool(
                "db",
                ["sh", "-c", 'echo done > "$0"', f"{DIRECTORY}/{name}"],
                environment={},
                directory=tmp_path,
                writable=True,
                label="run-4",
            )
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failures
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]


def test_a_tool_beside_a_service_that_does_not_run_is_an_error(runtime: Runtime, tmp_path: Path):
    """There is no server to talk to."""
    with pytest.raises(QuiesceError, match="service spare is not running"):
        runtime.run_tool(
            "spare", ["true"], environment={}, directory=tmp_path, writable=False, label="run-5"
        )


def test_sweeping_removes_the_helpers_of_one_run_only(runtime: Runtime, world: World):
    """Another run's helpers are another's business."""
    world.forsake_helper(runtime, "dead-run")
    assert runtime.remove_orphans("another-run") == ()
    (removed_orphans,) = runtime.remove_orphans("dead-run")
    assert "helper" in removed_orphans
    assert runtime.remove_orphans("dead-run") == ()


def test_volumes_come_declared_first_and_then_the_others(runtime: Runtime):
    """With their real names, and whether they exist."""
    first, second = runtime.volumes([a_volume("other")])
    assert first.key == "other"
    assert (second.key, second.exists, second.driver) == ("data", True, "local")
    assert second.name.endswith("-data")
    assert second.outside == ()


def test_a_declared_volume_that_nobody_knows_is_refused_with_the_nearest(runtime: Runtime):
    """A mistyped key is found before anything is backed up."""
    with pytest.raises(RequestError, match="volume date") as caught:
        runtime.volumes([a_volume("date")])
    assert caught.value.hint == "did you mean 'data'?"


def test_the_log_has_the_last_lines(runtime: Runtime):
    """What the service said, for errors and for `inv logs`."""
    assert "ready" in runtime.logs("db", 5)


def test_the_description_has_no_value_of_the_env_file_and_no_literal(runtime: Runtime):
    """It goes into every set, and sets travel."""
    files = runtime.description()
    assert files
    everything = b"".join(files.values()).decode()
    assert "services" in everything
    assert SECRET not in everything
    assert LITERAL not in everything


def test_every_service_that_has_a_unit_has_an_image(runtime: Runtime):
    """A restore elsewhere needs to know what ran."""
    assert set(runtime.images()) >= {"web", "db", "job", "pair"}
    assert all(runtime.images().values())


def test_remove_takes_units_away_and_leaves_volumes(runtime: Runtime):
    """Named services only; then nothing of them exists, and doing it again is fine."""
    for _ in range(2):
        runtime.remove(["web"])
        found = services(runtime)
        assert found["web"].units == ()
        assert found["db"].running
    assert {volume.key: volume.exists for volume in runtime.volumes([])}["data"]


def test_remove_of_everything_leaves_volumes(runtime: Runtime):
    """`down` is never `down -v`."""
    runtime.remove(SERVICES)
    assert not any(service.units for service in runtime.services())
    assert {volume.key: volume.exists for volume in runtime.volumes([])}["data"]


def test_what_was_made_is_known_without_any_file(runtime: Runtime) -> None:
    """Inside, units and volumes are told by their marks; outside, as before."""
    before = {service.name: service.units for service in runtime.services()}
    volumes = {v.key: v.name for v in runtime.volumes([]) if v.exists}
    with runtime.as_found():
        found = {service.name: service.units for service in runtime.services()}
        again = {v.key: v.name for v in runtime.volumes([]) if v.exists}
    assert {name: units for name, units in found.items() if units} == {
        name: units for name, units in before.items() if units
    }
    assert again == volumes
    assert {service.name: service.units for service in runtime.services()} == before


def test_who_was_started_meanwhile_is_named_also_when_it_is_gone(runtime: Runtime, world: World):
    """Since the watch began, and only who is asked for or mounts the volume writably."""
    if isinstance(world, HostWorld):
        pytest.skip("services are started by Quiesce alone, which holds the lock")
    assert runtime.seen_starting(SERVICES, ["data"]) == ()
    other = world.runtime()
    found = units(runtime, "web", "db")
    other.stop(found, 0)
    other.start([found[1]])
    runtime.watch_starts()
    assert runtime.seen_starting(SERVICES, ["data"]) == ()
    other.start([found[0]])
    other.stop(found, 0)
    other.start([found[1]])
    assert runtime.seen_starting([], ["data"]) == ("web",)
    assert runtime.seen_starting([], ["other"]) == ()
    assert runtime.seen_starting(["db", "pair"], []) == ("db",)
    runtime.watch_starts()
    assert runtime.seen_starting(SERVICES, ["data"]) == ()


def test_who_changes_it_from_elsewhere_is_named(runtime: Runtime, world: World, tmp_path: Path):
    """One place at a time on one engine; a claim is let go by its own place alone."""
    if isinstance(world, HostWorld):
        pytest.skip("who shares the folder shares the lock")
    here, elsewhere = tmp_path / "one", tmp_path / "two"
    here.mkdir()
    elsewhere.mkdir()
    other = world.runtime()
    runtime.lock_project(here, "first", [])
    runtime.lock_project(here, "second", [])
    with pytest.raises(Busy, match=str(here)) as busy:
        other.lock_project(elsewhere, "third", [])
    assert "--wait" in busy.value.hint or isinstance(world, FakeWorld)
    other.unlock_project(elsewhere, [])
    with pytest.raises(Busy):
        other.lock_project(elsewhere, "third", [])
    runtime.unlock_project(here, [])
    runtime.unlock_project(here, [])
    other.lock_project(elsewhere, "third", [])
    with pytest.raises(Busy, match=str(elsewhere)):
        runtime.lock_project(here, "fourth", ["first"])
    other.unlock_project(elsewhere, [])


def test_a_folder_that_was_moved_is_no_other_place(runtime: Runtime, world: World, tmp_path: Path):
    """It has the journal of the run that made the claim. So has a copy, but of what is there."""
    if isinstance(world, HostWorld):
        pytest.skip("who shares the folder shares the lock")
    before, now, copy = (tmp_path / name for name in ("before", "now", "copy"))
    before.mkdir()
    copy.mkdir()
    runtime.lock_project(before, "first", [])
    with pytest.raises(Busy):
        runtime.lock_project(copy, "second", ["first"])
    runtime.unlock_project(copy, ["first"])
    before.rename(now)
    with pytest.raises(Busy):
        runtime.lock_project(now, "second", ["another"])
    runtime.lock_project(now, "second", ["first"])
    with pytest.raises(Busy, match=str(now)):
        runtime.lock_project(copy, "third", ["first"])
    now.rename(before)
    runtime.unlock_project(before, ["second"])
    runtime.lock_project(copy, "third", [])
    runtime.unlock_project(copy, [])
