"""Executes a plan: steps, brackets, journal and signals, and no policy.

A bracket is recorded as pending in the journal. Then run `enter`, `body` and, shielded from
signals, `on_failure` if either did not complete or `on_success` if both did, and `always` in any
case. It is recorded as finished only if all of that worked. A failure in `always` alone does not
end the plan, because the backup can still be completed; it is raised at the end of the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quiesce.errors import (
    CheckFailed,
    Interrupted,
    QuiesceError,
    RecoveryPending,
    ServiceFailed,
    StepFailed,
    StillNeeded,
    place_of,
)
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.journal import Journal
from quiesce.execute.run import Run
from quiesce.file_errors import hint_for, reason
from quiesce.plan.phases import phases_of
from quiesce.plan.steps import EXCHANGING, Bracket, Node, Plan, Step

Handlers = Mapping[type[Any], Callable[[Any, Run], str]]
#: Records a failed step that may stay pending, with its error; returns whether it was recorded.
Remember = Callable[[Step, Exception], bool]


def _remember_nothing(_step: Step, _error: Exception) -> bool:
    return False


class Executor:
    """Executes one plan, once."""

    def __init__(
        self,
        run: Run,
        journal: Journal,
        interrupts: Interrupts,
        handlers: Handlers,
        remember: Remember = _remember_nothing,
    ) -> None:
        """`remember` gets steps that fail after all data is safe."""
        self._run = run
        self._journal = journal
        self._interrupts = interrupts
        self._handlers = handlers
        self._remember = remember
        self._sink = run.ports.sink
        self._unsettled: list[BaseException] = []
        self._shielded = False
        self._phases: Mapping[str, str] = {}

    def execute(self, plan: Plan) -> None:
        """Execute the whole plan.

        Raise StepFailed (3) if a step failed and everything was put back, RecoveryPending (4) if
        something is left to recover, CheckFailed (7) if only a check found something bad,
        Interrupted if a signal ended the run and everything was put back.
        """
        self._phases = phases_of(plan)
        failure: BaseException | None = None
        try:
            self._nodes(plan.nodes, "", 0)
            self._check_interrupts()
        except BaseException as error:  # noqa: BLE001  every error is reported and journalled
            failure = error
        if self._unsettled:
            self._journal.leave_open()
            raise self._pending(failure) from (failure or self._unsettled[0])
        try:
            self._journal.close("failed" if failure else "done")
        except OSError as error:
            # Everything is finished: a recovery finds nothing to do and writes the end.
            self._sink.warn(f"cannot write the end of the journal: {reason(error)}")
        if failure is not None:
            raise _outcome(failure) from failure

    def _pending(self, failure: BaseException | None) -> RecoveryPending:
        reasons = [*([failure] if failure else []), *self._unsettled]
        services = all(isinstance(r, ServiceFailed) for r in reasons)
        messages = [_message(reason) for reason in reasons]
        first = "; ".join(dict.fromkeys(messages)) if services else str(reasons[-1])
        pending = RecoveryPending(
            f"the run left something unfinished: {first}",
            "correct the cause, then run 'inv recover'",
            details=messages,
        )
        pending.lost_engine = any(
            getattr(reason, "lost_engine", False) for reason in self._unsettled
        )
        return pending

    def _nodes(self, nodes: Sequence[Node], at: str, depth: int) -> None:
        for index, node in enumerate(nodes):
            self._node(node, f"{at}/{index}", depth)

    def _node(self, node: Node, position: str, depth: int) -> None:
        if isinstance(node, Bracket):
            self._bracket(node, position, depth)
        else:
            self._step(node, position, depth)

    def _bracket(self, bracket: Bracket, at: str, depth: int) -> None:
        # Before `enter`: a half-done `enter` must be undone too.
        self._record("owed", at)
        failure: BaseException | None = None
        try:
            self._nodes(bracket.enter, f"{at}/enter", depth + 1)
            self._nodes(bracket.body, f"{at}/body", depth + 1)
        except BaseException as error:  # noqa: BLE001  raised again below, after putting back
            failure = error
        with self._interrupts.shield():
            if failure is None:
                self._record("body-done", at)
            broken: list[BaseException] = []
            if failure is not None:
                broken += self._all(bracket.on_failure, f"{at}/on_failure", depth + 1)
            else:
                broken += self._all(bracket.on_success, f"{at}/on_success", depth + 1)
            broken += self._all(bracket.always, f"{at}/always", depth + 1)
            if broken:
                self._unsettled += broken
            else:
                self._record("settled", at)
        if failure is not None:
            raise failure
        if depth == 0:
            self._check_interrupts()
        else:
            self._interrupts.check()

    def _check_interrupts(self) -> None:
        """Raise Interrupted if a signal came; an outermost bracket, or all, is complete."""
        try:
            self._interrupts.check()
        except Interrupted as interrupted:
            interrupted.hint = "the steps that had begun were completed"
            raise

    def _all(self, nodes: Sequence[Node], at: str, depth: int) -> list[BaseException]:
        """Try each node, even if one fails: a later service may start without an earlier one.

        Journal errors are collected too, but never prevent a step from running.
        """
        broken: list[BaseException] = []
        before, self._shielded = self._shielded, True
        for index, node in enumerate(nodes):
            try:
                self._node(node, f"{at}/{index}", depth)
            except BaseException as error:  # noqa: BLE001  collected: the rest must run as well
                broken.append(error)
        self._shielded = before
        return broken

    def _step(self, step: Step, at: str, depth: int) -> None:
        words = step.sentence()
        facts = {}
        if isinstance(step, EXCHANGING):
            # A safety set that a recovery makes shows this instant.
            facts = {"at": self._run.ports.clock.now().isoformat()}
        self._record("begin", at, **facts)
        self._sink.step_begins(at, words, step.why, depth, self._phases.get(at, ""))
        began = self._run.ports.clock.monotonic()
        try:
            result = self._handlers[type(step)](step, self._run)
        except BaseException as error:
            if not isinstance(error, StillNeeded):
                self._sink.step_fails(at, words, _message(error))
            # Within a body, later steps need earlier ones, so the first failure ends it.
            late = (self._shielded or depth == 0) and not isinstance(error, Interrupted)
            if late and isinstance(error, Exception) and self._remember(step, error):
                return
            raise
        self._sink.step_ends(at, words, self._run.ports.clock.monotonic() - began, result)
        self._record("end", at)

    def _record(self, event: str, position: str, **facts: str) -> None:
        try:
            self._journal.write(event, position=position, **facts)
        except OSError as error:
            if not self._shielded and event in ("owed", "begin"):
                # A step that cannot be recorded is not started.
                raise QuiesceError(
                    f"cannot write the journal: {reason(error)}",
                    hint_for(error, self._journal.path),
                ) from error
            self._sink.warn(f"cannot write the journal: {reason(error)}")


def _outcome(failure: BaseException) -> QuiesceError:
    """The error to report when everything was put back."""
    if isinstance(failure, Interrupted | CheckFailed | StepFailed):
        return failure
    if isinstance(failure, QuiesceError):
        return StepFailed(failure.fact, failure.hint, details=failure.details)
    if isinstance(failure, KeyboardInterrupt):
        return Interrupted(2)
    return StepFailed(
        f"unexpected: {_message(failure)}", "everything was put back; --debug shows the traceback"
    )


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, QuiesceError) else place_of(error)
