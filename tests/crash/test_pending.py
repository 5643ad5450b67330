"""What cannot be tidied up or brought back is said, is tried again later, and blocks nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quiesce.app.backups_folder import runs_folder
from quiesce.app.leftovers import leftovers, require_nothing_left, require_services
from quiesce.app.run import Changing
from quiesce.errors import QuiesceError, RecoveryPending, StepFailed
from quiesce.execute import journal as journals
from quiesce.execute import pending
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.run import Ports
from quiesce.model import Command
from quiesce.plan import services
from quiesce.plan import steps as s
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreRequest
from quiesce.plan.steps import Plan
from quiesce.report import words
from tests.crash.test_every_step import Killed, Quiet, World
from tests.support.builders import RUN, a_set

CLEAN_UPS = [s.DropDatabase, s.FinishSwap, s.DiscardStaging]


class Warned(Quiet):
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Nights(World):
    """The example stack over several runs, some steps of which fail."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.broken: set[type[Any]] = set()
        self.sink = Warned()

    def ports(self) -> Ports:
        quiet: Any = Quiet()
        sized: Any = type("Sized", (Quiet,), {"size": lambda *_: 8_200_000})()
        clock = super().ports().clock
        return Ports(self.runtime, sized, quiet, quiet, quiet, self.sink, clock, quiet, quiet)

    def work(self, run: str, die: Callable[[str], bool] = lambda _: False) -> Changing:
        """A run of this id at work; `handlers` as they are this night."""
        handlers = self.handlers(die)

        def fail(step: Any, _: Any) -> str:
            raise QuiesceError(f"{type(step).__name__} cannot be done", "as the test wants")

        handlers |= dict.fromkeys(self.broken, fail)
        made = Changing(self.stack, run, self.ports(), Interrupts(), handlers)
        made.observe = lambda: self.observed  # type: ignore[method-assign]
        return made

    def night(self, run: str, planner: Callable[[Nights, str], Plan]) -> Changing:
        """One task: recover, then do it."""
        self.dead = False
        self.sink.warnings.clear()
        work = self.work(run)
        work.recover()
        work.run_in_service(planner(self, run), self.observed)
        return work

    @property
    def notes(self) -> tuple[pending.Pending, ...]:
        return pending.read_all(runs_folder(self.stack))[0]


def _backup(world: Nights, run: str) -> Plan:
    return plan_backup(world.stack, world.observed, BackupRequest(), run, f"core-{run}")


def _restore(world: Nights, run: str) -> Plan:
    request = RestoreRequest()
    return plan_restore(world.stack, world.observed, a_set(), request, run, "core-2", ())


def _stop(world: Nights, run: str) -> Plan:
    return services.plan_stop(world.stack, world.observed, run, ())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    """Without a guard: nobody recovers but the test."""
    monkeypatch.setenv("QUIESCE_GUARD", "off")
    return Nights(tmp_path)


@pytest.mark.parametrize("kind", CLEAN_UPS)
def test_a_restore_whose_clean_up_fails_is_done_and_says_so(world: Nights, kind: type[Any]) -> None:
    """The data is right and services run; what is left is named, and nothing is owed."""
    before = world.running
    world.broken = {kind}
    world.night(RUN, _restore)
    assert world.running == before
    assert not journals.unfinished(runs_folder(world.stack))
    (note,) = world.notes
    assert {type(step) for step in note.steps} == {kind}
    assert len(world.sink.warnings) == len(note.steps)
    assert all("by hand: " in text for text in world.sink.warnings)
    if kind is s.DropDatabase:
        assert any(
            'DROP DATABASE "rulesdb__old_' in text and f"({words.size(8_200_000)})" in text
            for text in world.sink.warnings
        )


@pytest.mark.parametrize("kind", CLEAN_UPS)
def test_every_later_run_tries_again_says_so_and_does_its_work(
    world: Nights, kind: type[Any]
) -> None:
    """However often it fails; the first night that it can be done there is nothing left."""
    world.broken = {kind}
    world.night(RUN, _restore)
    # A backup's own steps of this kind come only where it fails.
    for number in range(4):
        world.effects.clear()
        world.night(f"later{number}", _backup)
        assert "VerifySet" in world.effects
        assert world.sink.warnings
        assert f"({number + 2} tries since" in world.sink.warnings[0]
    assert world.notes[0].tries == 5
    world.broken = set()
    world.night("last", _backup)
    assert world.notes == ()
    assert world.sink.warnings == []


def test_a_restore_that_fails_and_cannot_tidy_up_has_still_put_everything_back(
    world: Nights,
) -> None:
    """Exit 3, not 4: what was live is live."""
    before = world.running
    world.broken = {s.CheckDatabase, *CLEAN_UPS}
    with pytest.raises(StepFailed):
        world.night(RUN, _restore)
    assert world.running == before
    assert {type(step) for step in world.notes[0].steps} == set(CLEAN_UPS)
    world.broken = set()
    world.night("later", _backup)
    assert world.notes == ()


def test_a_recovery_that_cannot_tidy_up_has_settled_the_run(world: Nights) -> None:
    """Killed after the exchange; then the databases that lie aside cannot be dropped."""
    before = world.running
    world.broken = {s.DropDatabase}
    plan = _restore(world, RUN)
    kinds = [type(step) for _, step in s.steps_of(plan.nodes)]
    at = kinds.index(s.SwapVolume)
    with pytest.raises((Killed, QuiesceError)):
        world.work(RUN, lambda now: now == f"after {at}").run_in_service(plan, world.observed)
    world.night("later", _backup)
    assert world.running == before
    assert not journals.unfinished(runs_folder(world.stack))
    assert {type(step) for step in world.notes[0].steps} == {s.DropDatabase}


def test_what_decides_which_data_is_live_still_blocks(world: Nights) -> None:
    """An exchange that is half undone is no matter of tidiness."""
    world.broken = {s.SwapVolume, s.PutBackDatabases}
    with pytest.raises(RecoveryPending):
        world.night(RUN, _restore)
    with pytest.raises((StepFailed, RecoveryPending), match="PutBackDatabases"):
        world.night("later", _backup)
    world.broken = set()
    world.night("last", _backup)


@pytest.mark.parametrize("kind", [s.StartServices, s.WaitHealthy])
def test_a_service_that_does_not_come_back_keeps_no_backup_from_being_made(
    world: Nights, kind: type[Any]
) -> None:
    """The run says 4, and so does every later one, until the service is back; all are made."""
    before = world.running
    world.broken = {kind}
    with pytest.raises(RecoveryPending):
        world.night(RUN, _backup)
    # From here on a backup stops nothing that is down already.
    backup = _backup if kind is s.WaitHealthy else _live
    for number in range(2):
        world.broken = {kind}
        work = world.work(f"later{number}")
        work.recover()
        assert world.notes[0].services
        world.broken = set()
        work = world.work(f"later{number}b")
        work.run_in_service(backup(world, f"later{number}b"), world.observed)
        with pytest.raises(RecoveryPending, match="could not be started again"):
            require_services(world.stack)
    world.night("last", backup)
    assert world.notes == ()
    assert world.running == before
    require_services(world.stack)


def _live(world: Nights, run: str) -> Plan:
    request = BackupRequest(mode="live")
    return plan_backup(world.stack, world.observed, request, run, f"core-{run}")


def test_a_command_after_a_backup_that_fails_for_good_blocks_none(world: Nights) -> None:
    """It is tried again and said, like a service."""
    world.stack = replace(world.stack, after=(Command("backend", ("maintenance", "off"), 5.0),))
    world.broken = {s.RunCommand}
    with pytest.raises(RecoveryPending):
        world.night(RUN, _backup)
    work = world.work("later")
    work.recover()
    assert [type(step) for step in world.notes[0].steps].count(s.RunCommand) == 1
    with pytest.raises(RecoveryPending, match="backend"):
        require_services(world.stack)


def test_who_stops_a_service_decides_that_it_is_not_brought_back(world: Nights) -> None:
    """Else the next backup would start what a person has stopped."""
    world.broken = {s.WaitHealthy}
    with pytest.raises(RecoveryPending):
        world.night(RUN, _backup)
    world.night("later", _stop)
    assert world.notes == ()
    require_services(world.stack)


def test_what_cannot_be_written_down_is_still_owed(
    world: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be forgotten."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pending, "replace_private", full)
    world.broken = {s.DropDatabase}
    with pytest.raises(RecoveryPending):
        world.night(RUN, _restore)
    assert journals.unfinished(runs_folder(world.stack))


def test_a_recovery_asked_for_says_4_while_something_is_left(world: Nights) -> None:
    """A person who runs it hears what is left, and how to remove it."""
    world.broken = {s.DropDatabase}
    world.night(RUN, _restore)
    work = world.work("later")
    work.recover()
    with pytest.raises(RecoveryPending, match=r"database .*_old_") as caught:
        require_nothing_left(world.stack, world.ports(), work.pending)
    assert "DROP DATABASE" in caught.value.hint
    shown = leftovers(world.stack, world.ports())
    assert all(one.bytes == 8_200_000 and one.tries == 2 for one in shown)


def test_a_note_that_nobody_understands_is_shown_and_blocks_nothing(world: Nights) -> None:
    """Of a newer version, or damaged."""
    world.night(RUN, _backup)
    folder = runs_folder(world.stack)
    (folder / "x.pending.json").write_text(json.dumps({"version": 99}))
    (folder / "y.pending.json").write_text("{")
    world.night("later", _backup)
    assert len(world.sink.warnings) == 2
    assert len(leftovers(world.stack, world.ports())) == 2


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_death_at_any_step_with_broken_clean_ups_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Wherever the restore dies: services run, and what was not tidied up is in a note."""
    monkeypatch.setenv("QUIESCE_GUARD", "off")
    count = sum(1 for _ in s.steps_of(_restore(Nights(tmp_path), RUN).nodes))
    for number in range(0, count, 2):
        world = Nights(tmp_path / str(number))
        before = world.running
        world.broken = {s.DropDatabase}
        work = world.work(RUN, lambda now, at=f"{moment} {number}": now == at)
        try:
            work.run_in_service(_restore(world, RUN), world.observed)
        except (Killed, QuiesceError):
            assert world.dead
        world.night("later", _backup)
        assert world.running == before
        assert not journals.unfinished(runs_folder(world.stack))
        dropped = world.notes[0].steps if world.notes else ()
        world.broken = set()
        world.effects.clear()
        world.night("last", _backup)
        assert world.effects.count("DropDatabase") == len(dropped)
        assert world.notes == ()


def test_a_copy_of_a_drill_touches_nothing_that_the_instance_left(world: Nights) -> None:
    """It shares its name and its sets, but drops nothing there and decides nothing."""
    world.broken = {s.DropDatabase}
    world.night(RUN, _restore)
    notes = world.notes
    real = world.stack
    copy = replace(
        real.instance, throwaway=True, directory=real.backups / ".isolated" / "drill", project="d"
    )
    world.stack = replace(real, instance=copy)
    world.broken = set()
    world.night("drill", _stop)
    world.stack = real
    assert world.notes == notes
    assert not list(runs_folder(real).glob("drill*"))
