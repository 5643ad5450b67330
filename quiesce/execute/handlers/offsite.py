"""Sets that go to stores away from here, come back, and end there."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

from quiesce.errors import QuiesceError
from quiesce.execute.handlers.keeping import set_named
from quiesce.execute.run import Run
from quiesce.plan import offsite, retention
from quiesce.plan import steps as s


def push(step: s.PushSet, run: Run) -> str:
    """Send the set; remember which store has it."""
    backup = set_named(step.set, run)
    try:
        sent = run.ports.offsite.push(step.store, backup, run.ports.sink.progress)
    except QuiesceError as error:
        raise QuiesceError(
            f"{step.set} is good here, and is not in {step.store}: {error.fact}",
            error.hint or "run 'inv push' later; the next backup does it, too",
            details=error.details,
        ) from error
    # Looked up again: sending takes long, and somebody may have pinned it meanwhile.
    state = set_named(step.set, run).state
    pushed = {**state.pushed, step.store: run.ports.clock.now()}
    run.ports.store.remember(step.set, replace(state, pushed=pushed))
    return "" if sent else "it was there"


def pull(step: s.PullSet, run: Run) -> str:
    """Fetch the set beside the others, and list it once it was compared with its sums."""
    store = run.ports.store
    directory = store.open(run.id, "pulled")
    path = run.ports.offsite.pull(step.store, step.set, directory, run.ports.sink.progress)
    adopted = store.adopt(path)
    now = run.ports.clock.now()
    state = adopted.state.checked("sums", now, good=True)
    store.remember(step.set, replace(state, pushed={**state.pushed, step.store: now}))
    run.published.append(adopted)
    return str(adopted.path)


def prune(step: s.PruneStore, run: Run) -> str:
    """Remove from the store what its rules do not keep, oldest first."""
    there = run.ports.offsite.sets(step.store)
    pinned = {entry.name for entry in run.ports.store.sets() if entry.state.pinned}
    candidates = [offsite.candidate(entry, pinned=entry.name in pinned) for entry in there]
    policy = next(entry.retention for entry in run.stack.stores if entry.name == step.store)
    if policy is None:
        return "no rules"
    zone = ZoneInfo(run.stack.timezone)
    reasons = retention.decide(candidates, policy, run.ports.clock.now(), zone)
    doomed = [entry.name for entry in there if not reasons[entry.name]]
    for name in doomed:
        run.ports.offsite.remove(step.store, name)
    return f"{len(doomed)} removed"
