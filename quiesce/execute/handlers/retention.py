"""Steps of retention: pin, accept and remove sets."""

from __future__ import annotations

from dataclasses import replace

from quiesce.errors import RequestError
from quiesce.execute.handlers.registry import handles
from quiesce.execute.run import Run
from quiesce.model import BackupSet
from quiesce.plan import retention
from quiesce.plan import steps as s


@handles(s.RemoveExpired)
def remove_expired(step: s.RemoveExpired, run: Run) -> str:
    """Remove the sets, oldest first, unless the new one looks like a loss."""
    store = run.ports.store
    present = {backup.name: retention.candidate(backup) for backup in store.sets()}
    new, before = present.get(step.new), present.get(step.before)
    fact = retention.loss(before, new) if before and new and not new.accepted else ""
    if fact:
        run.ports.sink.warn(
            f"nothing was pruned: {step.new} {fact} of {step.before}; if that is expected, run "
            "'inv prune --force'"
        )
        return "held back"
    for name in step.sets:
        store.remove(name)
    return f"{len(step.sets)} removed"


@handles(s.PinSet)
def pin(step: s.PinSet, run: Run) -> str:
    backup = set_named(step.set, run)
    run.ports.store.remember(step.set, replace(backup.state, pinned=step.pinned))
    return ""


@handles(s.AcceptSet)
def accept(step: s.AcceptSet, run: Run) -> str:
    backup = set_named(step.set, run)
    run.ports.store.remember(step.set, replace(backup.state, accepted=True))
    return ""


def set_named(name: str, run: Run) -> BackupSet:
    """Return the set of this name. Raise RequestError if it no longer exists."""
    for backup in run.ports.store.sets():
        if backup.name == name:
            return backup
    raise RequestError(f"set {name} no longer exists", "run 'inv backups'")
