"""Steps of off-site stores: push, pull and prune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from quiesce.errors import QuiesceError
from quiesce.execute.handlers.registry import handles
from quiesce.execute.handlers.retention import set_named
from quiesce.execute.run import Ports, Run
from quiesce.model import OffsiteSet
from quiesce.plan import offsite, retention
from quiesce.plan import steps as s
from quiesce.plan.retention import Candidate


@handles(s.PushSet)
def push(step: s.PushSet, run: Run) -> str:
    """Upload the set and record which store contains it."""
    backup = set_named(step.set, run)
    try:
        sent = run.ports.offsite.push(step.store, backup, run.ports.sink.progress)
    except QuiesceError as error:
        raise QuiesceError(
            f"{step.set} was made, but could not be uploaded to {step.store}: {error.fact}",
            error.hint or "run 'inv push' later; the next backup uploads it as well",
            details=error.details,
        ) from error
    # Read again: uploading takes long, and the set may have been pinned meanwhile.
    state = set_named(step.set, run).state
    pushed = {**state.pushed, step.store: run.ports.clock.now()}
    run.ports.store.remember(step.set, replace(state, pushed=pushed))
    return "" if sent else "already there"


@handles(s.PullSet)
def pull(step: s.PullSet, run: Run) -> str:
    """Download the set, and publish it after it was compared with its sums."""
    store, port = run.ports.store, run.ports.offsite
    found = next((entry for entry in port.sets(step.store) if entry.name == step.set), None)
    if found is None:
        raise QuiesceError(f"{step.set} is no longer in {step.store}", "run this again")
    offsite.require_trusted(
        found,
        next(entry for entry in run.stack.stores if entry.name == step.store),
        port.trust(step.store, step.set),
        unsigned=step.unsigned,
        unencrypted=step.unencrypted,
    )
    directory = store.open(run.id, "pulled")
    path = port.pull(step.store, step.set, directory, run.ports.sink.progress)
    adopted = store.adopt(path)
    now = run.ports.clock.now()
    state = adopted.state.checked("sums", now, good=True)
    store.remember(step.set, replace(state, pushed={**state.pushed, step.store: now}))
    run.published.append(adopted)
    return str(adopted.path)


@handles(s.PruneStore)
def prune(step: s.PruneStore, run: Run) -> str:
    """Remove sets from the store that its rules do not keep, oldest first, unless a set in it looks
    like a loss."""
    port, now = run.ports.offsite, run.ports.clock.now()
    policy = next(entry.retention for entry in run.stack.stores if entry.name == step.store)
    if policy is None:
        return "no rules"
    there = port.sets(step.store)
    found = store_candidates(run.ports, step.store, there, force=step.force)
    for suspicion in retention.suspicions(found, now):
        run.ports.sink.warn(
            f"{step.store}: older sets are kept because {suspicion}; if that is expected, run "
            f"'inv prune --store {step.store} --force'"
        )
    reasons = retention.decide(found, policy, now, ZoneInfo(run.stack.timezone))
    doomed = [entry.name for entry in there if not reasons[entry.name]]
    for name in doomed:
        port.remove(step.store, name)
    return f"{len(doomed)} removed"


def store_candidates(
    ports: Ports, store: str, there: Sequence[OffsiteSet], *, force: bool = False
) -> tuple[Candidate, ...]:
    """Return the facts that retention needs about the sets in a store. `force` permanently accepts
    sets that look like a loss, and counts sets whose origin is not confirmed."""
    port = ports.offsite
    trust = {entry.name: port.trust(store, entry.name) for entry in there}
    found = offsite.candidates(
        there, ports.store.sets(), store, trust, port.accepted(store), port.damaged(store)
    )
    if not force:
        return found
    found = tuple(replace(entry, stranger=False) for entry in found)
    now = ports.clock.now()
    while suspicious := {entry.name for entry in retention.suspicions(found, now)}:
        for name in sorted(suspicious):
            port.accept(store, name)
        found = tuple(
            replace(entry, accepted=True) if entry.name in suspicious else entry for entry in found
        )
    return found
