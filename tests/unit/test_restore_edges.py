"""Edges of a restore: several servers, names that are alike, what is asked for and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quiesce.errors import RequestError
from quiesce.observed import Mount
from quiesce.plan import steps as s
from quiesce.plan.restore import plan_restore, users
from quiesce.plan.restore_request import Chosen, RestoreInputs, RestoreRequest, choose
from tests.support.builders import (
    RUN,
    a_cold_set,
    a_database_record,
    a_set,
    a_stack,
    a_stack_with_folders,
    a_world,
)


def test_a_server_that_depends_on_another_one_keeps_running_when_both_are_restored() -> None:
    """Its databases are exchanged while it runs; only what uses it stops."""
    stack = a_stack()
    databases = (stack.databases[0], replace(stack.databases[1], service="backend"))
    units, _ = users(stack, a_world(), Chosen(databases, ()))
    assert [unit.service for unit in units] == ["proxy", "frontend"]


def test_names_that_are_alike_as_far_as_they_are_kept_are_exchanged_with_copies_of_their_own() -> (
    None
):
    """PostgreSQL keeps 63 bytes of a name."""
    stack = a_stack()
    names = [f"{'n' * 62}{number}" for number in (1, 2)]
    databases = tuple(replace(d, name=n) for d, n in zip(stack.databases, names, strict=True))
    stack = replace(stack, databases=databases)
    records = tuple(a_database_record(d.key, name=d.name) for d in databases)
    made = a_set()
    made = replace(made, manifest=replace(made.manifest, databases=records))
    world = a_world(stack=stack)
    plan = plan_restore(stack, world, made, RestoreRequest(), RestoreInputs(), RUN, "core-2")
    (swap,) = (step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.SwapDatabases))
    side_by_side = [name for one in swap.swaps for name in (one.side, one.aside)]
    assert len(set(side_by_side)) == 4


def test_a_server_of_a_cold_set_is_checked_whatever_else_it_has_mounted() -> None:
    """The safety set copies its files, which a server that was killed leaves torn."""
    world = a_world()
    logs = Mount("proxy-logs", "app-proxy-logs", "/logs", True)
    services = tuple(
        replace(one, mounts=(logs, *one.mounts)) if one.name == "db" else one
        for one in world.services
    )
    plan = plan_restore(
        a_stack(), replace(world, services=services), a_cold_set(), RestoreRequest(),
        RestoreInputs(), RUN, "core-2",
    )  # fmt: skip
    checked = [step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.CheckShutdown)]
    assert [(step.service, step.volume) for step in checked] == [("db", "postgres-data")]


def test_what_is_not_asked_for_need_not_be_declared() -> None:
    """A volume that stack.yaml no longer has is in the way of a restore of everything alone."""
    made = a_set(volumes=("redis-data", "gone"))
    chosen = choose(a_stack(), made, RestoreRequest(only=("redis-data",)))
    assert [volume.key for volume in chosen.volumes] == ["redis-data"]
    with pytest.raises(RequestError, match="contains gone, which"):
        choose(a_stack(), made, RestoreRequest())


def test_rows_of_a_path_or_a_volume_are_refused_by_what_it_is() -> None:
    """A path is no volume, in the words of stack.yaml."""
    made = a_set(volumes=("redis-data", "photos"))
    for name, noun in (("photos", "path"), ("redis-data", "volume")):
        with pytest.raises(RequestError, match=f"restores rows, and {name} is a {noun}$"):
            choose(a_stack_with_folders(), made, RestoreRequest(only=(name,), data_only=True))


def test_a_safety_set_of_previous_copies_contains_them_whole() -> None:
    """There is no earlier archive of them that a second level could go over."""
    plan = plan_restore(
        a_stack(), a_world(), a_set(), RestoreRequest(), RestoreInputs(), RUN, "core-2"
    )
    (made,) = (step for _, step in s.steps_of(plan.nodes) if isinstance(step, s.MakeSafetySet))
    archived = [step for step in made.steps if isinstance(step, s.ArchiveVolume)]
    assert [(step.volume, step.level) for step in archived] == [
        ("redis-data", 0),
        ("backend-media", 0),
    ]
