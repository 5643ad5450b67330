"""Edges of planners: the last that is, and the first that is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from quiesce.errors import RequestError
from quiesce.model import Command, OffsiteObject, OffsiteSet, OffsiteStore, Retention, SetState
from quiesce.observed import (
    Activity,
    Address,
    ExternalSession,
    ForeignMount,
    Mount,
    Observed,
    ProjectResources,
)
from quiesce.plan import clean, offsite, outcome, retention
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.backup_db import BackupDbRequest, plan_backup_db
from quiesce.plan.cold import database_volumes, plan_cold, select_volumes
from quiesce.plan.foreign_mounts import foreign_hint, refuse_foreign_mounts
from quiesce.plan.migrate import plan_migrate
from quiesce.plan.naming import staging_database
from quiesce.plan.pending import without_decided
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.retention import Candidate
from quiesce.plan.schedule import NotATiming, last_before, parse
from quiesce.plan.services import plan_down
from quiesce.plan.set_ref import SetRef
from quiesce.plan.shutdown import ShutdownRequest, plan_shutdown, plan_stop_all
from quiesce.plan.staging import plan_beside
from quiesce.plan.timers import Call, Place, on_calendar, unit_files
from tests.support.builders import (
    NOW,
    ORDER,
    RUN,
    a_cleanable_stack,
    a_set,
    a_stack,
    a_stack_with_folders,
    a_world,
    a_world_with_folders,
    restarting_always,
)

UTC = ZoneInfo("UTC")
GROUP = ("core", "full", ("rulesdb",), False)


def kinds(plan: s.Plan) -> list[str]:
    """The kinds of its steps, in order."""
    return [type(step).__name__ for _, step in s.steps_of(plan.nodes)]


# -------------------------------------------------------------------------------------- cleaning

NOTHING = a_world(dict.fromkeys(ORDER))


@pytest.mark.parametrize(
    ("world", "resources", "removed"),
    [
        (NOTHING, ProjectResources(), False),
        (NOTHING, ProjectResources(("a",)), True),
        (NOTHING, ProjectResources((), ("net",)), True),
        (a_world(dict.fromkeys(ORDER, "exited")), ProjectResources(), True),
        (a_world({**dict.fromkeys(ORDER), "db": "exited"}), ProjectResources(), True),
        (a_world(), ProjectResources(), True),
    ],
)
def test_a_project_is_removed_if_anything_of_it_is_there(
    world: Observed, resources: ProjectResources, removed: bool
) -> None:
    """A container that is down, a network alone."""
    stack = a_cleanable_stack()
    plan = clean.plan_clean(stack, world, resources, RUN, "clean")
    assert ("RemoveProject" in kinds(plan)) == removed
    world = replace(world, volumes=())
    plan = clean.plan_clean_all(stack, world, resources, RUN, force=False)
    assert ("RemoveProject" in kinds(plan)) == removed
    assert ("EmptyPath" in kinds(plan)) == removed


def test_a_mount_that_is_no_path_is_in_no_folder() -> None:
    """The name of a volume may look like the beginning of one."""
    assert clean._overlap("/stack/logs/a", Path("/stack/logs"))
    assert clean._overlap("/stack", Path("/stack/logs"))
    assert not clean._overlap("/other", Path("/stack/logs"))
    assert not clean._overlap("logs", Path("logs/a"))


def test_a_volume_is_removed_for_what_it_is() -> None:
    """Its purpose, or how much it matters."""
    stack = a_stack()
    state = a_world().volume("redis-data")
    assert clean._purpose(stack, state) == "redis data"
    bare = replace(stack, volumes=tuple(replace(v, purpose="") for v in stack.volumes))
    assert clean._purpose(bare, state) == "important"


def test_marked_folders_are_emptied_when_nothing_else_is_left() -> None:
    """Neither a container nor a volume."""
    stack = a_stack_with_folders()
    world = a_world_with_folders(dict.fromkeys(ORDER))
    world = replace(world, volumes=tuple(v for v in world.volumes if v.is_folder))
    plan = clean.plan_clean_all(stack, world, ProjectResources(), RUN, force=False)
    assert kinds(plan) == ["EmptyVolume", "EmptyVolume"]


def test_containers_go_because_a_volume_goes_even_if_a_folder_is_emptied_as_well() -> None:
    """A plan with only one of the two reasons would be half true."""
    stack, world = a_stack_with_folders(), a_world_with_folders()
    volumes = tuple(
        replace(v, backup="by-dump") if v.key == "redis-data" else v for v in stack.volumes
    )
    plan = clean.plan_nuke(replace(stack, volumes=volumes), world, RUN, force=False)
    (step,) = (step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.RemoveServices))
    assert step.why == "a volume in use cannot be removed"


# ------------------------------------------------------------------------------ small selections


def test_numbers_of_names_begin_with_two() -> None:
    """A name that is free has none; one of 63 bytes is cut once."""
    plan = plan_backup_db(
        a_stack(), a_world(), BackupDbRequest(("rulesdb",)), RUN, NOW,
        {"rulesdb-20261121-010000.sql"},
    )  # fmt: skip
    (step,) = (step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.WriteScript))
    assert step.file == "rulesdb-20261121-010000-2.sql"
    ending = "__new_abc123"
    exact = "x" * (63 - len(ending))
    assert staging_database(exact, RUN, "new", ()) == exact + ending
    with pytest.raises(RequestError, match="exists already"):
        staging_database(exact, RUN, "new", {exact + ending})
    beside = plan_beside(
        a_stack(), a_world(), a_set(), a_stack().databases[:1],
        RestoreRequest(beside="y" * 63), RestoreInputs(), RUN,
    )  # fmt: skip
    assert beside.nodes
    for databases, held in ((a_stack().databases, "rulesdb, memorydb"), ((), "none")):
        with pytest.raises(RequestError, match=f"contains {held}$"):
            plan_beside(
                a_stack(), a_world(), a_set(), databases,
                RestoreRequest(beside="y"), RestoreInputs(), RUN,
            )  # fmt: skip


def test_a_cold_copy_of_named_volumes_has_those_alone() -> None:
    """In the order of stack.yaml."""
    chosen = select_volumes(a_stack(), a_world(), ("backend-media", "redis-data"))
    assert [v.key for v in chosen] == ["redis-data", "backend-media"]
    missing = a_world(missing_volumes=["redis-data"])
    assert "redis-data" not in {v.key for v in select_volumes(a_stack(), missing, ())}


def test_a_migration_needs_its_server() -> None:
    """It would fail half way."""
    with pytest.raises(RequestError, match="cannot be reached"):
        plan_migrate(a_stack(), a_world({"db": "exited"}), RUN, ("rulesdb",), "head")


def test_who_is_kept_is_checked_before_anything_stops() -> None:
    """Unknown names, and what a kept service needs."""
    world, stack = a_world(), a_stack()
    for kept in (("unknown",), ("backend",)):
        request = ShutdownRequest(force=True, keep_running=kept)
        for plan in (
            lambda request=request: plan_shutdown(stack, world, request, RUN, "core-1"),
            lambda request=request: plan_stop_all(stack, world, request, RUN),
        ):
            with pytest.raises(RequestError):
                plan()
    fine = ShutdownRequest(force=True, keep_running=("redis", "db"))
    stopped = [
        unit.service
        for _, step in s.steps_of(plan_stop_all(stack, world, fine, RUN).nodes)
        if isinstance(step, s.StopServices)
        for unit in step.units
    ]
    assert stopped == ["proxy", "frontend", "backend"]


def test_a_stack_without_databases_is_shut_down_with_its_files() -> None:
    """A set of nothing would be no set. It is not pinned."""
    for stack, full in ((a_stack(), False), (replace(a_stack(), databases=()), True)):
        plan = plan_shutdown(stack, a_world(), ShutdownRequest(), RUN, "core-1")
        (opened,) = (step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.OpenSet))
        assert (opened.kind, opened.pinned) == ("full" if full else "data", False)


def test_services_that_go_take_their_dependents_with_them() -> None:
    """Each once, in order."""
    plan = plan_down(a_stack(), a_world({"frontend": "exited"}), RUN, ("backend",))
    (step,) = (step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.RemoveServices))
    assert set(step.services) >= {"backend", "proxy"}
    assert not {"db", "redis"} & set(step.services)


def test_a_removed_project_decides_about_every_service() -> None:
    """Nothing of it is to be started later."""
    start = s.StartServices(a_world().running, 60.0, "they ran")
    discard = s.DiscardStaging("clean up")
    removed = s.Plan(RUN, "clean", "core", "x", "0", "E", (s.RemoveProject("x"),))
    assert without_decided((start, discard), removed) == (discard,)


def test_latest_safety_means_safety_sets_alone() -> None:
    """And no other word means one."""
    assert SetRef(narrowed="safety").fits("full", (), safety=True)
    assert not SetRef(narrowed="safety").fits("full", ("safety",), safety=False)
    assert not SetRef().fits("full", (), safety=True)


# --------------------------------------------------------------------------------------- outcome


def test_a_limit_that_is_just_kept_is_kept() -> None:
    """And a downtime of nothing is no downtime."""
    assert outcome.recent_downtime([]) == ()
    none = replace(a_set().manifest, downtime_seconds=replace(a_set().manifest.downtime_seconds,
                                                              overall=0.0))  # fmt: skip
    assert outcome.recent_downtime([replace(a_set(), manifest=none), a_set()]) == (3.2,)
    session = ExternalSession(1, "d", "u", "")
    assert outcome.session_words(session).startswith("a client (user u")
    assert outcome.external_sessions(Activity((session,), (), maintenance=False), ()) == (session,)
    assert outcome.ended_sessions(()) == ""
    assert "until the exchange" in outcome.ended_sessions((session,))


def test_a_writer_is_one_that_runs_or_can_write_to_any_of_the_volumes() -> None:
    """One replica of two, one mount of two."""
    world = a_world()
    step = s.CheckStopped("set", (), ("backend-media",), (), "")
    backend = world.service("backend")
    down = replace(backend.units[0], id="second", state="exited")
    mixed = replace(backend, units=(down, backend.units[0]))
    assert outcome.running_writers([mixed], (), (), step) == ("backend",)
    reading = Mount("backend-media", "x", "/x", False)
    services = [replace(backend, mounts=(reading,))]
    assert outcome.running_writers(services, (), (), step) == ()


def test_who_was_started_again_has_looked_up_the_address_again() -> None:
    """As has who is gone, or is in another network."""
    before = replace(a_world().service("db").units[0], addresses=(Address("n", "1"),))
    now = replace(before, addresses=(Address("n", "2"),))
    beside = replace(a_world().service("proxy").units[0], addresses=(Address("n", "9"),))
    elsewhere = replace(beside, addresses=(Address("other", "9"),))
    again = replace(beside, started_at=NOW)
    db, proxy = a_world().service("db"), a_world().service("proxy")

    def moved(known: Any, present: tuple[Any, ...]) -> int:
        step = s.CheckAddresses((before,), (known,), "")
        services = [replace(db, units=(now,)), replace(proxy, units=present)]
        return len(outcome.moved_addresses(step, services))

    assert moved(beside, (beside,)) == 1
    assert moved(beside, (again,)) == 0
    assert moved(beside, ()) == 0
    assert moved(elsewhere, (elsewhere,)) == 0


# ------------------------------------------------------------------------------------- retention


def a_candidate(name: str, days: float, **fields: Any) -> Candidate:
    """A good set, so many days old."""
    return replace(Candidate(name, GROUP, NOW - timedelta(days=days)), **fields)


def decided(*sets: Candidate, **rules: Any) -> dict[str, tuple[str, ...]]:
    """Why each is kept."""
    return dict(retention.decide(sets, Retention("p", **rules), NOW, UTC))


def rows(count: int) -> dict[tuple[str, str], int]:
    """So many rows."""
    return {("rows", "rulesdb"): count}


def test_each_guard_says_why_a_set_stays() -> None:
    """The first that applies; `held back` for the doubtful set and what is older."""
    sets = (
        a_candidate("now", 0),
        a_candidate("newer", 1, amounts=rows(10)),
        a_candidate("loss", 2, amounts=rows(10)),
        a_candidate("before", 3, amounts=rows(1000)),
        a_candidate("unsent", 4, pending=("nas",)),
    )
    found = decided(*sets, keep_last=1)
    assert found["now"] == ("keep_last",)
    assert found["newer"] == ()
    assert found["loss"] == found["before"] == ("held back",)
    assert found["unsent"] == ("not in nas yet",)
    damaged = a_candidate("damaged", 0, verified=False)
    found = decided(damaged, a_candidate("good", 1), a_candidate("floor", 2), keep_daily=0)
    assert found["good"] == ("newest verified",)
    assert found["floor"] == ("floor",)
    same_age = a_candidate("old-damaged", 2, verified=False)
    younger = decided(a_candidate("a", 1), a_candidate("b", 2), same_age, keep_last=2)
    assert younger["old-damaged"] == ("damaged: removed only after all older good sets",)
    safety = ("core", "full", ("rulesdb",), True)
    bad = [a_candidate(f"s{n}", 20 + n, group=safety, verified=n != 1 and None) for n in range(6)]
    kept = [name for name, why in decided(*bad, keep_last=1).items() if why]
    assert "s1" not in [n for n in kept if "keep_last" in decided(*bad, keep_last=1)[n]]


def test_a_loss_further_back_is_found_behind_one_that_was_accepted() -> None:
    """Each pair is compared."""
    sets = (
        a_candidate("a", 1, amounts=rows(10)),
        a_candidate("b", 2, amounts=rows(1000), accepted=True),
        a_candidate("c", 3, amounts=rows(1000)),
    )
    assert [one.name for one in retention.suspicions(sets, NOW)] == ["a"]
    sets = (
        a_candidate("a", 1, amounts=rows(10), accepted=True),
        a_candidate("b", 2, amounts=rows(1000)),
        a_candidate("c", 3, amounts=rows(9000)),
    )
    assert [one.name for one in retention.suspicions(sets, NOW)] == ["b"]
    last = (a_candidate("y", 1, amounts=rows(1)), a_candidate("x", 0, amounts=rows(0)))
    assert retention.loss(*last).startswith("contains 0 rows of rulesdb"), "the only one"
    unknown = a_candidate("x", 0, amounts=None)
    assert retention.loss(a_candidate("y", 1, amounts=rows(9)), unknown) == ""
    sizes = [a_candidate("y", 1, amounts=rows(9), stored={"volumes/a": 10**9})]
    sizes.append(a_candidate("x", 0, stored={"volumes/a": 1}))
    assert "stored bytes" in retention.loss(*sizes)


def test_a_set_waits_for_the_stores_that_lack_it() -> None:
    """A safety set waits for none."""
    stores = [OffsiteStore("nas", "file:///a"), OffsiteStore("away", "file:///b")]
    backup = replace(a_set(), state=SetState(pushed={"nas": NOW}))
    assert retention.candidate(backup, stores).pending == ("away",)
    safety = replace(backup, manifest=replace(backup.manifest, safety=True))
    assert retention.candidate(safety, stores).pending == ()


def in_store(**fields: Any) -> OffsiteSet:
    """The example set in a store, as an earlier version described it."""
    manifest = a_set().manifest
    found = OffsiteSet(
        1, manifest.name, "core", manifest.created_at, "full", ("x",), False, "age", ()
    )
    return replace(found, **fields)


def test_facts_of_the_set_here_count_only_for_the_set_that_is_there() -> None:
    """Its name alone proves nothing."""
    manifest = a_set().manifest
    objects = tuple(
        OffsiteObject(member.file, member.file, 5, member.sha256) for member in manifest.members
    )
    here = replace(a_set(), state=SetState(accepted=True, pushed={"away": NOW}))
    same, other = in_store(objects=objects), in_store(objects=())

    def facts(found: OffsiteSet, backup: Any = here, trust: Any = "unsigned", accepted: Any = ()):
        (one,) = offsite.candidates([found], [backup], "away", {found.name: trust}, accepted)
        return one

    assert facts(same).accepted
    assert not facts(other).accepted
    assert facts(other, accepted=(other.name,)).accepted
    assert not facts(same, replace(here, state=SetState(pushed={"away": NOW}))).accepted
    assert not facts(same).stranger
    assert facts(same, replace(here, state=SetState())).stranger, "it was not sent from here"
    assert facts(same, trust="foreign").stranger
    assert facts(other).stranger
    assert facts(same).amounts is None, "its sources have pseudonyms there"
    assert facts(replace(same, encryption="")).amounts == here.amounts
    given = replace(same, encryption="", amounts={"rows x": 3})
    assert facts(given).amounts == {("rows", "x"): 3}


def test_bytes_in_a_store_are_those_of_databases_and_volumes() -> None:
    """By their names; documents say nothing of a loss."""
    names = ("databases/a.dump", "volumes/b.0.tar", "volumes/b.1.tar", "stack/x", "RESTORE.md")
    found = in_store(
        objects=tuple(OffsiteObject(name, name, 5, "") for name in (*names, "volumes/"))
    )
    assert offsite._stored_bytes(found) == {"databases/a": 5, "volumes/b": 10}


# -------------------------------------------------------------------------------------- schedule


@pytest.mark.parametrize(
    "text",
    ["foo 1 2 3 4 full", "0 2 * full", "x", "weekly"],
)
def test_what_is_neither_words_nor_cron_is_told(text: str) -> None:
    """Whatever it begins with."""
    with pytest.raises(NotATiming, match=r"is not a cron expression|does not name a job"):
        parse(text)


def test_cron_runs_on_a_day_or_a_weekday() -> None:
    """Either is enough where both are given, whichever comes last."""
    now = datetime(2026, 11, 21, 8, 0)  # noqa: DTZ001  a Saturday
    found = last_before("0 5 20 * 1", now)
    assert found == datetime(2026, 11, 20, 5, 0)  # noqa: DTZ001
    assert parse("daily 2:05 full").cron == "5 2 * * *"


@pytest.mark.parametrize(
    ("cron", "expressions"),
    [
        ("0 2 * * */2", ("Sun,Tue,Thu,Sat *-*-* 02:00:00",)),
        ("0 2 1 * */2", ("Sun,Tue,Thu,Sat *-*-01 02:00:00",)),
        ("0 2 1 * 0-6", ("*-*-01 02:00:00", "Sun,Mon,Tue,Wed,Thu,Fri,Sat *-*-* 02:00:00")),
        ("0 2 */2 * 1", ("Mon *-*-01,03,05,07,09,11,13,15,17,19,21,23,25,27,29,31 02:00:00",)),
    ],
)
def test_a_step_over_all_days_is_no_choice_of_days(cron: str, expressions: tuple[str]) -> None:
    """As for cron."""
    assert on_calendar(cron) == expressions


def test_names_of_units_do_not_change_between_versions() -> None:
    """A new version replaces those of the old one."""
    place = Place("my.core", "/srv/stack", "/log", "boot")
    assert place.stem == "quiesce-my-core-" + place.stem[-6:]
    assert len(place.stem) == len("quiesce-my-core-") + 6
    timed = [("daily full", "0 2 * * *", Call(("/srv/inv", "backup"), {}))]
    assert f"{place.stem}-1-backup.timer" in unit_files(place, timed, Call(("i", "recover"), {}))


# --------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("planner", [plan_backup, plan_cold])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_command_on_one_side_alone_is_run(when: str, planner: Callable[..., s.Plan]) -> None:
    """Also where nothing stops, and around a cold copy."""
    stack = replace(a_stack(), **{when: (Command("db", ("true",), 5.0),)})
    quiet = a_world(dict.fromkeys(("redis", "backend", "frontend", "proxy"), "exited"))
    found = kinds(planner(stack, quiet, BackupRequest(), RUN, "core-1"))
    assert found.count("RunCommand") == 1


def test_a_database_server_is_never_stopped_for_its_own_dump() -> None:
    """Not even if `writers` names it: its snapshot would be lost."""
    plan = plan_backup(a_stack(writers=("db",)), a_world(), BackupRequest(), RUN, "core-1")
    (stop,) = (step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.StopServices))
    assert "db" not in {unit.service for unit in stop.units}


@pytest.mark.parametrize(
    ("only", "stops", "checked"),
    [
        (("rulesdb",), False, False),
        (("redis-data",), True, False),
        (("rulesdb", "memorydb"), True, True),
        (("rulesdb", "redis-data"), True, True),
    ],
)
def test_one_database_alone_is_consistent_by_its_snapshot(
    only: tuple[str, ...], stops: bool, checked: bool
) -> None:
    """With anything else, services stop, and the last snapshot shows who else writes. The safety
    set of a restore is checked in the same way."""
    request = BackupRequest(only=only)
    found = kinds(plan_backup(a_stack(), a_world(), request, RUN, "core-1"))
    assert ("StopServices" in found, "CheckIdle" in found) == (stops, checked)
    wanted = RestoreRequest(only=only, safety_first=True)
    plan = plan_restore(a_stack(), a_world(), a_set(), wanted, RestoreInputs(), RUN, "core-2")
    assert ("CheckIdle" in kinds(plan)) == checked


def test_a_downtime_is_judged_only_if_something_stops() -> None:
    """A live backup has none."""
    stack = a_stack(max_downtime=5.0)
    for mode, judged in (("consistent", True), ("live", False)):
        plan = plan_backup(stack, a_world(), BackupRequest(mode=mode), RUN, "core-1")
        assert ("CheckDowntime" in kinds(plan)) == judged


def test_the_server_of_a_cold_copy_is_the_one_that_writes_the_volume() -> None:
    """Not a server of another database that only reads it. It may have other volumes as well."""
    stack, world = a_stack(), a_world()
    databases = (*stack.databases, replace(stack.databases[0], key="more", service="backend"))
    postgres = Mount("postgres-data", "app-postgres-data", "/data", True)
    mounts = {
        "backend": (replace(postgres, writable=False),),
        "db": (Mount("proxy-logs", "app-proxy-logs", "/logs", True), postgres),
    }
    services = tuple(replace(one, mounts=mounts.get(one.name, ())) for one in world.services)
    found = database_volumes(
        replace(stack, databases=databases), replace(world, services=services), stack.volumes[:1]
    )
    assert found == (("db", stack.volumes[0]),)


def test_who_starts_everything_starts_who_must_not_run() -> None:
    """No name means every service; no unit means nobody."""
    mount = ForeignMount("twin-redis-1", "twin", "redis-data")
    world = a_world()
    services = tuple(
        replace(one, foreign_mounts=(mount,)) if one.name == "redis" else one
        for one in world.services
    )
    world = replace(world, services=services)

    def plan(*nodes: s.Node) -> s.Plan:
        return s.Plan(RUN, "up", "core", "x", "0", "E", nodes)

    for refused in (s.UpServices((), False, ""), s.UpServices(("db", "redis"), False, "")):
        with pytest.raises(RequestError, match="which service redis writes to"):
            refuse_foreign_mounts(world, plan(refused))
    for allowed in (s.UpServices(("db",), False, ""), s.StartServices((), 1.0, "")):
        refuse_foreign_mounts(world, plan(allowed))
    some = [world.service("db"), replace(world.service("redis"), units=())]
    none = [replace(one, units=()) for one in some]
    assert foreign_hint(mount, some) == mount.hint(alone=False)
    assert foreign_hint(mount, none) == mount.hint(alone=True)


def test_a_cold_copy_keeps_the_engine_from_starting_anything() -> None:
    """A reboot meanwhile would start servers while their files are copied. In a consistent backup
    it only makes the run fail, so the engine's settings are left alone."""
    world = restarting_always(a_world())
    plan = plan_cold(a_stack(), world, BackupRequest(mode="cold"), RUN, "core-1")
    assert "HoldRestart" in kinds(plan)
    plan = plan_backup(a_stack(), world, BackupRequest(), RUN, "core-1")
    assert "HoldRestart" not in kinds(plan)
