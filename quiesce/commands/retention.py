"""The verbs `backups`, `prune`, `keep` and `unkeep`, and the pruning of a backup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from quiesce.app import set_ref
from quiesce.plan import prune, retention
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

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.model import BackupSet
    from quiesce.plan.steps import Plan
from quiesce.app.session import Session


def with_pruning(stack: Stack, ports: Ports, plan: Plan, now: datetime) -> Plan:
    """Return the plan of a backup with steps that remove expired sets after the verification."""
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


def run_prune(session: Session, *, force: bool) -> None:
    """Remove the sets that no rule keeps, after a confirmation. Shows why each set is kept.

    `force` accepts sets that look like a loss; without it, older sets are kept because of them.
    """
    doomed: list[BackupSet] = []
    accepted: list[str] = []

    def plan(ports: Ports, run: str) -> Plan:
        own = [s for s in ports.store.sets() if is_own(session, s)]
        candidates = [retention.candidate(backup, session.stack.stores) for backup in own]
        now = session.clock.now()
        if force:
            while found := retention.suspicions(candidates, now):
                names = {suspicion.name for suspicion in found}
                accepted.extend(sorted(names))
                candidates = [
                    replace(c, accepted=True) if c.name in names else c for c in candidates
                ]
        for suspicion in retention.suspicions(candidates, now):
            session.reporter.warn(
                f"older sets are kept because {suspicion}; if that is expected, run 'inv prune "
                "--force'"
            )
        zone = ZoneInfo(session.stack.timezone)
        reasons = retention.decide(candidates, session.stack.retention, now, zone)
        session.reporter.sets(own, now, reasons=reasons, unreadable=ports.store.unreadable())
        doomed[:] = [s for s in own if s.name in prune.expired(candidates, reasons)]
        return prune.plan_prune(
            session.stack,
            run,
            candidates,
            reasons,
            accepted=accepted,
            half_removed=ports.store.half_removed(),
        )

    def question() -> str:
        freed = words.size(sum(s.bytes for s in doomed))
        return f"remove {words.counted(len(doomed), 'set')} ({freed})?" if doomed else ""

    if session.change_sets("prune", plan, question):
        facts = {"removed": [s.name for s in doomed], "freed_bytes": _bytes(doomed)}
        session.reporter.done("pruned" if doomed else "there is nothing to prune", facts)


def run_keep(session: Session, file: str, *, pinned: bool) -> None:
    """Pin a set, so that retention never removes it, or unpin it."""
    ref = set_ref.parse(session.stack, file)
    chosen = set_ref.resolve(session.stack, session.local_sets(), ref)
    done = session.change_sets(
        "keep" if pinned else "unkeep",
        lambda _, run: prune.plan_pin(session.stack, run, chosen.name, pinned=pinned),
    )
    if done:
        words_ = "is pinned" if pinned else "is unpinned"
        session.reporter.done(f"{chosen.name} {words_}", {"set": chosen.name, "pinned": pinned})


def reasons(session: Session, sets: Sequence[BackupSet]) -> retention.Reasons:
    """Return why each set is kept. Sets of other instances are always kept."""
    mine = [retention.candidate(s, session.stack.stores) for s in sets if is_own(session, s)]
    zone = ZoneInfo(session.stack.timezone)
    decided = retention.decide(mine, session.stack.retention, session.clock.now(), zone)
    others = {s.name: (f"instance {s.manifest.instance}",) for s in sets if not is_own(session, s)}
    return {**decided, **others}


def is_own(session: Session, backup: BackupSet) -> bool:
    """Whether the set is a backup of this instance."""
    return backup.manifest.instance == session.stack.instance.name


def run_backups(
    session: Session,
) -> None:
    """List the sets."""
    store = session.store
    sets, now = store.sets(), session.clock.now()
    session.reporter.sets(sets, now, reasons=reasons(session, sets), unreadable=store.unreadable())


def _bytes(sets: list[BackupSet]) -> int:
    return sum(backup.bytes for backup in sets)
