"""Undoing a restore by renames: what is refused, and what depends on the services that run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quiesce.app.backups_folder import runs_folder
from quiesce.app.leftovers import leftovers
from quiesce.commands.undo import run_undo
from quiesce.errors import RequestError
from quiesce.execute import pending
from quiesce.observed import Observed
from quiesce.plan import steps as s
from quiesce.plan.restore_request import RestoreRequest
from quiesce.plan.undo import plan_undo
from tests.support.builders import (
    LATER_RUN,
    NOW,
    a_stack,
    a_world,
    an_undone_restore,
    restarting_always,
)
from tests.support.handling import World


def undo(world: Observed | None = None, stack: Any = None, **options: bool) -> s.Plan:
    """The plan for everything that the restore replaced."""
    return plan_undo(
        stack or a_stack(), world or a_world(), an_undone_restore(), LATER_RUN, "core-3", **options
    )


def kinds(nodes: tuple[s.Node, ...]) -> list[str]:
    """The names of all steps."""
    return [type(step).__name__ for _, step in s.steps_of(nodes)]


def way_back(plan: s.Plan) -> list[str]:
    """What is done if the exchange fails."""
    exchange = next(n for _, n in s.walk(plan.nodes) if getattr(n, "why", "") == "exchange")
    assert isinstance(exchange, s.Bracket)
    return kinds(exchange.on_failure)


def test_what_is_no_longer_declared_is_named() -> None:
    """Its server and its services would not be known."""
    stack = a_stack()
    fewer = replace(stack, volumes=tuple(v for v in stack.volumes if v.key != "redis-data"))
    with pytest.raises(RequestError, match="no longer declares redis-data") as refused:
        undo(stack=fewer)
    assert "as before" in refused.value.hint


def test_a_server_that_does_not_answer_is_named() -> None:
    """Before anything stops."""
    world = a_world()
    down = tuple(replace(d, reachable=False, problem="it is off") for d in world.databases)
    with pytest.raises(RequestError, match="it is off"):
        undo(replace(world, databases=down))


def test_a_container_of_somebody_else_in_a_volume_is_named() -> None:
    """It would work on half of the content."""
    world = a_world()
    used = tuple(
        replace(v, outside=("other-1",)) if v.key == "redis-data" else v for v in world.volumes
    )
    with pytest.raises(RequestError, match="other-1"):
        undo(replace(world, volumes=used))


def test_what_was_started_is_stopped_before_the_restored_data_is_live_again() -> None:
    """Without services that were started, nothing is to stop."""
    assert way_back(undo())[0] == "StopServices"
    idle = a_world(dict.fromkeys(("redis", "backend", "frontend", "proxy"), "exited"))
    for plan in (undo(restart=False), undo(idle)):
        assert "StopServices" not in way_back(plan)
        assert "StartServices" not in kinds(plan.nodes)


def test_a_reboot_starts_nothing_on_half_of_the_exchange() -> None:
    """The engine's own restarts are held meanwhile."""
    found = kinds(undo(restarting_always(a_world())).nodes)
    assert found.index("HoldRestart") < found.index("StopServices")
    assert "FreeRestart" in found


def test_each_copy_is_archived_whole_and_once() -> None:
    """There is no earlier level that a level 1 could belong to."""
    made = next(n for n in s.with_parts(undo().nodes) if isinstance(n, s.MakeSafetySet))
    archives = [n for n in s.with_parts(made.steps) if isinstance(n, s.ArchiveVolume)]
    assert [(n.volume, n.level) for n in archives] == [("redis-data", 0), ("backend-media", 0)]


def test_what_an_undo_replaced_is_told_from_what_a_restore_replaced() -> None:
    """Only the latter is put back by renames."""
    made = next(n for n in s.with_parts(undo().nodes) if isinstance(n, s.MakeSafetySet))
    assert made.is_of_undo
    assert not an_undone_restore().is_of_undo


def test_an_undo_by_renames_is_not_undone_by_another_one(tmp_path: Path) -> None:
    """Its safety set has to be made first; a hint says how, and the one of the record does not
    promise it."""
    stack = a_stack(tmp_path)
    folder = runs_folder(stack)
    folder.mkdir(parents=True)
    made = next(n for n in s.with_parts(undo().nodes) if isinstance(n, s.MakeSafetySet))
    session: Any = SimpleNamespace(
        stack=stack, local_sets=lambda: (), options=SimpleNamespace(dry_run=True)
    )
    pending.note(folder, undo(), (made,), {made: "the disk is full"}, NOW)
    with pytest.raises(RequestError, match=made.set) as refused:
        run_undo(session, RestoreRequest())
    assert "'inv recover'" in refused.value.hint
    (left,) = leftovers(stack, World().run.ports)
    assert "the disk is full" in left.fact
    assert "undo-restore" not in left.hint
