"""On a terminal, a run is a line for each phase with its time; --verbose shows every step."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from quiesce.app.wiring import end_host_processes
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.migrate import plan_migrate
from quiesce.plan.phases import PUTTING_BACK, phases_of
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreInputs, RestoreRequest
from quiesce.plan.steps import Plan, steps_of
from tests.support.builders import RUN, a_set, a_stack, a_world
from tests.support.place import ONE_VOLUME, Place
from tests.support.terminal import in_terminal
from tests.unit.report_samples import Room

STOPPED = "services stopped: proxy, frontend, backend, redis"


def _phases(plan: Plan) -> list[str]:
    found = phases_of(plan)
    good = [found[at] for at, _ in steps_of(plan.nodes) if "/on_failure/" not in at]
    return [name for name, _ in groupby(good)]


def test_a_backup_has_five_phases() -> None:
    """The window is one, from the stop until everything is healthy again."""
    plan = plan_backup(a_stack(), a_world(), BackupRequest(), RUN, "core-20261121-020000")
    assert _phases(plan) == [
        "copy files while services run",
        STOPPED,
        "dump databases",
        "publish the set",
        "verify the set",
    ]
    failing = {name for at, name in phases_of(plan).items() if "/on_failure/" in at}
    assert failing == {PUTTING_BACK}


def test_a_restore_has_few_phases() -> None:
    """Its safety set is made when services run again, and then the previous data is removed."""
    request, safety = RestoreRequest(), "core-20261121-020000-safety"
    plan = plan_restore(a_stack(), a_world(), a_set(), request, RestoreInputs(), RUN, safety)
    assert _phases(plan) == [
        *("build and check new copies", STOPPED, "make the safety set", "remove the previous data"),
    ]


def test_migrations_are_a_phase_of_their_own_only_if_they_are_the_task() -> None:
    """In a restore they belong to the copies that are built beside the live data."""
    plan = plan_migrate(a_stack(), a_world(), RUN, ("rulesdb",), "head")
    assert "migrate databases" in _phases(plan)
    inputs = RestoreInputs(migrations=(("rulesdb", "head"),))
    plan = plan_restore(a_stack(), a_world(), a_set(), RestoreRequest(), inputs, RUN, "safety")
    assert _phases(plan)[0] == "build and check new copies"
    assert "migrate databases" not in _phases(plan)


def _plain(text: str) -> list[str]:
    # What was live is erased before a line is printed.
    lines = [line.rpartition("\x1b[2K")[2] for line in text.replace("\r", "").split("\n")]
    shown = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).strip() for line in lines]
    return [line for line in shown if line]


def _run(room: Room, name: str, phase: str, seconds: float) -> None:
    room.reporter.step_begins(f"/{name}", name, "why", 0, phase)
    room.watch.advance(seconds)
    room.reporter.step_ends(f"/{name}", name, seconds, "")


def test_a_terminal_shows_a_line_per_phase() -> None:
    """With the time from its first step to the end of its last; a step without a phase is its
    own."""
    room = Room(renderer="terminal")
    _run(room, "stop web", "window", 0.2)
    _run(room, "start web", "window", 0.2)
    room.watch.advance(10)
    _run(room, "alone", "", 0.1)
    _run(room, "check", "verify", 0.1)
    room.reporter.done("made")
    shown = _plain(room.stdout)
    assert shown == ["✔ window  400 ms", "✔ alone  100 ms — why", "✔ verify  100 ms", "✔ made"]


def test_a_failed_step_is_shown_and_what_is_left_only_puts_back() -> None:
    """A phase that failed is never shown as done."""
    room = Room(renderer="terminal")
    _run(room, "stop web", "window", 0.1)
    room.reporter.step_begins("/x", "archive", "why", 0, "window")
    room.reporter.step_fails("/x", "archive", "disk full")
    _run(room, "start web", "window", 0.1)
    room.reporter.close()
    assert _plain(room.stdout) == ["✘ archive — disk full", "✔ put back what was changed  100 ms"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A stack that is up."""
    made = Place(tmp_path, ONE_VOLUME)
    try:
        made.succeed("up")
        (made.volume("media") / "upload").write_text("x")
        yield made
    finally:
        end_host_processes(tmp_path)


@pytest.mark.thorough
def test_inv_shows_phases_on_a_terminal_and_steps_in_a_log(place: Place) -> None:
    """And steps on a terminal with --verbose."""
    inv = [sys.executable, "-m", "invoke", "backup"]
    code, shown = in_terminal(inv, place.folder, place.environment)
    assert code == 0
    assert [line.split("  ")[0] for line in _plain(shown) if line.startswith("✔")][:4] == [
        "✔ copy files while services run",
        "✔ services stopped: web",
        "✔ publish the set",
        "✔ verify the set",
    ]
    code, shown = in_terminal([*inv, "--verbose"], place.folder, place.environment)
    assert code == 0
    assert any(re.match(r"✔ +stop web  ", line) for line in _plain(shown))
    assert "services stopped: web" not in shown
    assert " stop web — " in place.succeed("backup")
