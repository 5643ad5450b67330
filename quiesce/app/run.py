"""The frame around every verb that changes something: lock, recovery, plan, journal, execution."""

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
from quiesce.app.leftovers import Later, decided
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
    """The runs of every instance that have a journal: what they left is for their recovery."""
    return frozenset(path.stem for path in (stack.backups / RUNS).glob("*/*.jsonl"))


@dataclass
class Changing:
    """A verb at work, holding the instance's lock. Made by `changing`."""

    stack: Stack
    run: str
    ports: Ports
    interrupts: Interrupts
    handlers: Handlers = field(default_factory=lambda: HANDLERS)
    #: The dead runs that had to be settled first.
    settled: tuple[str, ...] = ()
    #: Seconds to wait for a run from elsewhere.
    wait: float = 0.0
    held: lock.Held | None = None
    task: str = ""
    #: What this and earlier runs could not tidy up or start, as it was last tried.
    pending: tuple[Pending, ...] = ()
    _claimed: bool = False

    def observe(self) -> Observed:
        """Look, once nobody else who shares the engine can change it between look and deed."""
        self._lock_project()
        return observe(self.stack, self.ports.runtime, self.ports.databases)

    def execute(
        self, plan: Plan, observed: Observed, sources: Mapping[str, RestoreSource] | None = None
    ) -> Run:
        """Execute the plan, journalled; return what the run found out. Raises as the executor."""
        run = Run(plan.run, self.stack, observed, self.ports, sources or {})
        journal = Journal(runs_folder(self.stack), plan.run)
        if self.held is not None:
            # Planning and questions take time. With the file gone, another run holds another lock.
            self.held.require()
        if stops(plan):
            running = order.in_start_order(observed.running, ordered(self.stack, observed))
            plan = replace(plan, running=running)
            keep_declaration(self.stack, runs_folder(self.stack))
        journal.open(plan, self.ports.clock.now())
        later = Later(self.stack, self.ports, plan)
        try:
            with guarded(self.stack, plan, runs_folder(self.stack) / "guard.log"):
                Executor(run, journal, self.interrupts, self.handlers, later.clean_up).execute(plan)
        finally:
            self.pending += later.report()
        decided(self.stack, plan)
        journals.forget_old(runs_folder(self.stack), KEPT_JOURNALS)
        return run

    def recover(self) -> tuple[str, ...]:
        """Settle every dead run, newest first, aloud, and try again what earlier runs left.
        Return what was settled.

        Raise StillOwed when something fails again that decides which data is live. What only
        tidies up, and services that do not come back, go to `pending` instead.
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
            sink.warn(f"{path} cannot be read, so its pending work is not done; inspect it")
        done = [self._finish(dead) for dead in journals.unfinished(folder)]
        for note in notes:
            if note.services and self.task in DECIDING:
                # Whoever stops a service does not wait until it has started.
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
        """Try again what may run now: what kept it down may have been in what was replaced."""
        for note in self.pending:
            if note.services and note.path.exists():
                self._try_again(note)

    def _try_again(self, note: Pending) -> None:
        """Do what an earlier run left. What fails again is said, and stays."""
        later = Later(self.stack, self.ports, note.plan, note)
        try:
            if any(not isinstance(step, DiscardStaging) for step in note.steps):
                self._lock_project()
                observed = self._observe_anyhow()
                self._same_engine(note.plan, observed)
            else:
                observed = NOTHING
            self._execute(note.plan, observed, note.plan.nodes, later)
        except QuiesceError as error:
            if isinstance(error, Busy | Interrupted):
                raise
            later.put_off(error)
        self.pending += later.report()

    def _finish(self, dead: DeadRun) -> str:
        sink = self.ports.sink
        if dead.plan is None:
            raise RecoveryPending(
                f"run {dead.run} was interrupted, and {dead.problem}",
                f"see what it stopped with 'inv status', start it, then remove {dead.path}",
            )
        sink.note(f"run {dead.run} ({dead.plan.request}) was interrupted: recovering it first")
        self._lock_project()
        must, rest = split(pending_nodes(dead.plan, dead.progress))
        self._remove_orphans(dead.run, required=bool(must))
        plan = replace(dead.plan, verb="recover", request=f"recover {dead.plan.request}")
        later = Later(self.stack, self.ports, plan)
        # Also where nothing is owed: it may have died between its last bracket and its end.
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
        self, plan: Plan, observed: Observed, nodes: tuple[Node, ...], later: Later
    ) -> None:
        """Carry out steps of a dead run. Its own id stays: names of what it made carry it."""
        if not nodes:
            return
        remember = later.postpone if split(nodes)[0] == () else later.clean_up
        run = Run(plan.run, self.stack, observed, self.ports)
        Executor(run, _Unwritten(), self.interrupts, self.handlers, remember).execute(
            replace(plan, nodes=nodes)
        )

    def _remove_orphans(self, run: str, *, required: bool) -> None:
        """No session and helper of a dead run is left. One that cannot be ended might change what
        is put back next; where nothing is, it is only said."""
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
        """Keep out who works on the same engine from elsewhere, and waits for its end like for
        the lock. A mark that cannot be made is no reason to leave anything as it is."""
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
        """Let others in, unless something is owed."""
        if self._claimed and not journals.unfinished(runs_folder(self.stack)):
            self.ports.runtime.unlock_project(self.stack.backups, self._own_runs())

    def let_others_in(self) -> None:
        """Take away the mark that an earlier run from here could not, for want of the engine."""
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
            self.ports.sink.warn(f"{error}; using what the engine has")
            with self.ports.runtime.as_found():
                return self.observe()

    def _same_engine(self, plan: Plan, observed: Observed) -> None:
        if plan.engine != observed.engine.id:
            raise RecoveryPending(
                "the interrupted run worked on another engine than the one that answers now",
                "switch back to its Docker context, then run 'inv recover'",
            )


class _Unwritten(Journal):
    """A recovery needs no journal of its own: the dead run's is settled when all of it worked,
    and every step may be repeated."""

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
    """Hold the lock, handle signals and settle dead runs first, while the block runs.

    Raise Busy when another run holds the lock for longer than `wait` seconds, StillOwed at the
    end of the block when services are still down that an earlier run owes.
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
                # Known by it, should this run die before it has a journal.
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
    """Wait for runs that are still at work although nobody held the lock: its file was removed.

    Raise Busy naming one when it takes longer.
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
