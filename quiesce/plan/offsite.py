"""The plans of `push` and `pull`, and which sets of a store are trusted. Pure.

A backup uploads its set last, after services have restarted and the set was verified. Sets that an
earlier run could not upload go first, so that a store has no gaps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from quiesce.errors import RequestError
from quiesce.model import BackupSet, OffsiteSet, OffsiteStore, Stack, Trust
from quiesce.plan.coverage import at_the_end
from quiesce.plan.retention import Candidate
from quiesce.plan.set_ref import SetRef
from quiesce.plan.steps import Node, Plan, PruneStore, PullSet, PushSet, VerifySet
from quiesce.suggest import suggest

WHY = "an off-site copy survives the loss of this machine"


def pending(stack: Stack, sets: Iterable[BackupSet], store: str) -> tuple[BackupSet, ...]:
    """Return the verified sets of this instance that are not in the store yet, oldest first.

    Safety sets are not uploaded: they only serve `undo-restore` and are soon removed.
    """
    return tuple(
        backup
        for backup in sets
        if backup.manifest.instance == stack.instance.name
        and not backup.manifest.safety
        and backup.state.verified_good
        and store not in backup.state.pushed
    )


def held_back(stack: Stack, sets: Iterable[BackupSet], store: str | None) -> tuple[str, ...]:
    """Return the sets that are uploaded only if named: never verified, or damaged."""
    stores = _named(stack, store)
    return tuple(
        backup.name
        for backup in sets
        if backup.manifest.instance == stack.instance.name
        and not backup.manifest.safety
        and not backup.state.verified_good
        and not set(stores) <= set(backup.state.pushed)
    )


def with_pushing(stack: Stack, sets: Sequence[BackupSet], plan: Plan, name: str) -> Plan:
    """Return the plan of a backup with steps that upload its set, and older pending sets, right
    after the verification and before pruning and checks."""
    nodes: list[Node] = []
    for store in stack.stores:
        unsent = pending(stack, sets, store.name)
        nodes += [PushSet(s.name, store.name, "an earlier upload failed") for s in unsent]
        nodes.append(PushSet(name, store.name, WHY))
    at = next(index for index, node in enumerate(plan.nodes) if isinstance(node, VerifySet))
    pruned = tuple(_prune(stack))
    pushed = replace(plan, nodes=(*plan.nodes[: at + 1], *nodes, *plan.nodes[at + 1 :]))
    return replace(pushed, nodes=at_the_end(pushed, pruned))


def plan_push(
    stack: Stack, run: str, sets: Sequence[BackupSet], chosen: BackupSet | None, store: str | None
) -> Plan:
    """Return the plan that uploads one set, or all missing ones, to one store or all."""
    nodes: list[Node] = []
    for name in _named(stack, store):
        wanted = pending(stack, sets, name) if chosen is None else (chosen,)
        nodes += [PushSet(backup.name, name, WHY) for backup in wanted]
    return _plan(stack, run, "push", f"push sets of {stack.instance.name}", tuple(nodes))


def plan_pull(
    stack: Stack,
    run: str,
    name: str,
    store: str,
    *,
    unsigned: bool = False,
    unencrypted: bool = False,
) -> Plan:
    """Return the plan that downloads a set from a store; see `require_trusted`."""
    _named(stack, store)
    why = "checked against its sums, then listed like any other set"
    step = PullSet(name, store, why, unsigned=unsigned, unencrypted=unencrypted)
    return _plan(stack, run, "pull", f"pull {name} from {store}", (step,))


def plan_prune_store(stack: Stack, run: str, store: str, *, force: bool = False) -> Plan:
    """Return the plan that removes expired sets from a store. `force` accepts
    sets that look like a loss, and counts sets whose origin is not confirmed."""
    _named(stack, store)
    nodes = tuple(replace(node, force=force) for node in _prune(stack) if node.store == store)
    if not nodes:
        raise RequestError(
            f"store {store} has no retention rules",
            f"add stores.{store}.retention to {stack.file.name}",
        )
    return _plan(stack, run, "prune", f"prune of {store}", nodes)


def candidates(
    sets: Iterable[OffsiteSet],
    local: Iterable[BackupSet],
    store: str,
    trust: Mapping[str, Trust],
    accepted: Collection[str],
    damaged: Collection[str] = (),
) -> tuple[Candidate, ...]:
    """Return the facts that retention needs about the sets in a store. They were verified when they
    were uploaded. `local` are the local sets, `accepted` those whose small size was accepted,
    `damaged` those found damaged since."""
    here = {backup.name: backup for backup in local}
    return tuple(
        _candidate(
            found,
            here.get(found.name),
            store,
            trust[found.name],
            found.name in accepted,
            found.name in damaged,
        )
        for found in sets
    )


def _candidate(
    found: OffsiteSet,
    here: BackupSet | None,
    store: str,
    trust: Trust,
    accepted: bool,  # noqa: FBT001
    damaged: bool,  # noqa: FBT001
) -> Candidate:
    amounts = {}
    for text, amount in found.amounts.items():
        unit, _, source = text.partition(" ")
        amounts[unit, source] = amount
    # Sets that earlier versions uploaded are not signed, and do not record amounts.
    sent = here is not None and store in here.state.pushed
    same = here if here is not None and found.describes(here) else None
    if not amounts and same is not None and not found.encryption:
        amounts = dict(same.amounts)
    return Candidate(
        found.name,
        (found.instance, found.kind, found.contents, found.safety),
        found.created_at,
        # The index has the state at the time of the upload; the local set has the current one.
        pinned=same.state.pinned if same is not None else found.pinned,
        verified=not damaged,
        accepted=accepted or (same is not None and same.state.accepted),
        amounts=amounts or None,
        # For an encrypted set of an earlier version, the pseudonyms of its sources are unknown. So
        # it is compared by its bytes in the store.
        stored=_stored_bytes(found),
        # Without a key, the origin of a set is not proven. A person may decide to restore such a
        # set, but retention must not count it: sets of others could displace ours.
        stranger=not (
            trust in ("signed", "noted")
            or (trust in ("unsigned", "unknown") and sent and same is not None)
        ),
    )


def _stored_bytes(found: OffsiteSet) -> dict[str, int]:
    """Return the bytes in the store, by database, volume and path."""
    amounts: dict[str, int] = {}
    for entry in found.objects:
        folder, _, file = entry.file.partition("/")
        if folder in ("databases", "volumes", "paths") and file:
            key = f"{folder}/{file.partition('.')[0]}"
            amounts[key] = amounts.get(key, 0) + entry.bytes
    return amounts


def is_ours(trust: Trust) -> bool:
    """Whether the set is proven to be uploaded from here, or cannot be checked because there is
    neither key nor record."""
    return trust in ("signed", "noted", "unknown")


#: Why `is_ours` is false for a set.
WHY_NOT: Mapping[Trust, str] = {
    "unsigned": "it is not signed: an earlier version of Quiesce or somebody else uploaded it",
    "foreign": "it is signed with the key of another installation",
    "changed": "its index is not the one that this installation uploaded",
}


def require_trusted(
    found: OffsiteSet,
    store: OffsiteStore,
    trust: Trust,
    *,
    unsigned: bool,
    unencrypted: bool,
) -> None:
    """Raise RequestError for a set whose origin is not trusted.

    `unsigned` accepts one whose origin cannot be confirmed, `unencrypted` one that is not encrypted
    although sets are encrypted here. A set whose index was changed is never accepted.
    """
    if trust == "changed":
        raise RequestError(
            f"{found.name} in {store.name} was changed after the upload: {WHY_NOT[trust]}",
            "somebody else has write access to this store; choose another set from 'inv backups "
            f"--store {store.name}'",
        )
    if store.recipients and not found.encryption and not unencrypted:
        raise RequestError(
            f"{found.name} in {store.name} is not encrypted, although this installation encrypts "
            "its sets",
            "anybody with write access to the store can put such a set there; if you are sure "
            "that you uploaded it before you enabled encryption, add --accept-unencrypted",
        )
    if not is_ours(trust) and not unsigned:
        raise RequestError(
            f"cannot confirm that {found.name} in {store.name} is yours: {WHY_NOT[trust]}",
            "set signing_key_file in stack.yaml to the key that signed it; or, if you are sure "
            "that you uploaded it, add --accept-unsigned",
        )


def resolve(stack: Stack, sets: Sequence[OffsiteSet], ref: SetRef, store: str) -> OffsiteSet:
    """Return the set of `store` that `--file` names. The index of an encrypted set does not list
    its content, so `latest:KEY` finds no encrypted set. Raise RequestError if there is no such
    set."""
    if ref.is_latest:
        found = [s for s in sets if ref.fits(s.kind, s.contents, safety=s.safety)]
        if not found:
            raise RequestError(
                f"store {store} contains no {ref.words} of {stack.instance.name}",
                f"list its sets with 'inv backups --store {store}'",
            )
        return max(found, key=lambda s: (s.created_at, s.name))
    wanted = ref.name
    for entry in sets:
        if entry.name == wanted:
            return entry
    hint = suggest(
        wanted,
        [s.name for s in sets],
        most=3,
        unlike=f"list its sets with 'inv backups --store {store}'",
        none="it is empty",
    )
    raise RequestError(f"store {store} contains no set {wanted}", hint)


def _prune(stack: Stack) -> Iterable[PruneStore]:
    for store in stack.stores:
        if store.retention is not None:
            yield PruneStore(store.name, f"retention {store.retention.name}")


def _named(stack: Stack, store: str | None) -> tuple[str, ...]:
    names = tuple(entry.name for entry in stack.stores)
    if not names:
        raise RequestError(
            f"instance {stack.instance.name} has no store",
            f"add one to instances.{stack.instance.name}.stores in {stack.file.name}",
        )
    if store is not None and store not in names:
        raise RequestError(f"there is no store {store}", suggest(store, names))
    return (store,) if store is not None else names


def _plan(stack: Stack, run: str, verb: str, request: str, nodes: tuple[Node, ...]) -> Plan:
    # Sets are files, so no engine is involved.
    return Plan(run, verb, stack.instance.name, request, stack.digest, "", nodes)
