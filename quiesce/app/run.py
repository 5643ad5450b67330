"""The frame of every verb that changes something: lock, recovery, plan, journal, execution."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from quiesce.app.backups_folder import RUNS, lock_file, runs_folder, secure
from quiesce.app.last_config import keep_declaration
from quiesce.app.leftovers import PendingRecorder, forget_decided
from quiesce.app.restore_log import end_interrupted
from quiesce.app.wiring import disconnect
from quiesce.errors import Busy, Interrupted, QuiesceError, RecoveryPending, RequestError
from quiesce.execute import journal as journals
from quiesce.execute import lock, pending
from quiesce.execute.executor import Executor, Handlers
from quiesce.execute.guard import guarded, stops
from quiesce.execute.handlers import HANDLERS
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.journal import DeadRun, Journal
from quiesce.execute.pending import Pending
from quiesce.execute.run import Ports, Run
from quiesce.file_errors import reason
from quiesce.model import RestoreSource, Stack
from quiesce.observe import observe
from quiesce.observed import NOTHING, Observed
from quiesce.plan import order
from quiesce.plan.pending import DECIDING, split
from quiesce.plan.reboot import with_all_that_ran
from quiesce.plan.recover import completed, pending_nodes
from quiesce.plan.services import ordered
from quiesce.plan.steps import DiscardStaging, Node, Plan

KEPT_JOURNALS = 50

Planner = Callable[[Observed], Plan]


def journalled(stack: Stack) -> frozenset[str]:
    """Return the runs of all instances that have a journal: their recovery handles their files."""
    return frozenset(path.stem for path in (stack.backups / RUNS).glob("*/*.jsonl"))


@dataclass
class Changing:
    """A running verb that has the instance's lock. Created by `changing`."""

    stack: Stack
    run: str
    ports: Ports
    interrupts: Interrupts
    handlers: Handlers = field(default_factory=lambda: HANDLERS)
    #: The dead runs that were recovered first.
    settled: tuple[str, ...] = ()
    #: Seconds to wait for a run from elsewhere.
    wait: float = 0.0
    held: lock.Held | None = None
    task: str = ""
    #: The last run that was executed, also if it failed.
    last: Run | None = None
    #: Pending work of this and earlier runs, as of the last try.
    pending: tuple[Pending, ...] = ()
    _claimed: bool = False

    def observe(self) -> Observed:
        """Observe after the project is locked, so that no other run can change it in between."""
        self._lock_project()
        return observe(self.stack, self.ports.runtime, self.ports.databases)

    def execute(
        self, plan: Plan, observed: Observed, sources: Mapping[str, RestoreSource] | None = None
    ) -> Run:
        """Execute the plan with a journal; return the run with its results. Raises as the
        executor."""
        folder = runs_folder(self.stack)
        run = Run(plan.run, self.stack, observed, self.ports, sources or {}, runs_folder=folder)
        self.last = run
        journal = Journal(runs_folder(self.stack), plan.run)
        if self.held is not None:
            # Planning and questions take time. If the lock file was removed, another run may have a
            # new lock.
            self.held.require()
        if stops(plan):
            running = order.in_start_order(observed.running, ordered(self.stack, observed))
            plan = replace(plan, running=running)
            keep_declaration(self.stack, runs_folder(self.stack))
        journal.open(plan, self.ports.clock.now())
        later = PendingRecorder(self.stack, self.ports, plan)
        try:
            with guarded(self.stack, plan, runs_folder(self.stack) / "guard.log"):
                Executor(run, journal, self.interrupts, self.handlers, later.clean_up).execute(plan)
        finally:
            self.pending += later.report()
        forget_decided(self.stack, plan)
        journals.forget_old(runs_folder(self.stack), KEPT_JOURNALS)
        return run

    def recover(self) -> tuple[str, ...]:
        """Recover every dead run, newest first, report it, and retry pending work of earlier runs.
        Return the requests of the recovered runs.

        Raise RecoveryPending if a step fails again that decides which data is live. Clean-ups, and
        services that do not start, go to `pending` instead.
        """
        sink, folder = self.ports.sink, runs_folder(self.stack)
        for run in self.ports.store.abandoned(journalled(self.stack)):
            try:
                self.ports.store.discard(run)
            except QuiesceError as error:
                sink.warn(
                    f"the files that run {run} left cannot be removed: {error.fact}; {error.hint}"
                )
                continue
            sink.note(f"removed the files of run {run}, which died before it changed anything")
        notes, strange = pending.read_all(folder)
        for path in strange:
            sink.warn(
                f"{path} cannot be read, so its pending work is not done; run 'inv recover' with "
                "the version of Quiesce that wrote it; if it is damaged, check services and "
                "databases with 'inv status', then move it away"
            )
        done = [self._finish(dead) for dead in journals.unfinished(folder)]
        for note in notes:
            if not note.path.exists():
                continue  # a recovered run undid that exchange
            if note.services and self.task in DECIDING:
                # A task that stops services does not wait for their start.
                self.pending += (note,)
                continue
            self._try_again(note)
        try:
            if not self.stack.instance.throwaway:
                end_interrupted(self.stack, self.ports.clock.now())
        except OSError as error:
            sink.warn(f"cannot write the log of restores: {reason(error)}")
        return tuple(done)

    def retry_services(self) -> None:
        """Retry services that may start now: the replaced data may have been the cause."""
        for note in self.pending:
            if note.services and note.path.exists():
                self._try_again(note)

    def _try_again(self, note: Pending) -> None:
        """Do the pending work of an earlier run. What fails again is reported, and stays
        pending."""
        later = PendingRecorder(self.stack, self.ports, note.plan, note)
        try:
            if any(not isinstance(step, DiscardStaging) for step in note.steps):
                self._lock_project()
                observed = self._observe_anyhow()
                self._same_engine(note.plan, observed)
            else:
                observed = NOTHING
            self._execute(note.plan, observed, note.plan.nodes, later, note.since)
        except QuiesceError as error:
            if isinstance(error, Busy | Interrupted):
                raise
            later.keep_all(error)
        self._discard(note.plan.run)
        self.pending += later.report()

    def _discard(self, run: str) -> None:
        try:
            self.ports.store.discard(run)
        except QuiesceError as error:
            self.ports.sink.warn(
                f"the files of run {run} cannot be removed: {error.fact}; {error.hint}"
            )

    def _finish(self, dead: DeadRun) -> str:
        sink = self.ports.sink
        if dead.plan is None:
            raise RecoveryPending(
                f"run {dead.run} was interrupted, and {dead.problem}",
                "run 'inv recover' with the version of Quiesce that began the run; without it, "
                "check the data and services ('inv status') before you move the journal away: "
                f"{dead.path}",
            )
        sink.note(f"run {dead.run} ({dead.plan.request}) was interrupted: recovering it first")
        self._lock_project()
        must, rest = split(pending_nodes(dead.plan, dead.progress))
        self._remove_orphans(dead.run, required=bool(must))
        plan = replace(dead.plan, verb="recover", request=f"recover {dead.plan.request}")
        later = PendingRecorder(self.stack, self.ports, plan)
        # Even if nothing is pending: it may have died between its last step and its end.
        last = DiscardStaging("the files of this run are no longer needed")
        if must or rest:
            observed = self._observe_anyhow()
            self._same_engine(dead.plan, observed)
            must, rest = split(with_all_that_ran(self.stack, observed, dead.plan, (*must, *rest)))
            self._execute(plan, observed, must, later)
            later.together = rest
            self._execute(plan, observed, rest, later)
        try:
            self.ports.store.discard(dead.run)
        except QuiesceError as error:
            later.clean_up(last, error)
        later.require_noted()
        finished = completed(dead.plan, dead.progress)
        journals.close_dead(dead, "finished" if finished else "recovered")
        left = later.report()
        self.pending += left
        sink.note(f"run {dead.run} is recovered" + (", except for pending work" if left else ""))
        return dead.plan.request

    def _execute(
        self,
        plan: Plan,
        observed: Observed,
        nodes: tuple[Node, ...],
        later: PendingRecorder,
        since: datetime | None = None,
    ) -> None:
        """Execute steps of a dead run under its own id, which is in the names of what it
        created. `since` is when they became pending, in case its journal is gone."""
        if not nodes:
            return
        remember = later.postpone if split(nodes)[0] == () else later.clean_up
        folder = runs_folder(self.stack)
        run = Run(plan.run, self.stack, observed, self.ports, runs_folder=folder)
        run.exchanged_at = journals.exchanged_at(folder, plan.run) or since
        Executor(run, _Unwritten(), self.interrupts, self.handlers, remember).execute(
            replace(plan, nodes=nodes)
        )

    def _remove_orphans(self, run: str, *, required: bool) -> None:
        """End the sessions and helpers of a dead run. If one survives, it might change data that is
        restored next. If nothing is restored, a failure is only reported."""
        for port in (self.ports.runtime, self.ports.databases, self.ports.volumes):
            try:
                for what in port.remove_orphans(run):
                    self.ports.sink.note(f"removed {what}")
            except QuiesceError as error:
                if required or error.lost_engine:
                    raise
                self.ports.sink.warn(
                    f"not everything that run {run} left could be removed: {error.fact}"
                )

    def _lock_project(self) -> None:
        """Lock the project against runs from elsewhere on the same engine, and wait for their end
        like for the lock. If the engine answers but refuses the lock, this only warns."""
        if self.stack.instance.throwaway:
            return
        deadline = self.ports.clock.monotonic() + self.wait
        while True:
            try:
                self.ports.runtime.lock_project(self.stack.backups, self.run, self._own_runs())
                self._claimed = True
                return
            except Busy:
                if self.ports.clock.monotonic() >= deadline:
                    raise
                time.sleep(lock.POLL_SECONDS)
            except QuiesceError as error:
                if error.lost_engine:
                    raise
                self.ports.sink.warn(str(error))
                return

    def unlock_project(self) -> None:
        """Unlock the project, unless something is pending."""
        if self._claimed and not journals.unfinished(runs_folder(self.stack)):
            self.ports.runtime.unlock_project(self.stack.backups, self._own_runs())

    def remove_own_project_lock(self) -> None:
        """Remove the project lock that an earlier run from here could not remove without the
        engine."""
        with contextlib.suppress(QuiesceError):
            self._claimed = not self.stack.instance.throwaway
            self.unlock_project()

    def _own_runs(self) -> frozenset[str]:
        return frozenset(path.stem for path in runs_folder(self.stack).glob("*.jsonl"))

    def _observe_anyhow(self) -> Observed:
        try:
            return self.observe()
        except RequestError as error:
            if error.lost_engine:
                raise
            self.ports.sink.warn(
                f"{error}; using the labels of containers and volumes on the engine"
            )
            with self.ports.runtime.as_found():
                return self.observe()

    def _same_engine(self, plan: Plan, observed: Observed) -> None:
        if plan.engine != observed.engine.id:
            raise RecoveryPending(
                "the interrupted run worked on another engine than the one that answers now",
                "switch back to its Docker context, then run 'inv recover'",
            )


class _Unwritten(Journal):
    """A recovery needs no separate journal: the dead run's is closed when everything succeeded, and
    every step can be repeated."""

    def __init__(self) -> None:
        super().__init__(Path(), "")


@contextmanager
def changing(
    stack: Stack,
    run: str,
    task: str,
    started: datetime,
    make_ports: Callable[[], Ports],
    *,
    wait: float = 0.0,
    recover: bool = True,
) -> Iterator[Changing]:
    """Take the lock, handle signals and recover dead runs first, around the block.

    Raise Busy if another run has the lock for longer than `wait` seconds, RecoveryPending at the
    end of the block if services of an earlier run are still down.
    """
    if not stack.directory.is_dir():
        raise RequestError(f"{stack.directory} is not a folder", "name another with --stack")
    interrupts = Interrupts()
    with interrupts.installed():
        secure(stack)
        until = time.monotonic() + wait
        with lock.held(lock_file(stack), run, task, started, wait) as held:
            _wait_for_living(lock_file(stack).parent, until)
            work = Changing(stack, run, make_ports(), interrupts, wait=wait, held=held, task=task)
            with contextlib.suppress(QuiesceError):
                # Identifies the run if it dies before it has a journal.
                work.ports.store.hold(run)
            try:
                if recover:
                    work.settled = work.recover()
                yield work
            finally:
                with interrupts.shield():
                    _close(work)
        interrupts.check()


def _wait_for_living(folder: Path, until: float) -> None:
    """Wait for runs that are still running although the lock is free: its file was removed.

    Raise Busy naming one if that takes too long.
    """
    while runs := journals.living(folder):
        if time.monotonic() >= until:
            first = runs[0]
            request = first.plan.request if first.plan else f"run {first.run}"
            raise Busy(
                f"{request} is still running (pid {first.process.get('pid')}, since "
                f"{first.began[:19]}), though its lock file was removed",
                "wait until it has ended, or use --wait SECONDS; only Quiesce may remove files in "
                f"{folder}",
            )
        time.sleep(lock.POLL_SECONDS)


def _close(work: Changing) -> None:
    for let_go in (work.unlock_project, lambda: disconnect(work.ports, work.run)):
        try:
            let_go()
        except QuiesceError as error:
            work.ports.sink.warn(str(error))
