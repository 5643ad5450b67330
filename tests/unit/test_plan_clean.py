"""What cleaning refuses, and whom it stops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quiesce.errors import RequestError
from quiesce.observed import Mount, Observed, ProjectResources
from quiesce.plan import steps as s
from quiesce.plan.clean import plan_clean, plan_clean_all, plan_empty, plan_nuke
from quiesce.plan.shutdown import ShutdownRequest, plan_shutdown
from quiesce.plan.steps import Plan, steps_of
from tests.support.builders import RUN, a_cleanable_stack, a_stack, a_world

STACK = a_cleanable_stack()
OWNED = ProjectResources(("core-db-1",), ("core_default",), ())


def changed(world: Observed, key: str, **fields: Any) -> Observed:
    """The same world with one volume different."""
    states = (replace(v, **fields) if v.key == key else v for v in world.volumes)
    return replace(world, volumes=tuple(states))


def steps(plan: Plan, kind: type) -> list[Any]:
    """The plan's steps of one kind, in order."""
    return [step for _, step in steps_of(plan.nodes) if isinstance(step, kind)]


def test_a_volume_that_a_stranger_uses_is_refused_by_name() -> None:
    """By everything that would empty or remove it; our own one-off container is no stranger."""
    world = changed(a_world(), "redis-data", outside=("stranger",))
    for plan in (
        lambda: plan_empty(STACK, world, RUN, "cache"),
        lambda: plan_clean_all(STACK, world, OWNED, RUN, force=True),
    ):
        with pytest.raises(RequestError, match="stranger"):
            plan()
    plan_empty(STACK, world, RUN, "logs")
    ours = replace(OWNED, containers=("stranger",))
    plan_clean_all(STACK, world, ours, RUN, force=False)
    nuked = changed(a_world(), "postgres-data", outside=("stranger",))
    with pytest.raises(RequestError, match="stranger"):
        plan_nuke(STACK, nuked, RUN, force=True)


def test_a_volume_of_another_project_is_refused() -> None:
    """Two instances with one volume name: nobody's containers run, its label still says whose."""
    world = changed(a_world(), "redis-data", project="staging")
    with pytest.raises(RequestError, match="staging"):
        plan_clean_all(STACK, world, OWNED, RUN, force=True)
    with pytest.raises(RequestError, match="staging"):
        plan_empty(STACK, world, RUN, "cache")
    mine = changed(a_world(), "redis-data", project="core")
    plan_clean_all(STACK, mine, OWNED, RUN, force=False)


def test_external_volumes_stay_whatever_their_label_says() -> None:
    """`clean-all` leaves them out; `nuke` says whose they are."""
    world = changed(a_world(), "redis-data", external=True)
    owned = replace(OWNED, volumes=("app-redis-data", "app-old"))
    plan = plan_clean_all(STACK, world, owned, RUN, force=False)
    removed = [step.name for step in steps(plan, s.RemoveVolume)]
    assert "app-redis-data" not in removed
    assert "app-old" in removed
    with pytest.raises(RequestError, match="external"):
        plan_nuke(STACK, changed(a_world(), "postgres-data", external=True), RUN, force=False)


def test_an_unknown_database_is_lost_only_by_force() -> None:
    """It is in no set; an excluded one was meant to be in none."""
    world = replace(a_world(), undeclared_databases=("stray", "postgres"))
    stack = replace(STACK, excluded_databases=("postgres",))
    with pytest.raises(RequestError, match="contains stray,"):
        plan_nuke(stack, world, RUN, force=False)
    with pytest.raises(RequestError, match="stray"):
        plan_clean_all(stack, world, OWNED, RUN, force=False)
    plan_nuke(stack, world, RUN, force=True)
    plan_clean_all(replace(stack, excluded_databases=("postgres", "stray")), world, OWNED, RUN,
                   force=False)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "stops"),
    [("/stack/backend/logs", True), ("/stack/backend", True), ("/stack/backend/logs/old", True),
     ("/stack/backend/logs-other", False), ("/elsewhere", False)],
)  # fmt: skip
def test_who_mounts_a_folder_that_is_emptied_stops(source: str, stops: bool) -> None:
    """The folder itself, one above it or one in it; not one whose name only begins alike."""
    world = a_world()
    services = tuple(
        replace(service, mounts=(*service.mounts, Mount(None, source, "/app/logs", True)))
        if service.name == "backend"
        else service
        for service in world.services
    )
    plan = plan_empty(STACK, replace(world, services=services), RUN, "logs")
    (stop,) = steps(plan, s.StopServices)
    assert ("backend" in {unit.service for unit in stop.units}) == stops


def test_nothing_marked_is_a_wrong_request_and_nothing_there_is_nothing_to_do() -> None:
    """The first says what to write; the second has no step, so nothing is asked."""
    with pytest.raises(RequestError, match="clean: logs"):
        plan_empty(a_stack(), a_world(), RUN, "logs")
    bare = replace(STACK, paths=())
    paths_alone = replace(a_stack(), paths=STACK.paths)
    assert [
        step.path for step in steps(plan_empty(paths_alone, a_world(), RUN, "logs"), s.EmptyPath)
    ]
    world = a_world(missing_volumes=("proxy-logs",))
    assert plan_empty(bare, world, RUN, "logs").nodes == ()
    gone = a_world(
        dict.fromkeys(("db", "redis", "backend", "frontend", "proxy")),
        missing_volumes=[volume.key for volume in STACK.volumes],
    )
    assert plan_clean_all(STACK, gone, ProjectResources(), RUN, force=False).nodes == ()
    assert plan_clean(STACK, gone, ProjectResources(), RUN, "clean").nodes == ()


def test_backups_are_in_no_plan_that_removes() -> None:
    """Whatever is marked: no step of any of them names the folder of backups."""
    for plan in (
        plan_clean_all(STACK, a_world(), OWNED, RUN, force=True),
        plan_nuke(STACK, a_world(), RUN, force=True),
        plan_empty(STACK, a_world(), RUN, "logs"),
    ):
        for step in (*steps(plan, s.EmptyPath), *steps(plan, s.RemoveVolume)):
            assert "backups" not in Path(getattr(step, "path", "")).parts
            assert "backups" not in getattr(step, "name", "")


def test_a_kept_writer_makes_the_set_no_more_than_live() -> None:
    """Who is asked to go on may write meanwhile, so the set does not claim to be consistent."""
    request = ShutdownRequest(keep_running=("db", "redis", "backend"))
    plan = plan_shutdown(a_stack(), a_world(), request, RUN, "core-1")
    (opened,) = steps(plan, s.OpenSet)
    assert opened.mode == "live"
    stopped = {unit.service for step in steps(plan, s.StopServices) for unit in step.units}
    assert stopped == {"frontend", "proxy"}


def test_a_shutdown_with_the_databases_down_is_refused() -> None:
    """It says how to bring them up, and how to go without."""
    with pytest.raises(RequestError) as refused:
        plan_shutdown(a_stack(), a_world({"db": "exited"}), ShutdownRequest(), RUN, "core-1")
    assert "inv up --service db" in refused.value.hint
    assert "--force" in refused.value.hint
