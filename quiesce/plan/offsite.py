"""How sets go to stores away from here, and come back. Pure.

After everything else of a backup: services are long up again, and the set is good here. What an
earlier run could not send goes first, so that a store has no holes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from quiesce.errors import RequestError
from quiesce.model import BackupSet, OffsiteSet, Stack
from quiesce.plan.retention import Candidate, is_safety
from quiesce.plan.services import nearest
from quiesce.plan.steps import Node, Plan, PruneStore, PullSet, PushSet, VerifySet

WHY = "a copy that the loss of this machine does not take"


def pending(stack: Stack, sets: Iterable[BackupSet], store: str) -> tuple[BackupSet, ...]:
    """Return the good sets of this instance that the store does not hold yet, oldest first.

    Safety sets stay here: they are the way back from a restore, and soon gone.
    """
    return tuple(
        backup
        for backup in sets
        if backup.manifest.instance == stack.instance.name
        and not is_safety(backup.manifest)
        and backup.state.verified_good
        and store not in backup.state.pushed
    )


def held_back(stack: Stack, sets: Iterable[BackupSet], store: str | None) -> tuple[str, ...]:
    """Return the sets of this instance that are sent only by name: never verified, or bad."""
    stores = _named(stack, store)
    return tuple(
        backup.name
        for backup in sets
        if backup.manifest.instance == stack.instance.name
        and not is_safety(backup.manifest)
        and not backup.state.verified_good
        and not set(stores) <= set(backup.state.pushed)
    )


def with_pushing(stack: Stack, sets: Sequence[BackupSet], plan: Plan, name: str) -> Plan:
    """Return the plan of a backup with sending its set, and what older runs still owe a store,
    right after it was verified: what is pruned or judged comes later."""
    nodes: list[Node] = []
    for store in stack.stores:
        owed = pending(stack, sets, store.name)
        nodes += [PushSet(s.name, store.name, "an earlier run could not") for s in owed]
        nodes.append(PushSet(name, store.name, WHY))
    at = next(index for index, node in enumerate(plan.nodes) if isinstance(node, VerifySet))
    pruned = tuple(_prune(stack))
    return replace(plan, nodes=(*plan.nodes[: at + 1], *nodes, *plan.nodes[at + 1 :], *pruned))


def plan_push(
    stack: Stack, run: str, sets: Sequence[BackupSet], chosen: BackupSet | None, store: str | None
) -> Plan:
    """Return the plan that sends one set, or all that are not there yet, to one store or all."""
    nodes: list[Node] = []
    for name in _named(stack, store):
        wanted = pending(stack, sets, name) if chosen is None else (chosen,)
        nodes += [PushSet(backup.name, name, WHY) for backup in wanted]
    return _plan(stack, run, "push", f"push sets of {stack.instance.name}", tuple(nodes))


def plan_pull(stack: Stack, run: str, name: str, store: str) -> Plan:
    """Return the plan that brings a set back from a store."""
    _named(stack, store)
    why = "checked against the sums in it, then listed like any other"
    return _plan(stack, run, "pull", f"pull {name} from {store}", (PullSet(name, store, why),))


def plan_prune_store(stack: Stack, run: str, store: str) -> Plan:
    """Return the plan that removes from a store what its own rules do not keep."""
    _named(stack, store)
    nodes = tuple(node for node in _prune(stack) if node.store == store)
    if not nodes:
        raise RequestError(
            f"store {store} has no rules", f"give stores.{store}.retention in {stack.file.name}"
        )
    return _plan(stack, run, "prune", f"prune of {store}", nodes)


def candidate(found: OffsiteSet, *, pinned: bool) -> Candidate:
    """Return what retention looks at of a set in a store. It was read back when it was sent."""
    safety = "-safety" in found.name.removeprefix(found.instance)
    group = (found.instance, found.kind, found.contents, safety)
    return Candidate(found.name, group, found.created_at, pinned=pinned or found.pinned)


def resolve(stack: Stack, sets: Sequence[OffsiteSet], wanted: str, store: str) -> OffsiteSet:
    """Return the set meant: a name, `latest` (the newest full one), `latest:data`."""
    if wanted == "latest" or wanted.startswith("latest:"):
        kind = wanted.partition(":")[2] or "full"
        found = [s for s in sets if s.kind == kind]
        if not found:
            raise RequestError(
                f"store {store} holds no {kind} set of {stack.instance.name}",
                f"run 'inv backups --store {store}'",
            )
        return max(found, key=lambda s: (s.created_at, s.name))
    for entry in sets:
        if entry.name == wanted:
            return entry
    hint = nearest(wanted, [s.name for s in sets]) if sets else "it is empty"
    raise RequestError(f"store {store} holds no set {wanted}", f"{hint}?" if sets else hint)


def _prune(stack: Stack) -> Iterable[PruneStore]:
    for store in stack.stores:
        if store.retention is not None:
            yield PruneStore(store.name, f"retention {store.retention.name}")


def _named(stack: Stack, store: str | None) -> tuple[str, ...]:
    names = tuple(entry.name for entry in stack.stores)
    if not names:
        raise RequestError(
            f"instance {stack.instance.name} has no store",
            f"name one under instances.{stack.instance.name}.stores in {stack.file.name}",
        )
    if store is not None and store not in names:
        raise RequestError(f"there is no store {store}", f"{nearest(store, names)}?")
    return (store,) if store is not None else names


def _plan(stack: Stack, run: str, verb: str, request: str, nodes: tuple[Node, ...]) -> Plan:
    # Sets are files: no engine takes part.
    return Plan(run, verb, stack.instance.name, request, stack.digest, "", nodes)
