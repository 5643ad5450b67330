"""The frame around every verb that changes something: lock, recovery, plan, journal, execution."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from quiesce.app.backups_folder import RUNS, secure
from quiesce.app.connect import disconnect
from quiesce.app.declared import keep_declaration
from quiesce.errors import Busy, QuiesceError, RequestError, StillOwed
from quiesce.execute import journal as journals
from quiesce.execute import lock
from quiesce.execute.executor import Executor, Handlers
from quiesce.execute.guard import guarded, stops
from quiesce.execute.handlers import HANDLERS
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.journal import DeadRun, Journal
from quiesce.execute.run import Ports, Run
from quiesce.model import BackupSet, Stack
from quiesce.observe import observe
from quiesce.observed import Observed
from quiesce.plan.recover import owed_nodes
from quiesce.plan.steps import Plan

KEPT_JOURNALS = 50

Planner = Callable[[Observed], Plan]


def runs_folder(stack: Stack) -> Path:
    """Where the instance's journals and its lock are."""
    return stack.backups / RUNS / stack.instance.name


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
    _claimed: bool = False

    def observe(self) -> Observed:
        """Look, once nobody else who shares the engine can change it between look and deed."""
        self._claim()
        return observe(self.stack, self.ports.runtime, self.ports.databases)

    def carry_out(
        self, plan: Plan, observed: Observed, sources: Mapping[str, BackupSet] | None = None
    ) -> Run:
        """Execute the plan, journalled; return what the run found out. Raises as the executor."""
        run = Run(plan.run, self.stack, observed, self.ports, sources or {})
        journal = Journal(runs_folder(self.stack), plan.run)
        if self.held is not None:
            # Planning and questions take time. With the file gone, another run holds another lock.
            self.held.require()
        if stops(plan):
            keep_declaration(self.stack, runs_folder(self.stack))
        journal.open(plan, self.ports.clock.now())
        with guarded(self.stack, plan, runs_folder(self.stack) / "guard.log"):
            Executor(run, journal, self.interrupts, self.handlers).execute(plan)
        journals.forget_old(runs_folder(self.stack), KEPT_JOURNALS)
        return run

    def recover(self) -> tuple[str, ...]:
        """Settle every dead run, newest first, aloud. Return what was settled.

        Raise StillOwed when something of it fails again.
        """
        for run in self.ports.store.abandoned(journalled(self.stack)):
            self.ports.store.discard(run)
            self.ports.sink.note(f"removed what run {run} left, which died before it did anything")
        done = []
        for dead in journals.unfinished(runs_folder(self.stack)):
            done.append(self._settle(dead))
        return tuple(done)

    def _settle(self, dead: DeadRun) -> str:
        sink = self.ports.sink
        if dead.plan is None:
            raise StillOwed(
                f"run {dead.run} was interrupted, and {dead.problem}",
                f"see what it stopped with 'inv status', start it, then remove {dead.path}",
            )
        sink.note(f"run {dead.run} ({dead.plan.request}) was interrupted: settling it first")
        self._claim()
        for port in (self.ports.runtime, self.ports.databases, self.ports.volumes):
            for what in port.sweep(dead.run):
                sink.note(f"removed {what}")
        nodes = owed_nodes(dead.plan, dead.progress)
        if nodes:
            observed = self._observe_anyhow()
            self._same_engine(dead.plan, observed)
            # Its own id stays: side names and staging folders carry it.
            run = Run(dead.run, self.stack, observed, self.ports)
            Executor(run, _Unwritten(), self.interrupts, self.handlers).execute(
                Plan(
                    dead.run,
                    "recover",
                    dead.plan.instance,
                    f"recover {dead.plan.request}",
                    dead.plan.stack_digest,
                    dead.plan.engine,
                    nodes,
                )
            )
        # Also where nothing is owed: it may have died between its last bracket and its end.
        self.ports.store.discard(dead.run)
        journals.close_dead(dead, "recovered")
        sink.note(f"run {dead.run} is settled")
        return dead.plan.request

    def _claim(self) -> None:
        """Keep out who works on the same engine from elsewhere, and waits for its end like for
        the lock. A mark that cannot be made is no reason to leave anything as it is."""
        if self.stack.instance.throwaway:
            return
        deadline = self.ports.clock.monotonic() + self.wait
        while True:
            try:
                self.ports.runtime.claim(self.stack.backups, self.run, self._own_runs())
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

    def disclaim(self) -> None:
        """Let others in, unless something is owed."""
        if self._claimed and not journals.unfinished(runs_folder(self.stack)):
            self.ports.runtime.disclaim(self.stack.backups, self._own_runs())

    def let_others_in(self) -> None:
        """Take away the mark that an earlier run from here could not, for want of the engine."""
        with contextlib.suppress(QuiesceError):
            self._claimed = not self.stack.instance.throwaway
            self.disclaim()

    def _own_runs(self) -> frozenset[str]:
        return frozenset(path.stem for path in runs_folder(self.stack).glob("*.jsonl"))

    def _observe_anyhow(self) -> Observed:
        try:
            return self.observe()
        except RequestError as error:
            if error.lost_engine:
                raise
            self.ports.sink.warn(f"{error}; going by what the engine has")
            with self.ports.runtime.as_found():
                return self.observe()

    def _same_engine(self, plan: Plan, observed: Observed) -> None:
        if plan.engine != observed.engine.id:
            raise StillOwed(
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

    Raise Busy when another run holds the lock for longer than `wait` seconds.
    """
    if not stack.directory.is_dir():
        raise RequestError(f"{stack.directory} is not a folder", "name another with --stack")
    interrupts = Interrupts()
    with interrupts.installed():
        secure(stack)
        until = time.monotonic() + wait
        with lock.held(runs_folder(stack) / "lock", run, task, started, wait) as held:
            _wait_for_living(runs_folder(stack), until)
            work = Changing(stack, run, make_ports(), interrupts, wait=wait, held=held)
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
                f"{request} is still at work (pid {first.process.get('pid')}, since "
                f"{first.began[:19]}), though its lock file was removed",
                "wait for it, or let this run wait with --wait SECONDS; nothing but Quiesce may "
                f"remove files in {folder}",
            )
        time.sleep(lock.POLL_SECONDS)


def _close(work: Changing) -> None:
    for let_go in (work.disclaim, lambda: disconnect(work.ports, work.run)):
        try:
            let_go()
        except QuiesceError as error:
            work.ports.sink.warn(str(error))
