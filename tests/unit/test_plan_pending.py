"""What may wait when a run ends, and what a person's decision leaves of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quiesce.plan import steps as s
from quiesce.plan.pending import released, services_of, split, steps_to_retry, without_decided
from quiesce.plan.steps import Plan, Step
from tests.support.builders import RUN, a_world

WORLD = a_world()
DB, BACKEND = (
    next(u for service in WORLD.services if service.name == name for u in service.units)
    for name in ("db", "backend")
)
START = s.StartServices((DB, BACKEND), 60.0, "they ran")
WAIT = s.WaitHealthy((DB, BACKEND), 60.0, "they were well")
COMMAND = s.RunCommand("backend", ("sh",), 5.0, "declared")
ADDRESSES = s.CheckAddresses((DB,), (BACKEND,), "they are known by them")
DISCARD = s.DiscardStaging("nothing of it is needed")
SWAP = s.SwapVolume("backend-media", "the new content")


def a_plan(verb: str, *nodes: s.Node) -> Plan:
    """A plan of another task."""
    return Plan(RUN, verb, "core", verb, "0", "ENGINE", nodes)


def test_what_blocks_ends_with_the_last_step_that_may_not_wait() -> None:
    """What comes before it blocks as well, whatever it is."""
    assert split((DISCARD, SWAP, START, DISCARD)) == ((DISCARD, SWAP), (START, DISCARD))
    assert split((START, WAIT)) == ((), (START, WAIT))
    assert split((START, SWAP)) == ((START, SWAP), ())
    assert split(()) == ((), ())


def test_a_service_that_failed_brings_back_all_of_them() -> None:
    """A clean-up that failed only itself."""
    steps: tuple[Step, ...] = (START, WAIT, DISCARD)
    assert steps_to_retry(steps, (WAIT,)) == (START, WAIT)
    assert steps_to_retry(steps, (DISCARD,)) == (DISCARD,)
    assert steps_to_retry(steps, (START, DISCARD)) == steps


def test_the_services_of_steps_are_named_once_in_order() -> None:
    """Those that are started and those that a command runs in."""
    assert services_of((START, WAIT, COMMAND)) == ("db", "backend")
    assert services_of((COMMAND, START)) == ("backend", "db")
    assert services_of((DISCARD, SWAP)) == ()


@pytest.mark.parametrize("verb", ["backup", "restore", "recover"])
def test_a_task_that_decides_nothing_leaves_all_to_be_done(verb: str) -> None:
    """Although it stops and starts services."""
    steps = (START, WAIT, COMMAND, ADDRESSES, DISCARD)
    assert without_decided(steps, a_plan(verb, s.StopServices((DB,), 5.0, "x"))) == steps


@pytest.mark.parametrize(
    "node",
    [
        s.StopServices((BACKEND,), 5.0, "asked for"),
        s.StartServices((BACKEND,), 5.0, "asked for"),
        s.UpServices(("backend",), build=False, why="asked for"),
        s.RemoveServices(("backend",), "asked for"),
    ],
)
def test_a_service_that_a_person_decided_about_is_left_alone(node: Step) -> None:
    """The others are still brought back. Addresses are another matter by then."""
    left = without_decided((START, WAIT, COMMAND, ADDRESSES, DISCARD), a_plan("stop", node))
    assert left == (
        s.StartServices((DB,), 60.0, "they ran"),
        s.WaitHealthy((DB,), 60.0, "they were well"),
        DISCARD,
    )


def test_a_command_in_another_service_is_still_to_be_run() -> None:
    """Nobody decided about it."""
    stopped = a_plan("stop", s.StopServices((DB,), 5.0, "asked for"))
    assert without_decided((COMMAND,), stopped) == (COMMAND,)


def test_nothing_is_brought_back_of_a_project_that_was_removed() -> None:
    """What tidies up is still done."""
    steps = (START, WAIT, COMMAND, ADDRESSES, DISCARD)
    everything = s.RemoveServices((), "asked for")
    assert without_decided(steps, a_plan("down", everything)) == (DISCARD,)


def test_a_previous_copy_waits_only_for_its_own_safety_set() -> None:
    """It is removed as soon as no step is left that makes that set; never before."""
    others = s.MakeSafetySet("core-1", RUN, (), (), (), "")
    own = s.MakeSafetySet("core-2", RUN, (), (), (), "")
    drop = s.DropDatabase("rulesdb", "rulesdb__old_abc123", "abc123", "", kept_in="core-2")
    finish = s.FinishSwap("backend-media", "", kept_in="core-2")
    for step in (drop, finish):
        assert released(step, (others, own)) == step
        assert released(step, (START, others)) == replace(step, kept_in="")
        assert released(step, ()) == replace(step, kept_in="")
    free = replace(drop, kept_in="")
    assert released(free, (others, own)) == free
    assert released(START, (own,)) == START
