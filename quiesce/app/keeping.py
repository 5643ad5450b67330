"""Which sets stay: prune, keep, unkeep, and what a backup prunes after itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from quiesce.app import choosing, reports
from quiesce.app.changing import changing
from quiesce.app.connect import disconnect
from quiesce.app.frame import Frame
from quiesce.observed import NOTHING
from quiesce.plan import describe, prune, retention
from quiesce.plan.steps import (
    ArchiveVolume,
    DumpDatabase,
    OpenSet,
    Plan,
    VerifySet,
    steps_of,
)
from quiesce.report import words

if TYPE_CHECKING:
    from datetime import datetime

    from quiesce.execute.run import Ports
    from quiesce.model import BackupSet, Stack


def with_pruning(stack: Stack, ports: Ports, plan: Plan, now: datetime) -> Plan:
    """Return the plan of a backup with the removal of what its set replaces, once verified."""
    opened = next(step for _, step in steps_of(plan.nodes) if isinstance(step, OpenSet))
    contents = {
        step.database if isinstance(step, DumpDatabase) else step.volume
        for _, step in steps_of(plan.nodes)
        if isinstance(step, DumpDatabase | ArchiveVolume)
    }
    own = [
        retention.candidate(s, stack.stores)
        for s in ports.store.sets()
        if s.manifest.instance == stack.instance.name
    ]
    zone = ZoneInfo(stack.timezone)
    nodes = prune.after_backup(stack, own, opened.set, opened.kind, contents, now, zone)
    at = next(index for index, node in enumerate(plan.nodes) if isinstance(node, VerifySet))
    return replace(plan, nodes=(*plan.nodes[: at + 1], *nodes, *plan.nodes[at + 1 :]))


class Keeping(Frame):
    """What decides how long sets live."""

    def prune(self, *, force: bool) -> None:
        """Remove the sets that no rule keeps, after a yes. Every set is shown with its rules.

        `force` accepts sets that look like a loss; without it they hold back what is older.
        """
        doomed: list[BackupSet] = []
        accepted: list[str] = []

        def plan(ports: Ports, run: str) -> Plan:
            own = [s for s in ports.store.sets() if self._own(s)]
            candidates = [retention.candidate(backup, self.stack.stores) for backup in own]
            now = self.clock.now()
            if force:
                while found := retention.suspicions(candidates, now):
                    names = {suspicion.name for suspicion in found}
                    accepted.extend(sorted(names))
                    candidates = [
                        replace(c, accepted=True) if c.name in names else c for c in candidates
                    ]
            for suspicion in retention.suspicions(candidates, now):
                self.reporter.warn(
                    f"what is older is held back: {suspicion}; "
                    "if that is right, run 'inv prune --force'"
                )
            zone = ZoneInfo(self.stack.timezone)
            reasons = retention.decide(candidates, self.stack.retention, now, zone)
            self.reporter.sets(own, now, reasons=reasons, unreadable=ports.store.unreadable())
            doomed[:] = [s for s in own if s.name in prune.expired(candidates, reasons)]
            return prune.plan_prune(
                self.stack,
                run,
                candidates,
                reasons,
                accepted=accepted,
                half_removed=ports.store.half_removed(),
            )

        def question() -> str:
            freed = words.size(sum(s.bytes for s in doomed))
            return f"remove {words.counted(len(doomed), 'set')} ({freed})?" if doomed else ""

        if self._change_sets("prune", plan, question):
            facts = {"removed": [s.name for s in doomed], "freed_bytes": _bytes(doomed)}
            self.reporter.done("pruned" if doomed else "there is nothing to prune", facts)

    def keep(self, file: str, *, pinned: bool) -> None:
        """Pin a set, so that retention never removes it, or let retention have it again."""
        chosen = choosing.resolve(self.stack, self._store_sets(), file, lambda _: "latest")
        done = self._change_sets(
            "keep" if pinned else "unkeep",
            lambda _, run: prune.plan_pin(self.stack, run, chosen.name, pinned=pinned),
        )
        if done:
            words_ = "is kept" if pinned else "is retention's to decide about again"
            self.reporter.done(f"{chosen.name} {words_}", {"set": chosen.name, "pinned": pinned})

    # ------------------------------------------------------------------------------------ inside

    def _reasons(self, sets: Sequence[BackupSet]) -> retention.Reasons:
        """What keeps each set. Other instances have rules of their own: theirs all stay."""
        own = [retention.candidate(s, self.stack.stores) for s in sets if self._own(s)]
        zone = ZoneInfo(self.stack.timezone)
        reasons = retention.decide(own, self.stack.retention, self.clock.now(), zone)
        others = {s.name: (f"instance {s.manifest.instance}",) for s in sets if not self._own(s)}
        return {**reasons, **others}

    def _change_sets(
        self,
        task: str,
        planner: Callable[[Ports, str], Plan],
        question: Callable[[], str] = lambda: "",
    ) -> bool:
        """Plan and carry out a change of sets alone; whether anything was carried out."""
        run = self._run_id()
        if self.options.dry_run:
            ports = self._connect(run)
            try:
                self.reporter.plan(planner(ports, run))
            finally:
                disconnect(ports, run)
            return False
        with (
            reports.reported(self.stack, run, task, self.clock, self.reporter) as account,
            changing(
                self.stack,
                run,
                task,
                self.clock.now(),
                lambda: self._connect(run),
                wait=self.options.wait,
            ) as work,
        ):
            plan = planner(work.ports, run)
            if asked := question():
                self._require_yes(asked)
            if plan.nodes:
                work.carry_out(plan, NOTHING)
            self._leave(work, account)
            account.facts["steps"] = [describe.sentence(s) for _, s in steps_of(plan.nodes)]
        return True

    def _own(self, backup: BackupSet) -> bool:
        return backup.manifest.instance == self.stack.instance.name


def _bytes(sets: list[BackupSet]) -> int:
    return sum(backup.bytes for backup in sets)
