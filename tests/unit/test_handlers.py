"""What each handler asks of its ports, says and remembers; the ports only note what they are asked.

What the real ones make of it is in tests/contract, tests/integration and tests/e2e.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quiesce.errors import (
    CheckFailed,
    Interrupted,
    NotDeclared,
    QuiesceError,
    RequestError,
    ServiceFailed,
    StepFailed,
)
from quiesce.execute.draft import Draft
from quiesce.execute.handlers import HANDLERS
from quiesce.execute.run import Ports, Run
from quiesce.model import (
    ClusterRecord,
    DatabaseSwap,
    Downtime,
    ImportedVolume,
    ImportSource,
    Member,
    OffsiteObject,
    OffsiteSet,
    OffsiteStore,
    Plain,
    Recipients,
    Retention,
    SetState,
    TableRecord,
    Undeclared,
    VolumeRecord,
)
from quiesce.observed import Activity, Address, ExternalSession, Meanwhile, Unit
from quiesce.obstacles import Obstacle
from quiesce.plan import steps as s
from quiesce.ports import DatabaseContents, Drift, LoadedRows, Measured, StopResult, VolumeSize
from quiesce.ports.databases import Handover
from tests.support.builders import NOW, RUN, a_set, a_stack, a_world

SET = "core-20261120-020000"
UNITS = tuple(service.units[0] for service in a_world().services)
SWAPS = (DatabaseSwap("rulesdb", "rulesdb", "rulesdb__new", "rulesdb__old"),)


class Port:
    """Notes each call as `port.method`, its arguments and its keywords; answers from `answers`."""

    def __init__(self, name: str, world: World) -> None:
        self._name, self._world = name, world

    def __getattr__(self, method: str) -> Callable[..., Any]:
        name = f"{self._name}.{method}"

        def call(*arguments: Any, **keywords: Any) -> Any:
            if name not in QUIET:
                self._world.calls.append((name, *arguments, *([keywords] if keywords else ())))
            answer = self._world.answers.get(name)
            if isinstance(answer, BaseException):
                raise answer
            return answer(*arguments) if callable(answer) else answer

        return call


QUIET = {"clock.now", "clock.monotonic", "sink.progress", "runtime.services", "runtime.volumes"}


class World:
    """One run over noting ports."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[Any] = []
        self.seconds = 0.0
        self.answers: dict[str, Any] = {
            "clock.now": NOW,
            "clock.monotonic": lambda: self.seconds,
            "runtime.services": a_world().services,
            "runtime.volumes": a_world().volumes,
            "volumes.remarks": (),
            "databases.create_roles": (),
            "databases.load": (),
            "databases.undeclared": (),
            "databases.await_answer": "",
            "runtime.wait_healthy": {},
        }
        self.answers |= {name.replace("__", "."): answer for name, answer in answers.items()}
        names = "runtime databases volumes migrator store sink clock project offsite"
        ports: Any = [Port(name, self) for name in names.split()]
        self.run = Run(RUN, a_stack(), a_world(), Ports(*ports), sources={SET: a_set(SET)})

    def do(self, step: s.Step) -> str:
        return HANDLERS[type(step)](step, self.run)

    def fail(self, step: s.Step, kind: type[QuiesceError] = QuiesceError) -> QuiesceError:
        with pytest.raises(kind) as caught:
            self.do(step)
        return caught.value

    def asked(self, name: str) -> list[Any]:
        """The arguments of every call of this method."""
        return [call[1:] for call in self.calls if call[0] == name]

    @property
    def warned(self) -> list[str]:
        return [text for (text,) in self.asked("sink.warn")]

    def draft(self, **fields: Any) -> Draft:
        """A set that is being made."""
        opened = s.OpenSet(SET, "full", "consistent", "", False, ("db",), ("backend",), "")

        def measure(finished: Any) -> Measured:
            file, kind, source = finished
            self.calls.append(("measure", file))
            return Measured(Member(Path(file).name, kind, source, file, 1, "0" * 64), (1,))

        made = Draft(replace(opened, **fields), Path("/staging"), NOW, 0.0, measure)
        self.run.drafts[SET] = made
        return made


def database(key: str = "rulesdb") -> Any:
    """As the stack declares it."""
    return a_stack().database(key)


def volume(key: str = "backend-media") -> Any:
    """As it was observed."""
    return a_world().volume(key)


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
        (s.ExportSnapshot("rulesdb", ""), ("databases.export_snapshot", database())),
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
    codes = iter([137, 0, 0])
    world = World()

    def stop(units: list[Unit], timeout: float) -> tuple[StopResult, ...]:
        world.seconds += 10.0
        return (StopResult(units[0], next(codes), 10.0),)

    world.answers["runtime.stop"] = stop
    proxy, backend = UNITS[4], UNITS[2]
    world.do(s.StopServices((proxy, replace(proxy, id="second"), backend), 60.0, ""))
    assert world.run.exit_codes == {"proxy": 137, "backend": 0}
    assert [one for one, _ in world.asked("runtime.stop")] == [
        [proxy],
        [replace(proxy, id="second")],
        [backend],
    ]
    assert world.warned == [
        "proxy had to be killed: raise its stop_grace_period, or make its main process exit on "
        "SIGTERM"
    ]
    world.answers["runtime.wait_healthy"] = {"proxy": 5.0, "backend": 7.0}
    world.run.not_started = {"redis"}
    world.run.undeclared = {"frontend"}
    world.do(s.WaitHealthy((proxy, backend, UNITS[1], UNITS[3]), 9.0, ""))
    ((units, timeout, waiting),) = world.asked("runtime.wait_healthy")
    assert (units, timeout) == ([proxy, backend], 9.0), "what is known to be down was reported"
    waiting("proxy")
    assert world.run.downtime.result() == Downtime(37.0, {"proxy": 35.0, "backend": 17.0})


def test_of_services_that_fail_to_get_well_those_that_did_count_as_back() -> None:
    """Their downtime is known; the others' is not."""
    world = World()
    error = ServiceFailed("redis is down", "see its log", services=("redis",))
    error.waited = {"proxy": 2.0}
    world.answers["runtime.wait_healthy"] = error
    for name in ("proxy", "redis"):
        world.run.downtime.stopping(name, 0.0)
    assert world.fail(s.WaitHealthy((UNITS[4], UNITS[1]), 9.0, ""), ServiceFailed) is error
    assert world.run.downtime.result() == Downtime(2.0, {"proxy": 2.0})


@pytest.mark.parametrize("count", [1, 2])
def test_an_engine_that_is_lost_ends_a_start(count: int) -> None:
    """Nothing else can be started either, and no service is called broken for it."""
    lost = QuiesceError("no answer", "start Docker")
    world = World(runtime__start=lost)
    if count == 2:
        first = QuiesceError("one failed", "see its log")
        answers = iter([first, lost])

        def start(_: Any) -> None:
            raise next(answers)

        world.answers["runtime.start"] = start
    lost.lost_engine = True
    assert world.fail(s.StartServices(UNITS[:2], 9.0, "")) is lost
    assert world.run.failed == {}
    assert world.run.not_started == set()


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


# -------------------------------------------------------------------------------------- checks

SESSION = ExternalSession(7, "rulesdb", "ann", "psql")


def test_who_else_is_connected_is_said_and_kept_for_the_snapshots() -> None:
    """Except those that the stack ignores."""
    seen = Activity((SESSION, replace(SESSION, application="cron")), (), maintenance=False)
    world = World(databases__activity=seen)
    draft = world.draft()
    assert world.do(s.CheckIdle(SET, ("rulesdb",), ("cron",), "")) == "1 others connected"
    assert world.warned == ["also connected: psql (user ann, pid 7) in rulesdb"]
    assert (draft.rest, draft.ignored) == (seen, ("cron",))
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


# ------------------------------------------------------------------------------------- volumes


def test_a_volume_is_archived_with_its_patterns_and_its_remarks_are_said() -> None:
    """Level 0 prepares what level 1 needs."""
    record = a_set().volume("backend-media")
    world = World(volumes__archive=record, volumes__remarks=("a socket was skipped",))
    draft = world.draft()
    stack = a_stack()
    volumes = tuple(replace(v, exclude=("*.tmp",)) for v in stack.volumes)
    world.run.stack = replace(stack, volumes=volumes)
    for level in (0, 1):
        step = s.ArchiveVolume(SET, "backend-media", level, "volumes/backend-media", "")
        assert world.do(step) == "3 files"
    assert world.asked("volumes.begin") == [(volume(),)]
    assert [(call[1], call[2], call[4]) for call in world.asked("volumes.archive")] == [
        (0, Path("/staging"), ("*.tmp",)),
        (1, Path("/staging"), ("*.tmp",)),
    ]
    assert draft.volumes == {"backend-media": record}
    assert world.warned == ["volume backend-media: a socket was skipped"] * 2


def test_a_volume_that_was_made_is_known_to_the_steps_after() -> None:
    """They go by what is there now."""
    world = World()
    missing = a_world(missing_volumes=["backend-media"])
    world.run.observed = missing
    assert world.do(s.FinishSwap("backend-media", "")) == ""
    assert world.do(s.EmptyVolume("backend-media", "")) == ""
    assert world.calls == [], "there is nothing to empty"
    world.do(s.CreateVolume("backend-media", ""))
    assert world.calls == [("volumes.create", missing.volume("backend-media"))]
    assert world.run.observed.volume("backend-media").exists


@pytest.mark.parametrize("step", [s.SwapVolume("backend-media", ""),
                                  s.EmptyVolume("backend-media", "")])  # fmt: skip
def test_a_foreign_writer_keeps_a_volume_as_it_is(step: s.Step) -> None:
    """One of now, not of when the plan was made."""
    foreign = replace(volume(), outside_writers=("stranger",))
    others = tuple(v for v in a_world().volumes if v.key != "backend-media")
    world = World(runtime__volumes=(*others, foreign))
    assert "container stranger, outside of the project" in world.fail(step).fact
    assert world.calls == []
    elsewhere = replace(others[0], outside_writers=("stranger",))
    world.answers["runtime.volumes"] = (elsewhere, *others[1:], volume())
    world.do(step)
    assert len(world.calls) == 1


def test_what_was_unpacked_has_to_be_what_was_recorded() -> None:
    """Files and bytes; and no member may be unsafe, which is known before anything is written."""
    source = a_set(SET)
    record = VolumeRecord(
        "backend-media", "app", 3, 400, ("volumes/m.0", "volumes/m.1"), "volumes/m.gone", "zstd",
        level_0=(1, 10),
    )  # fmt: skip
    manifest = replace(source.manifest, volumes=(record,))
    world = World(volumes__check=(), volumes__stage=VolumeSize(3, 400))
    world.run.sources = {SET: replace(source, manifest=manifest)}
    step = s.StageVolume(SET, "backend-media", "")
    archives = [source.path / "volumes/m.0", source.path / "volumes/m.1"]
    most = VolumeSize(4, 410)
    assert world.do(step) == "3 files"
    assert world.calls == [
        ("volumes.check", archives, most),
        ("volumes.stage", volume(), RUN, archives, source.path / "volumes/m.gone", most),
    ]
    assert world.run.staged == {"backend-media": (3, 400)}
    for wrong in (VolumeSize(3, 401), VolumeSize(2, 400)):
        world.answers["volumes.stage"] = wrong
        assert "but the set recorded 3 with 400" in world.fail(step).fact
    world.answers["volumes.check"] = tuple(f"../{n}: outside" for n in range(21))
    world.calls.clear()
    assert world.fail(step).details == tuple(f"../{n}: outside" for n in range(20))
    assert world.asked("volumes.stage") == []


def test_one_folder_of_a_volume_and_an_imported_archive_are_staged() -> None:
    """Nothing recorded how large an archive of another program gets: the free room is its limit."""
    imported = ImportedVolume("backend-media", "media.tar")
    source = ImportSource("file", Path("/file"), volumes=(imported,))
    world = World(volumes__check=(), volumes__stage=VolumeSize(9, 9))
    world.answers["volumes.pick"] = VolumeSize(2, 5)
    world.run.sources = {"file": source}
    step = s.StageVolume("file", "backend-media", "", path="photos")
    assert world.do(step) == "2 files"
    ((_, run, archives, gone, most),) = world.asked("volumes.stage")
    assert (run, archives, gone) == (RUN, [Path("/file/media.tar")], None)
    assert most.bytes == 10**12
    assert world.asked("volumes.pick") == [(volume(), RUN, "photos")]
    assert world.run.staged == {"backend-media": (2, 5)}
    engine = replace(a_world().engine, local=False)
    world.run.observed = replace(a_world(), engine=engine)
    world.do(step)
    assert world.asked("volumes.stage")[1][4] is None, "the room of another machine is not known"


def test_a_folder_of_the_stack_is_emptied() -> None:
    """Below the stack's folder, which the adapter holds on to."""
    world = World(volumes__empty_folder=3)
    assert world.do(s.EmptyPath("backend/logs", "")) == "3 entries"
    assert world.calls == [("volumes.empty_folder", Path("/stack"), Path("backend/logs"))]


# ----------------------------------------------------------------------------------- databases


def test_a_dump_is_recorded_with_what_speaks_against_it(tmp_path: Path) -> None:
    """Rows that were written meanwhile, doubts, obstacles; its settings are in a member."""
    obstacles = (
        Obstacle("names", "f() finds its tables by the search path"),
        Obstacle("orphans", "rows of a violate b"),
    )
    record = replace(a_set().database("rulesdb"), settings=("ALTER",), obstacles=obstacles)
    world = World(databases__dump=record, databases__meanwhile=Meanwhile(3, ("public.rules",), ()))
    draft = world.draft()
    draft.directory = tmp_path
    (tmp_path / "databases").mkdir()
    draft.rest = Activity((SESSION,), (), maintenance=False)
    step = s.DumpDatabase(SET, "rulesdb", "full", "databases/rulesdb.dump", "")
    assert world.do(step) == "1 tables, 2 rows"
    assert world.asked("databases.release") == [(database(),)]
    assert "psql (user ann" in draft.inconsistencies[0]
    assert draft.doubts == [""]
    assert world.warned == [
        "rulesdb: f() finds its tables by the search path; Quiesce can restore it by setting a "
        "search path; plain pg_restore fails",
        "rulesdb: rows of a violate b; a full restore needs --not-valid",
    ]
    settings = "databases/rulesdb.settings.json"
    assert draft.files == [
        ("databases/rulesdb.dump", "database", "rulesdb"),
        (settings, "settings", "rulesdb"),
    ]
    assert (tmp_path / settings).read_text() == '[\n "ALTER"\n]\n'
    assert draft.databases == [replace(record, settings=())]
    world.answers["databases.dump"] = replace(record, settings=(), obstacles=())
    world.answers["databases.meanwhile"] = Meanwhile(3)
    world.do(step)
    assert draft.inconsistencies[1] == ""
    assert draft.doubts[1].startswith("3 transactions ended")
    assert len(draft.files) == 3
    draft.measure_rest(lambda *_: None)
    assert sorted({name for (name,) in world.asked("measure")}) == [step.file, settings]


def test_a_script_is_published_and_the_snapshot_let_go() -> None:
    """Where it is, is remembered for the report."""
    world = World(databases__script=Path("/tmp/x"), store__publish_file=Path("/out.sql"))
    step = s.WriteScript("rulesdb", "full", "out.sql", True, "")
    assert world.do(step) == "/out.sql"
    assert world.asked("databases.release") == [(database(),)]
    assert world.asked("store.publish_file") == [
        (Path("/tmp/x"), "out.sql", {"compress": True, "recipients": world.run.stack.recipients})
    ]
    assert world.run.files == {"rulesdb": Path("/out.sql")}


def test_the_roles_of_a_server_are_a_member_and_those_that_are_left_out_are_said() -> None:
    """Of the set that is made, and of the one that is restored."""
    world = World(databases__create_roles=("role x is a superuser: not created",))
    draft = world.draft()
    world.do(s.DumpGlobals(SET, "db", "databases/globals.sql", ""))
    assert draft.files == [("databases/globals.sql", "globals", "db")]
    assert world.asked("databases.dump_globals") == [
        ("db", Path("/staging"), "databases/globals.sql")
    ]
    world.do(s.CreateRoles(SET, "db", "databases/globals.sql", ("ann",), True, ""))
    script = a_set(SET).path / "databases/globals.sql"
    assert world.asked("databases.create_roles") == [("db", script, ("ann",), {"whole": True})]
    assert world.warned == ["role x is a superuser: not created"]


def contents(rows: int = 2) -> DatabaseContents:
    """What the set recorded, or another number of rows."""
    return DatabaseContents((TableRecord("public", "rules", rows, "1234"),), (), ("0003",))


def test_a_dump_is_loaded_by_its_record_and_compared_with_it() -> None:
    """Whatever differs is listed; what could not be read is not called equal."""
    world = World(databases__load=("a check was left out",))
    source = a_set(SET)
    step = s.LoadDump(SET, "rulesdb", "new", "x.dump", "", not_valid=True)
    assert world.do(step) == "1 restored differently"
    assert world.asked("databases.load") == [
        (
            *(database(), "new", source.path, "x.dump", source.database("rulesdb")),
            {"not_valid": True, "skip_broken": False},
        )
    ]
    assert world.warned == ["rulesdb: a check was left out"]
    assert world.run.eased == {"rulesdb": ("a check was left out",)}
    world.answers["databases.load"] = ()
    assert world.do(step) == ""

    world.do(s.CreateDatabase(SET, "rulesdb", "new", ""))
    assert world.asked("databases.create") == [(database(), "new", source.database("rulesdb"))]

    world.answers["databases.contents"] = contents()
    compare = s.CheckDatabase(SET, "rulesdb", "new", "")
    assert world.do(compare) == "1 tables, 2 rows identical"
    assert (world.run.compared, world.run.uncompared) == ({"rulesdb": (1, 2)}, {})
    world.answers["databases.contents"] = contents(rows=1)
    assert world.fail(compare).details == ("table public.rules has 1 rows instead of 2",)
    unread = replace(contents().tables[0], digest="unread")
    world.answers["databases.contents"] = replace(contents(), tables=(unread,))
    assert world.do(compare) == (
        "1 tables, 2 rows identical except large objects, which only a superuser may read"
    )
    assert world.run.uncompared == {"rulesdb": ("large objects",)}


def test_steps_that_go_by_records_refuse_what_has_none() -> None:
    """A file of another program."""
    world = World()
    world.run.sources = {"file": ImportSource("file", Path("/file"))}
    for step in (
        s.LoadDump("file", "rulesdb", "new", "x", ""),
        s.CheckDatabase("file", "rulesdb", "new", ""),
        s.CreateDatabase("file", "rulesdb", "new", ""),
        s.FinishDatabase("file", "rulesdb", "new", ""),
    ):
        assert world.fail(step).fact == "file is not a set and has no records"
    assert world.calls == []


def test_a_script_of_another_program_is_loaded_and_migrated() -> None:
    """As whoever works in the database."""
    other = replace(database(), user="ann")
    world = World(databases__load_script=(2, 5), databases__working_as=other)
    world.run.sources = {"file": ImportSource("file", Path("/file"))}
    step = s.LoadScript("file", "rulesdb", "new", "x.sql", "")
    assert world.do(step) == "2 tables, 5 rows"
    assert world.run.loaded == {"rulesdb": (2, 5)}
    assert world.asked("databases.load_script") == [(database(), "new", Path("/file/x.sql"))]
    world.do(s.MigrateDatabase("rulesdb", "new", "head", ""))
    assert world.asked("migrator.upgrade") == [(database(), "new", "head", other)]


def rows_world(counted: tuple[str, ...] = ()) -> tuple[World, s.ReplaceRows]:
    """Rows of a set that fit, and the step that loads them."""
    world = World(databases__drift=Drift(()), databases__replace_rows=LoadedRows(1, 2, ("eased",)))
    step = s.ReplaceRows(SET, "rulesdb", "new", "x.dump", counted, False, "", skip_broken=True)
    return world, step


def test_rows_that_fit_are_loaded_and_said_to_be_identical() -> None:
    """Except in tables whose rows were only counted."""
    world, step = rows_world()
    assert world.do(step) == "1 tables, 2 rows identical"
    assert world.run.compared == {"rulesdb": (1, 2)}
    assert world.run.uncompared == {}
    assert world.run.eased == {"rulesdb": ("eased",)}
    *_, check, keywords = world.asked("databases.replace_rows")[0]
    assert keywords == {"not_valid": False, "skip_broken": True}
    check(contents())
    with pytest.raises(QuiesceError, match="database new would differ") as caught:
        check(contents(rows=3))
    assert caught.value.details == ("table public.rules has 3 rows instead of 2",)

    world, step = rows_world(counted=("public.rules",))
    assert world.do(step) == "1 tables, 2 rows identical except public.rules"
    assert world.run.uncompared == {"rulesdb": ("public.rules",)}
    *_, check, _ = world.asked("databases.replace_rows")[0]
    check(replace(contents(), tables=(replace(contents().tables[0], digest="other"),)))


def test_rows_that_do_not_fit_are_not_loaded() -> None:
    """Every reason is listed; `--force` accepts only rows that would be lost."""
    world, step = rows_world()
    world.answers["databases.drift"] = Drift(("a", "b"))
    error = world.fail(step)
    assert error.fact.endswith("cannot be loaded into new: a")
    assert error.details == ("b",)
    assert world.asked("databases.replace_rows") == []
    world.answers["databases.drift"] = Drift((), left=("public.more",))
    assert "table public.more contains rows" in world.fail(step).fact
    world.do(replace(step, force=True))


def test_a_database_is_finished_by_the_settings_of_its_member(tmp_path: Path) -> None:
    """Whom it is given to is said, and which functions lost their rights."""
    source = a_set(SET, tmp_path)
    others = Member("o", "settings", "memorydb", "databases/o.json", 1, "")
    member = Member("s", "settings", "rulesdb", "databases/s.json", 1, "")
    manifest = replace(source.manifest, members=(others, *source.manifest.members, member))
    source = replace(source, manifest=manifest)
    (source.path / "databases").mkdir(parents=True)
    (source.path / "databases/s.json").write_text('["ALTER"]')
    given = Handover("ann", ("bob", "eve"), ("f()",))
    world = World(databases__finish=given)
    world.run.sources = {SET: source}
    step = s.FinishDatabase(SET, "rulesdb", "new", "")
    assert world.do(step) == ("owned by ann, which is not a superuser, and so can bob, eve")
    ((asked, name, record),) = world.asked("databases.finish")
    assert (asked, name, record.settings) == (database(), "new", ("ALTER",))
    assert world.warned[0].startswith("function f() in new was changed from SECURITY DEFINER")
    world.answers["databases.finish"] = replace(given, members=(), invokers=())
    assert world.do(step) == "owned by ann, which is not a superuser"
    world.answers["databases.finish"] = None
    assert world.do(replace(step, set="")) == ""
    assert world.asked("databases.finish")[-1] == (database(), "new", None)
    for wrong in ('{"a": 1}', "[1]", "no JSON"):
        (source.path / "databases/s.json").write_text(wrong)
        assert "does not contain settings of a database" in world.fail(step).fact


# ---------------------------------------------------------------------------------------- sets


def test_the_description_of_the_stack_is_in_the_clear_only_in_a_set_that_is(
    tmp_path: Path,
) -> None:
    """`stack.yaml` may contain anything."""
    (tmp_path / "stack.yaml").write_bytes(b"format: 1\n")
    world = World(runtime__description={"compose.yaml": b"services:\n"})
    world.run.stack = a_stack(tmp_path)
    draft = world.draft()
    world.do(s.RecordStack(SET, ""))
    assert draft.documents == {
        "stack/stack.yaml": b"format: 1\n",
        "stack/compose.yaml": b"services:\n",
    }
    assert (draft.files, world.asked("store.write")) == ([], [])

    world.run.stack = a_stack(tmp_path, recipients=Recipients(("age1",)))
    draft = world.draft()
    world.do(s.RecordStack(SET, ""))
    assert draft.documents == {}
    assert world.asked("store.write") == [
        (RUN, SET, "stack/stack.yaml", b"format: 1\n"),
        (RUN, SET, "stack/compose.yaml", b"services:\n"),
    ]
    assert draft.files == [("stack/stack.yaml", "stack", ""), ("stack/compose.yaml", "stack", "")]


def encrypted(run: str, name: str, plain: Measured, recipients: Recipients) -> Measured:
    """What the store makes of a member."""
    member = plain.member
    kept = Plain(member.file, member.bytes, member.sha256)
    return Measured(replace(member, file=f"{member.file}.age", plain=kept), (2,))


def test_every_member_is_encrypted_once_and_private_facts_leave_the_manifest() -> None:
    """They are in a member of their own, which is encrypted like the others."""
    world = World(store__encrypt=encrypted)
    world.run.stack = a_stack(recipients=Recipients(("age1",)))
    draft = world.draft()
    draft.files.append(("a.dump", "database", "rulesdb"))
    draft.databases.append(a_set().database("rulesdb"))
    assert world.do(s.EncryptSet(SET, "")) == "1 members"
    names = [plain.member.file for _, _, plain, _ in world.asked("store.encrypt")]
    assert names == ["a.dump", "private.json"]
    world.answers["store.seal"] = a_set(SET)
    world.answers["runtime.images"] = {}
    world.do(s.SealSet(SET, ""))
    assert len(world.asked("store.encrypt")) == 2
    ((_, manifest, documents, measured),) = world.asked("store.seal")
    assert manifest.encryption == "age"
    assert [member.file for member in manifest.members] == ["a.dump.age", "private.json.age"]
    assert all(table.digest != "1234" for table in manifest.databases[0].tables)
    assert len(measured) == 2
    assert b"The members are encrypted" in documents["RESTORE.md"]


def test_a_set_is_sealed_with_what_was_seen_of_the_run() -> None:
    """Its manifest says what it is, and whether it is consistent."""
    world = World(store__seal=a_set(SET), runtime__images={"db": "pg"}, store__open=Path("/s"))
    measured = Measured(Member("a", "database", "rulesdb", "a.dump", 1, "0"), (1,))
    world.answers["store.measure"] = measured
    world.seconds = 2.0
    opened = s.OpenSet(SET, "full", "consistent", "a label", True, ("db",), ("backend",), "")
    world.do(opened)
    assert world.asked("store.open") == [(RUN, SET)]
    draft = world.run.drafts[SET]
    draft.files.append(("a.dump", "database", "rulesdb"))
    draft.inconsistencies += ["", "redis ran", "web ran"]
    draft.doubts += ["", "housekeeping"]
    draft.databases.append(a_set().database("rulesdb"))
    world.seconds = 5.5
    assert world.do(s.SealSet(SET, "")) == f"/stack/backups/{SET}"
    assert world.asked("store.measure") == [(RUN, SET, "a.dump", "database", "rulesdb")]
    ((run, manifest, documents, given),) = world.asked("store.seal")
    assert (run, given, documents.keys()) == (RUN, (measured,), {"RESTORE.md"})
    assert (manifest.consistent, manifest.inconsistency) == (False, "redis ran; web ran")
    assert (manifest.doubt, manifest.encryption) == ("housekeeping", "")
    assert (manifest.duration_seconds, manifest.created_at) == (3.5, NOW)
    assert (manifest.label, manifest.pinned, manifest.safety) == ("a label", True, False)
    assert manifest.services_running_before == ("db",)
    assert manifest.services_stopped == ("backend",)
    assert manifest.images == {"db": "pg"}
    assert manifest.databases[0].tables[0].digest == "1234"
    assert world.run.published == [a_set(SET)]

    world.draft(mode="live")
    world.do(s.SealSet(SET, ""))
    live = world.asked("store.seal")[1][1]
    assert (live.consistent, live.inconsistency) == (False, "services were not stopped")
    world.draft()
    world.do(s.SealSet(SET, ""))
    assert world.asked("store.seal")[2][1].consistent


def test_what_a_verification_found_is_remembered_before_it_is_told() -> None:
    """A damaged set is never the newest good one."""
    world = World(store__verify=(), store__sets=(a_set("other"),))
    world.run.published.append(a_set(SET))
    assert world.do(s.VerifySet(SET, "")) == "4 members good"
    assert world.asked("store.remember") == [(SET, SetState().checked("sums", NOW, good=True))]
    world.answers["store.verify"] = ("a.dump: wrong sum",)
    error = world.fail(s.VerifySet("other", ""), CheckFailed)
    assert (error.fact, error.details) == ("set other is damaged", ("a.dump: wrong sum",))
    name, state = world.asked("store.remember")[1]
    assert (name, state.verified_good) == ("other", False)


def test_a_mark_of_a_set_changes_nothing_else_of_it() -> None:
    """And a set that is gone meanwhile is said to be."""
    state = SetState(verified_good=True, pushed={"nas": NOW})
    backup = replace(a_set(SET), state=state)
    world = World(store__sets=(a_set("other"), backup))
    world.do(s.PinSet(SET, True, ""))
    world.do(s.PinSet(SET, False, ""))
    world.do(s.AcceptSet(SET, ""))
    assert world.asked("store.remember") == [
        (SET, replace(state, pinned=True)),
        (SET, replace(state, pinned=False)),
        (SET, replace(state, accepted=True)),
    ]
    assert world.fail(s.PinSet("gone", True, ""), RequestError).fact == (
        "set gone no longer exists"
    )


# ----------------------------------------------------------------- retention and other stores


def test_sets_that_expired_go_unless_the_new_one_looks_like_a_loss() -> None:
    """The user says then whether that is right."""
    before, small = a_set("before"), a_set("new", databases=("rulesdb",), volumes=("redis-data",))
    step = s.RemoveExpired(("old", "older"), "new", "before", "")
    world = World(store__sets=(before, small))
    assert world.do(step) == "held back"
    assert world.asked("store.remove") == []
    assert world.warned[0].startswith("nothing was pruned: new ")
    accepted = replace(small, state=SetState(accepted=True))
    for there in ((before, accepted), (before, a_set("new")), (small,), (before,)):
        world = World(store__sets=there)
        assert world.do(step) == "2 removed"
        assert world.asked("store.remove") == [("old",), ("older",)]
        assert world.warned == []


def test_what_was_sent_is_remembered_on_top_of_what_changed_meanwhile() -> None:
    """A set may be pinned while it is uploaded."""
    world = World()
    pinned = replace(a_set(SET), state=SetState(pinned=True, pushed={"nas": NOW}))
    there = iter([a_set(SET), pinned])
    world.answers["store.sets"] = lambda: (next(there),)
    world.answers["offsite.push"] = True
    step = s.PushSet(SET, "away", "")
    assert world.do(step) == ""
    ((store, backup, _),) = world.asked("offsite.push")
    assert (store, backup) == ("away", a_set(SET))
    assert world.asked("store.remember") == [
        (SET, SetState(pinned=True, pushed={"nas": NOW, "away": NOW}))
    ]
    world.answers |= {"store.sets": (a_set(SET),), "offsite.push": False}
    assert world.do(step) == "already there"


@pytest.mark.parametrize("hint", ["", "mend it"])
def test_a_set_that_cannot_be_sent_was_made_all_the_same(hint: str) -> None:
    """What to do is the store's own hint, or to wait for the next backup."""
    world = World(store__sets=(a_set(SET),), offsite__push=QuiesceError("full", hint))
    error = world.fail(s.PushSet(SET, "away", ""))
    assert error.fact == f"{SET} was made, but could not be uploaded to away: full"
    assert error.hint == (hint or "run 'inv push' later; the next backup uploads it as well")
    assert world.asked("store.remember") == []


def in_store(name: str, days: int, amount: int = 100) -> OffsiteSet:
    """A set in a store, so many days old."""
    return OffsiteSet(
        1, name, "core", NOW - timedelta(days=days), "full", ("rulesdb",), False, "",
        (OffsiteObject("a", "a", amount, ""),), amounts={"bytes media": amount},
    )  # fmt: skip


def store_world(*there: OffsiteSet, keep: int | None = 2) -> World:
    """A run whose stack has the stores nas and away, `there` being in away."""
    trust = {"offsite.trust": "signed", "offsite.accepted": frozenset()}
    world = World(offsite__sets=there, store__sets=())
    world.answers |= {**trust, "offsite.damaged": frozenset()}
    retention = Retention("few", keep_last=keep) if keep is not None else None
    stores = (
        OffsiteStore("nas", "file:///nas"),
        OffsiteStore("away", "file:///away", retention=retention),
    )
    world.run.stack = a_stack(stores=stores)
    return world


def test_a_store_is_pruned_by_its_own_rules() -> None:
    """The oldest first; a store without rules keeps everything."""
    there = [in_store(f"set-{days}", days) for days in (4, 3, 2, 1)]
    world = store_world(*there)
    assert world.do(s.PruneStore("away", "")) == "2 removed"
    assert world.asked("offsite.remove") == [("away", "set-4"), ("away", "set-3")]
    world = store_world(*there, keep=None)
    assert world.do(s.PruneStore("away", "")) == "no rules"
    assert world.asked("offsite.remove") == []


def test_a_set_in_a_store_that_looks_like_a_loss_keeps_the_older_ones() -> None:
    """Until it is accepted, which is remembered for that store."""
    there = [in_store("good-1", 4, 10**9), in_store("good-2", 3, 10**9)]
    there += [in_store("small-1", 2), in_store("small-2", 1)]
    world = store_world(*there)
    assert world.do(s.PruneStore("away", "")) == "0 removed"
    assert "older sets are kept because" in world.warned[0]
    assert world.asked("offsite.remove") == []
    assert world.asked("offsite.accept") == []
    world = store_world(*there)
    world.answers["offsite.trust"] = "unsigned"
    assert world.do(s.PruneStore("away", "", force=True)) == "2 removed"
    assert world.asked("offsite.remove") == [("away", "good-1"), ("away", "good-2")]
    assert world.asked("offsite.accept")[0] == ("away", "small-1")


def test_a_set_is_pulled_into_a_folder_of_the_run_and_known_to_be_in_that_store() -> None:
    """Its sums were compared on the way."""
    world = store_world(in_store("other", 2), in_store(SET, 1))
    adopted = replace(a_set(SET), state=SetState(pushed={"nas": NOW}))
    world.answers |= {
        "store.open": Path("/runs/pulled"),
        "offsite.pull": Path("/runs/pulled/x"),
        "store.adopt": adopted,
    }
    assert world.do(s.PullSet(SET, "away", "")) == str(adopted.path)
    assert world.asked("offsite.sets") == [("away",)]
    assert world.asked("store.open") == [(RUN, "pulled")]
    assert world.asked("offsite.pull")[0][:3] == ("away", SET, Path("/runs/pulled"))
    assert world.asked("store.adopt") == [(Path("/runs/pulled/x"),)]
    state = adopted.state.checked("sums", NOW, good=True)
    assert world.asked("store.remember") == [
        (SET, replace(state, pushed={"nas": NOW, "away": NOW}))
    ]
    assert world.run.published == [adopted]
    assert world.fail(s.PullSet("gone", "away", "")).fact == "gone is no longer in away"
    world.answers["offsite.trust"] = "unsigned"
    world.calls.clear()
    world.fail(s.PullSet(SET, "away", ""))
    assert world.asked("offsite.pull") == []
    world.do(s.PullSet(SET, "away", "", unsigned=True))


def test_what_nobody_declared_is_looked_for_again_and_reported_once_the_set_is_published() -> None:
    """What was found at the start counts, too, and all of it if nobody can look again."""
    early = Undeclared("database", "early", "is there", "declare it")
    world = World(databases__undeclared=("late", "left"))
    draft = world.draft()
    step = s.FindUndeclared(SET, ("database",), (early,), ("left",), "")
    words = world.do(step)
    assert [one.name for one in draft.undeclared] == ["early", "late"]
    assert "late" in words
    assert "left" not in words
    ((asked,),) = world.asked("databases.undeclared")
    assert [one.key for one in asked] == ["rulesdb", "memorydb"]
    world.do(replace(step, data=("volume",)))
    assert len(world.asked("databases.undeclared")) == 1
    assert draft.undeclared == ()
    world.answers["databases.undeclared"] = QuiesceError("no answer")
    assert world.do(step) == ""
    assert draft.undeclared == (early,)
    assert world.warned == [
        "cannot look again for data that stack.yaml does not mention: no answer"
    ]
    world.answers["databases.undeclared"] = Interrupted(2)
    world.fail(step, Interrupted)

    world.run.published += [a_set(SET), a_set("other", undeclared=(early,))]
    assert world.do(s.CheckUndeclared(SET, "")) == ""
    error = world.fail(s.CheckUndeclared("other", ""), CheckFailed)
    assert error.hint.startswith("declare it; ")
    assert len(error.details) == 1


# ------------------------------------------------------------------------- servers that answer


def test_a_server_is_up_once_it_answers_and_counts_as_down_until_then() -> None:
    """In what is left of the time; it is asked for one of its databases, the first."""
    world = World(runtime__wait_healthy={"db": 1.0, "redis": 2.0})

    def answers(*_: Any) -> str:
        world.seconds += 3.0
        return ""

    world.answers["databases.await_answer"] = answers
    for name in ("db", "redis"):
        world.run.downtime.stopping(name, 0.0)
    world.do(s.WaitHealthy(UNITS[:2], 9.0, ""))
    assert world.run.downtime.result() == Downtime(3.0, {"db": 3.0, "redis": 2.0})
    ((asked, left, require_up),) = world.asked("databases.await_answer")
    assert (asked, left) == (database(), 9.0)
    world.calls.clear()
    require_up()
    world.seconds = 8.0
    require_up()
    calls = [(units, left) for units, left, _ in world.asked("runtime.wait_healthy")]
    assert calls == [([UNITS[0]], 6.0), ([UNITS[0]], 5.0)]
    assert (world.warned, world.run.unasked) == ([], set())
    world.do(s.WaitHealthy((replace(UNITS[0], state="paused"), UNITS[1]), 9.0, ""))
    assert world.asked("databases.await_answer") == []


def test_no_time_is_left_for_an_answer_after_all_of_it() -> None:
    """One question is asked all the same."""
    world = World()

    def slow(*_: Any) -> dict[str, float]:
        world.seconds = 20.0
        return {}

    world.answers["runtime.wait_healthy"] = slow
    world.do(s.WaitHealthy(UNITS[:1], 9.0, ""))
    ((_, left, _),) = world.asked("databases.await_answer")
    assert left == 0.0


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
