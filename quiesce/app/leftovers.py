"""Pending work of earlier runs: recorded, reported with instructions, and tried again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from quiesce.app.backups_folder import runs_folder
from quiesce.errors import QuiesceError, RecoveryPending
from quiesce.execute import pending
from quiesce.file_errors import hint_for, reason
from quiesce.plan.pending import (
    describe_leftover,
    is_clean_up,
    may_wait,
    released,
    safety_sets,
    services_of,
    steps_to_retry,
    without_decided,
)
from quiesce.plan.steps import DropDatabase, FinishSwap, MakeSafetySet
from quiesce.report import words
from quiesce.report.values import Leftover

if TYPE_CHECKING:
    from quiesce.execute.pending import Pending
    from quiesce.execute.run import Ports
    from quiesce.model import Stack
    from quiesce.plan.steps import Plan, Step


class PendingRecorder:
    """Records failed steps of a run that may stay pending. A step is on disk when `_take` returns
    True. If steps of an earlier record are retried, `earlier` is that record.
    """

    def __init__(
        self, stack: Stack, ports: Ports, plan: Plan, earlier: Pending | None = None
    ) -> None:
        self._stack = stack
        self._ports = ports
        self._plan = plan
        self._earlier = earlier
        self._failed: dict[Step, str] = {}
        #: Steps that this run recorded before it died, and that its recovery does not repeat.
        self._before: tuple[Step, ...] = ()
        if earlier is None:
            notes, _ = pending.read_all(runs_folder(stack))
            self._before = tuple(s for n in notes if n.plan.run == plan.run for s in n.steps)
        self._noted: Pending | None = None
        self._problem: OSError | None = None
        #: Steps that belong together: if a service's start fails, the others of it are pending too.
        self.together: tuple[Step, ...] = earlier.steps if earlier else ()

    def clean_up(self, step: Step, error: Exception) -> bool:
        """Record a step that only cleans up; return whether it can wait."""
        return is_clean_up(step) and self._take(step, pending.words_of(error))

    def postpone(self, step: Step, error: Exception) -> bool:
        """Record a step that cleans up or starts a service; return whether it can wait."""
        return may_wait(step) and self._take(step, pending.words_of(error))

    def keep_all(self, error: QuiesceError) -> None:
        """Record that no step of the earlier record can be retried now."""
        for step in self._earlier.steps if self._earlier else ():
            self._take(step, error.fact)

    def require_noted(self) -> None:
        """Raise RecoveryPending if pending work could not be recorded: it would be forgotten."""
        if self._problem is not None:
            raise RecoveryPending(
                f"the pending work of run {self._plan.run} cannot be recorded: "
                f"{reason(self._problem)}",
                f"{hint_for(self._problem, runs_folder(self._stack))}; then run 'inv recover'",
            ) from self._problem

    def report(self) -> tuple[Pending, ...]:
        """Report pending work, and how to do it by hand. Return the record, if there is one."""
        sink = self._ports.sink
        if self._noted is None:
            if self._earlier is not None:
                with contextlib.suppress(OSError):
                    pending.keep_only(self._earlier, ())
                sink.note(f"the pending work of run {self._plan.run} is done")
            return ()
        for left in _leftovers(self._stack, self._ports, self._noted):
            sink.warn(f"{left.fact}; {left.hint}")
        return (self._noted,)

    def _take(self, step: Step, problem: str) -> bool:
        step = released(step, tuple(self._failed))
        self._failed[step] = problem
        alone = [failed for failed in self._failed if failed not in self.together]
        again = steps_to_retry(self.together, tuple(self._failed))
        steps = tuple(dict.fromkeys((*self._before, *alone, *again)))
        try:
            self._noted = pending.note(
                runs_folder(self._stack),
                self._plan,
                steps,
                self._failed,
                self._ports.clock.now(),
                self._earlier,
            )
        except OSError as error:
            self._problem = error
            return False
        return True


def forget_decided(stack: Stack, plan: Plan) -> None:
    """Remove pending work for services that this plan stopped, removed or started."""
    notes, _ = pending.read_all(runs_folder(stack))
    for note in notes:
        with contextlib.suppress(OSError):
            pending.keep_only(note, without_decided(note.steps, plan))


def leftovers(stack: Stack, ports: Ports) -> tuple[Leftover, ...]:
    """Return the pending work of earlier runs, for display."""
    notes, strange = pending.read_all(runs_folder(stack))
    found = [left for note in notes for left in _leftovers(stack, ports, note)]
    for path in strange:
        fact = f"{path} cannot be read, so its pending work is not done"
        found.append(
            Leftover(
                path.name,
                path.name,
                fact,
                "run 'inv recover' with the version of Quiesce that wrote it; if it is damaged, "
                "check services and databases with 'inv status', then move it away",
            )
        )
    return tuple(found)


def require_services(stack: Stack) -> None:
    """Raise RecoveryPending if services of an earlier run are still pending."""
    notes, _ = pending.read_all(runs_folder(stack))
    down = [note for note in notes if note.services]
    if down:
        names = ", ".join(dict.fromkeys(n for note in down for n in services_of(note.services)))
        raise RecoveryPending(
            f"this run is done, but {names} could not be started again after run "
            f"{down[0].plan.run}",
            "see 'inv logs', correct the cause, then run 'inv recover'; after 'inv up' or 'inv "
            "stop' Quiesce no longer tries to start them",
            details=[problem for note in down for problem in note.problems.values()],
        )


def require_nothing_left(stack: Stack, ports: Ports, notes: tuple[Pending, ...]) -> None:
    """Raise RecoveryPending naming what a recovery could not do."""
    left = [one for note in notes for one in _leftovers(stack, ports, note)]
    if left:
        raise RecoveryPending(
            left[0].fact, left[0].hint, details=[f"{one.fact}; {one.hint}" for one in left[1:]]
        )


def _leftovers(stack: Stack, ports: Ports, note: Pending) -> Iterator[Leftover]:
    run, tries = note.plan.run, words.counted(note.tries, "try", "tries")
    since = f"{tries} since {note.since:%Y-%m-%d %H:%M} UTC"
    waiting = safety_sets(note.steps)
    for made in waiting:
        yield _unmade(stack, ports, note, made, since)
    unmade = {made.set for made in waiting}
    for step in note.clean_ups:
        if step in waiting or getattr(step, "kept_in", "") in unmade:
            continue  # it stays until its safety set is made
        what, by_hand = describe_leftover(step, run, str(stack.backups))
        size = _size(stack, ports, step, run)
        problem = note.problem(step) or "it was not tried yet"
        yield Leftover(
            run,
            what,
            f"{what}{f' ({words.size(size)})' if size else ''} of run {run} could not be removed: "
            f"{problem}",
            f"every later run tries again ({since}); to do it by hand: {by_hand}",
            bytes=size,
            tries=note.tries,
            database=step.name if isinstance(step, DropDatabase) else "",
        )
    if note.services:
        names = ", ".join(services_of(note.services)) or "services"
        problems = [problem for step in note.services if (problem := note.problem(step))]
        why = problems[0] if problems else note.services[0].sentence()
        yield Leftover(
            run,
            names,
            f"{names} could not be started again after run {run}: {why}",
            f"every later run tries again ({since}); see 'inv logs', or use 'inv up' or 'inv stop' "
            "instead",
            service=True,
            tries=note.tries,
        )


def _unmade(stack: Stack, ports: Ports, note: Pending, made: MakeSafetySet, since: str) -> Leftover:
    """Return what to say of a safety set that could not be made."""
    kept = [
        step
        for step in note.clean_ups
        if isinstance(step, DropDatabase | FinishSwap) and step.kept_in == made.set
    ]
    sizes = [_size(stack, ports, step, made.run) for step in kept]
    names = [
        f"database {step.name}"
        if isinstance(step, DropDatabase)
        else f"folder .quiesce-{made.run} in {step.noun} {step.volume}"
        for step in kept
    ]
    total = sum(filter(None, sizes))
    size = f" ({words.size(total)})" if total else ""
    problem = note.problem(made) or "it was not tried yet"
    way_back = "; until then 'inv undo-restore' puts that data back by renames"
    return Leftover(
        made.run,
        made.set,
        f"safety set {made.set} could not be made: {problem}; the data that was replaced stays in "
        f"{', '.join(names)}{size}",
        f"correct the cause, then run 'inv recover'; every later run tries again ({since})"
        # An undo by renames is not undone by another one.
        + ("" if made.is_of_undo else way_back),
        bytes=total or None,
        tries=note.tries,
    )


def require_safety_set(stack: Stack, ports: Ports, run: str) -> None:
    """Raise RecoveryPending if the safety set of this run could not be made."""
    notes, _ = pending.read_all(runs_folder(stack))
    for note in notes:
        if note.plan.run == run and safety_sets(note.steps):
            first = next(_leftovers(stack, ports, note))
            raise RecoveryPending(f"the restored data is in use, but {first.fact}", first.hint)


def _size(stack: Stack, ports: Ports, step: Step, run: str) -> int | None:
    """Return the size of what is left in bytes, None if unknown."""
    # Failures do not matter here: the name and the instructions are what counts.
    with contextlib.suppress(QuiesceError, StopIteration, OSError):
        if isinstance(step, DropDatabase):
            return ports.databases.size(stack.database(step.database), step.name)
        if isinstance(step, FinishSwap):
            states = ports.runtime.volumes(stack.volumes)
            state = next(state for state in states if state.key == step.volume)
            return ports.volumes.leftover_size(state, step.run or run).bytes
    return None
