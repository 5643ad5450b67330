"""The session that every verb is given: connect, observe, ask, plan and execute."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from quiesce.app import run_reports
from quiesce.app.confirm import require_yes
from quiesce.app.leftovers import leftovers, require_safety_set, require_services
from quiesce.app.run import changing
from quiesce.app.wiring import SystemClock, check_recipients, connect, disconnect, open_store
from quiesce.errors import CheckFailed, RecoveryPending, Refused, RequestError
from quiesce.observe import observe
from quiesce.observed import Engine, Observed
from quiesce.plan import naming
from quiesce.plan.foreign_mounts import refuse_foreign_mounts
from quiesce.plan.project_name import refuse_other_projects
from quiesce.plan.steps import DumpDatabase, EncryptSet, ExportSnapshot, steps_of, with_parts

if TYPE_CHECKING:
    from quiesce.app.run import Changing
    from quiesce.execute.run import Ports, Run
    from quiesce.model import BackupSet, RestoreSource, Stack
    from quiesce.plan.steps import Plan
    from quiesce.ports import BackupStore
    from quiesce.report import Reporter

#: The observation of verbs that need no engine: sets are files.
NOTHING = Observed(Engine("", "none", "", local=False), (), (), (), (), 0)

Planner = Callable[["Ports", "Observed", str], "Plan"]
Confirm = Callable[["Ports", "Observed", "Plan"], None]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of every task. `wait` is in seconds, `environ` the process's environment.

    `instance` is the one named on the command line, if any; `identity` the file with the key that
    decrypts sets.
    """

    dry_run: bool = False
    yes: bool = False
    confirm: str | None = None
    wait: float = 0.0
    instance: str | None = None
    identity: Path | None = None
    #: Accept sets from a store without proof that they were pushed from here, or unencrypted ones
    #: although sets are encrypted.
    accept_unsigned: bool = False
    accept_unencrypted: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)


class Session:
    """The context of every verb of an instance."""

    def __init__(self, stack: Stack, reporter: Reporter, options: Options) -> None:
        self.stack = stack
        self.reporter = reporter
        self.options = options
        self.clock = SystemClock()
        self._pending: list[RecoveryPending] = []
        #: The sets that the last change published, also if it failed afterwards.
        self.published: tuple[BackupSet, ...] = ()

    def with_options(self, **changes: Any) -> Session:
        """Return this session with other options. What it leaves pending counts for this one, too:
        the task's exit code depends on it."""
        other = Session(self.stack, self.reporter, replace(self.options, **changes))
        other._pending = self._pending
        return other

    def change(
        self,
        task: str,
        planner: Planner,
        done: str = "",
        *,
        confirm: str | Confirm = "",
        sources: Mapping[str, RestoreSource] | None = None,
        replaces: str = "",
        note: str = "",
    ) -> Run | None:
        """Observe, plan and execute; for a dry run, observe, plan and show. Return None for a dry
        run.

        A change with `sources` replaces data, and is recorded in the log of restores with `note`;
        so is one that names in `replaces` what it brings back.

        `confirm` is a yes/no question, or is called with the plan and raises Refused. An empty plan
        needs no confirmation.
        """
        run_id = self.new_run_id()
        if self.options.dry_run:
            ports = self.connect(run_id)
            try:
                seen = observe(self.stack, ports.runtime, ports.databases)
                refuse_other_projects(self.stack, seen)
                made = planner(ports, seen, run_id)
                refuse_foreign_mounts(seen, made)
                self.reporter.plan(made)
            finally:
                disconnect(ports, run_id)
            return None
        with (
            run_reports.reported(self.stack, run_id, task, self.clock, self.reporter) as account,
            self.changing(task, run_id) as work,
        ):
            if work.settled:
                account.facts["recovered"] = list(work.settled)
            seen = work.observe()
            refuse_other_projects(self.stack, seen)
            plan = planner(work.ports, seen, run_id)
            refuse_foreign_mounts(seen, plan)
            self._require_holdable(work.ports, seen, plan)
            if any(isinstance(step, EncryptSet) for step in with_parts(plan.nodes)):
                # Check before anything stops, not when the set is encrypted.
                check_recipients(self.stack)
            if isinstance(confirm, str):
                if confirm:
                    self.require_yes(confirm)
            elif plan.nodes:
                confirm(work.ports, seen, plan)
            account.source, account.note = replaces or ", ".join(sources or ()), note
            account.begin_restore(self.clock.now())
            try:
                run = work.execute(plan, seen, sources)
            except CheckFailed:
                self._keep_published(work, account)
                raise
            if sources:
                work.retry_services()
            account.facts.update(run_reports.run_facts(run))
            self._leave(work, account)
        if done:
            self.reporter.done(done, {})
        return run

    def _keep_published(self, work: Changing, account: run_reports.Account) -> None:
        """Record in the report what a run published before a check failed."""
        if work.last is not None:
            self.published = tuple(work.last.published)
            account.facts.update(run_reports.run_facts(work.last))

    def _leave(self, work: Changing, account: run_reports.Account) -> None:
        """Record pending work in the report."""
        if not work.pending:
            return
        account.facts["pending"] = [
            {"run": one.run, "what": one.what, "fact": one.fact}
            for one in leftovers(self.stack, work.ports)
        ]
        try:
            require_safety_set(self.stack, work.ports, work.run)
            require_services(self.stack)
        except RecoveryPending as pending:
            account.pending = pending
            self._pending.append(pending)

    def require_services(self) -> None:
        """Raise RecoveryPending if a task is done, but services of an earlier run are still
        down."""
        if self._pending:
            raise self._pending[-1]

    def _require_holdable(self, ports: Ports, seen: Observed, plan: Plan) -> None:
        """Raise RequestError for anything that would prevent exporting snapshots once services are
        stopped."""
        keys = {
            step.database
            for step in with_parts(plan.nodes)
            if isinstance(step, ExportSnapshot | DumpDatabase)
        }
        there = [d for d in self.stack.databases if d.key in keys and seen.database(d.key).exists]
        if there and (problems := ports.databases.rehearse(there)):
            raise RequestError(
                f"the databases cannot be dumped as they are: {problems[0]}",
                "correct that, then try again; nothing was stopped",
                details=problems[1:],
            )

    def changing(
        self, task: str, run: str = "", *, recover: bool = True
    ) -> AbstractContextManager[Changing]:
        """Lock the instance for this task and recover dead runs first, around a block; see
        `run.changing`. `run` is the id to use, if there is one already."""
        named = run or self.new_run_id()
        return changing(
            self.stack,
            named,
            task,
            self.clock.now(),
            lambda: self.connect(named),
            wait=self.options.wait,
            recover=recover,
        )

    def change_sets(
        self,
        task: str,
        planner: Callable[[Ports, str], Plan],
        question: Callable[[], str] = lambda: "",
    ) -> bool:
        """Plan and execute a change of sets only; return whether anything was done."""
        run = self.new_run_id()
        if self.options.dry_run:
            ports = self.connect(run)
            try:
                self.reporter.plan(planner(ports, run))
            finally:
                disconnect(ports, run)
            return False
        with (
            run_reports.reported(self.stack, run, task, self.clock, self.reporter) as account,
            self.changing(task, run) as work,
        ):
            plan = planner(work.ports, run)
            if asked := question():
                self.require_yes(asked)
            if plan.nodes:
                work.execute(plan, NOTHING)
            self._leave(work, account)
            account.facts["steps"] = [s.sentence() for _, s in steps_of(plan.nodes)]
        return True

    def require_yes(self, question: str) -> None:
        require_yes(self.reporter, question, (), yes=self.options.yes)

    def ask_for_set(self, sets: Sequence[BackupSet]) -> str:
        self.reporter.sets(sets, self.clock.now(), unreadable=())
        answer = self.reporter.ask("which set should be restored?", ())
        if not answer or not answer.strip():
            raise Refused("no set was chosen", "name one with --file, for example --file latest")
        return answer.strip()

    @contextmanager
    def observed(self) -> Iterator[tuple[Ports, Observed]]:
        """Observe without a lock; report an interrupted run that waits for recovery."""
        with self.connected() as (ports, _):
            yield ports, observe(self.stack, ports.runtime, ports.databases)

    @contextmanager
    def connected(self) -> Iterator[tuple[Ports, str]]:
        """Yield the ports of a new run and its id; close every session and helper at the end."""
        run = self.new_run_id()
        ports = self.connect(run)
        try:
            yield ports, run
        finally:
            disconnect(ports, run)

    def connect(self, run: str) -> Ports:
        return connect(self.stack, run, self.reporter, self.identity())

    def identity(self) -> Path | None:
        named = self.options.environ.get("QUIESCE_IDENTITY")
        return self.options.identity or (Path(named) if named else None)

    @property
    def store(self) -> BackupStore:
        """The sets of this stack, without a connection to its engine."""
        return open_store(self.stack.backups)

    def local_sets(self) -> tuple[BackupSet, ...]:
        return self.store.sets()

    def new_run_id(self) -> str:
        return naming.run_id(self.clock.now(), secrets.token_hex(3))

    def new_set_name(self, ports: Ports, mark: str = "") -> str:
        local = self.clock.now().astimezone(ZoneInfo(self.stack.timezone))
        return naming.set_name(self.stack.instance.name, local, ports.store.names(), mark)
