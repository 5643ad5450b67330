"""The plan of `prune`. Pure.

Oldest sets are removed first, so that an interrupted run leaves the newest ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo

from quiesce.model import SetKind, Stack
from quiesce.plan.retention import Candidate, Reasons, decide
from quiesce.plan.steps import AcceptSet, Node, PinSet, Plan, RemoveExpired, RemoveSet


def plan_prune(
    stack: Stack,
    run: str,
    sets: Sequence[Candidate],
    reasons: Reasons,
    *,
    accepted: Sequence[str] = (),
    half_removed: Sequence[str] = (),
) -> Plan:
    """Return the plan that removes every set without a reason.

    `accepted` are suspicious sets that the user accepted, `half_removed` are sets that a dead run
    hid and did not delete completely.
    """
    doomed = expired(sets, reasons)
    nodes: tuple[Node, ...] = (
        *(AcceptSet(name, "accepted with --force") for name in accepted),
        *(RemoveSet(name, "an earlier removal was interrupted") for name in half_removed),
        *(RemoveSet(name, _why(stack)) for name in doomed),
    )
    return _plan(stack, run, "prune", f"prune of {stack.instance.name}", nodes)


def plan_pin(stack: Stack, run: str, name: str, *, pinned: bool) -> Plan:
    """Return the plan that pins or unpins a set."""
    why = "retention never removes it" if pinned else "retention may remove it again"
    verb = "keep" if pinned else "unkeep"
    return _plan(stack, run, verb, f"{verb} {name}", (PinSet(name, pinned, why),))


def after_backup(
    stack: Stack,
    sets: Sequence[Candidate],
    name: str,
    kind: SetKind,
    contents: Iterable[str],
    now: datetime,
    zone: tzinfo,
) -> tuple[Node, ...]:
    """Return the steps that prune once the set `name` is published and verified.

    Its contents are not known yet; the step itself checks them before it removes anything.
    """
    new = Candidate(name, (stack.instance.name, kind, tuple(sorted(contents)), False), now)
    doomed = expired(sets, decide((*sets, new), stack.retention, now, zone))
    if not doomed:
        return ()
    group = [s for s in sets if s.group == new.group and s.verified and s.created_at <= now]
    before = max(group, key=lambda s: (s.created_at, s.name), default=None)
    return (RemoveExpired(doomed, name, before.name if before else "", _why(stack)),)


def expired(sets: Sequence[Candidate], reasons: Reasons) -> tuple[str, ...]:
    """Return the names of the sets that nothing keeps, oldest first."""
    ordered = sorted(sets, key=lambda s: (s.created_at, s.name))
    return tuple(entry.name for entry in ordered if not reasons[entry.name])


def _why(stack: Stack) -> str:
    return f"no rule of retention {stack.retention.name} keeps it"


def _plan(stack: Stack, run: str, verb: str, request: str, nodes: tuple[Node, ...]) -> Plan:
    # Sets are files, so they can be removed even if no engine answers.
    return Plan(run, verb, stack.instance.name, request, stack.digest, "", nodes)
