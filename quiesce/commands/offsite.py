"""The verbs `push` and `pull`, and `backups`, `verify` and `prune` for stores."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from quiesce.app import set_ref
from quiesce.app.session import Session
from quiesce.app.wiring import signing_key_file
from quiesce.errors import CheckFailed, RequestError
from quiesce.execute.handlers.offsite import store_candidates
from quiesce.plan import offsite, retention
from quiesce.plan.set_ref import SetRef
from quiesce.report import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiesce.execute.run import Ports
    from quiesce.model import BackupSet, OffsiteSet
    from quiesce.ports import Offsite


def run_push(session: Session, file: str | None, store: str | None) -> None:
    """Upload a set, or all that are not in the store yet."""
    sets = session.local_sets()
    chosen: BackupSet | None = None
    if file is not None:
        chosen = set_ref.resolve(session.stack, sets, set_ref.parse(session.stack, file))
    if chosen is None:
        for name in offsite.held_back(session.stack, sets, store):
            session.reporter.warn(f"{name} was not uploaded: it is damaged, or was never verified")
    plan = offsite.plan_push(session.stack, session.new_run_id(), sets, chosen, store)
    names = sorted({step.set for step in plan.nodes if hasattr(step, "set")})
    done = session.change_sets(
        "push", lambda _, run: offsite.plan_push(session.stack, run, sets, chosen, store)
    )
    if done:
        text = words.counted(len(names), "set")
        said = f"pushed {text}" if names else "all verified sets are already in the stores"
        session.reporter.done(said, {"sets": names})


def run_pull(session: Session, file: str, store: str | None) -> str:
    """Download a set from a store and return its name. It is not restored."""
    store = store or _only_store(session)
    ref = SetRef.parse(file)
    with session.connected() as (ports, _):
        port = ports.offsite
        found = offsite.resolve(session.stack, port.sets(store), ref, store)
        name = found.name
        if any(backup.name == name for backup in session.local_sets()):
            session.reporter.note(f"{name} already exists locally")
            return name
        _require_trusted(session, port, found, store)
        if ref.is_latest:
            _warn_lost(session, port, store)
    if found.encryption == "age" and session.identity() is None and not session.options.dry_run:
        raise RequestError(
            f"{name} is encrypted, and no identity was given",
            "give your key file with --identity, or in QUIESCE_IDENTITY",
        )
    done = session.change_sets(
        "pull",
        lambda _, run: offsite.plan_pull(
            session.stack,
            run,
            name,
            store,
            unsigned=session.options.accept_unsigned,
            unencrypted=session.options.accept_unencrypted,
        ),
    )
    if done:
        session.reporter.note(f"pulled {name} from {store}")
    return name


def run_backups_of(session: Session, store: str) -> None:
    """List the sets of this instance in a store, and which of its rules keep them."""
    with session.connected() as (ports, _):
        port = ports.offsite
        sets, unreadable = port.sets(store), port.unreadable(store)
        reasons = _store_reasons(session, ports, store, sets)
        _warn_lost(session, port, store)
    session.reporter.offsite_sets(store, sets, session.clock.now(), reasons, unreadable)


def run_verify_store(session: Session, store: str, file: str, *, everything: bool) -> None:
    """Read sets in a store completely, and decrypt encrypted ones if there is a key.

    Raise CheckFailed naming each damaged member.
    """
    ref = SetRef.parse(file)
    with session.connected() as (ports, run):
        port = ports.offsite
        sets = port.sets(store)
        unreadable = port.unreadable(store) if everything else ()
        chosen = sets if everything else (offsite.resolve(session.stack, sets, ref, store),)
        wrong = [
            reason for entry in chosen for reason in _noted_wrong(session, ports, run, store, entry)
        ]
        for entry in chosen:
            trust = port.trust(store, entry.name)
            if trust == "changed":
                wrong.append(f"{entry.name}: {offsite.WHY_NOT[trust]}")
            elif not offsite.is_ours(trust):
                session.reporter.warn(f"{entry.name}: {offsite.WHY_NOT[trust]}")
        _warn_lost(session, port, store)
    wrong += [f"{name}: {reason}" for name, reason in unreadable]
    if wrong:
        raise CheckFailed(
            f"store {store}: {wrong[0]}",
            "do not rely on that set; if its copy in backups/ passes 'inv verify', remove the one "
            "in the store, then run 'inv push --file NAME'",
            details=wrong[1:],
        )
    session.reporter.done("verified", {"store": store, "sets": [s.name for s in chosen]})


def run_prune_store(session: Session, store: str, *, force: bool = False) -> None:
    """Remove sets from a store that its rules do not keep, after a confirmation.

    `force` accepts sets that look like a loss, and counts sets whose origin is not confirmed.
    """
    with session.connected() as (ports, _):
        sets = ports.offsite.sets(store)
        reasons = _store_reasons(session, ports, store, sets, force=force)
    session.reporter.offsite_sets(store, sets, session.clock.now(), reasons, ())
    doomed = [entry for entry in sets if not reasons.get(entry.name)]
    question = f"remove {words.counted(len(doomed), 'set')} from {store}?" if doomed else ""
    done = session.change_sets(
        "prune",
        lambda _, run: offsite.plan_prune_store(session.stack, run, store, force=force),
        lambda: question,
    )
    if done:
        session.reporter.done("pruned", {"store": store, "removed": [s.name for s in doomed]})


def pull_if_needed(session: Session, file: str | None) -> str | None:
    """Download the set in `store:set` if necessary and return its name; return other values
    unchanged. None if this is a dry run and the set would have to be downloaded."""
    if file is None:
        return None
    ref = set_ref.parse(session.stack, file)
    if not ref.store:
        return file
    name = run_pull(session, ref.without_store, ref.store)
    here = any(backup.name == name for backup in session.local_sets())
    return name if here else None


def accept_untrusted(session: Session, *, unsigned: bool, unencrypted: bool) -> Session:
    """Return a session that accepts sets from a store although they are not signed, or not
    encrypted."""
    return session.with_options(accept_unsigned=unsigned, accept_unencrypted=unencrypted)


def use_identity(session: Session, file: str) -> Session:
    """Return a session that decrypts with this key file. If none is given, it uses the one that
    the environment names, if any. Raise RequestError if the file does not exist."""
    if not file:
        return session
    path = Path(file)
    if not path.is_file():
        raise RequestError(
            f"the identity file {file} does not exist", "give the path of your key file"
        )
    return session.with_options(identity=path)


def _noted_wrong(
    session: Session, ports: Ports, run: str, store: str, entry: OffsiteSet
) -> list[str]:
    """Return the problems of a set, and record them, so that retention does not count the set."""
    wrong = _wrong_in(session, ports, run, store, entry)
    ports.offsite.note_damage(store, entry.name, damaged=bool(wrong))
    return wrong


def _wrong_in(session: Session, ports: Ports, run: str, store: str, entry: OffsiteSet) -> list[str]:
    """Return the problems of a set in a store, each with the set's name."""
    if not entry.encryption or session.identity() is None:
        reasons = ports.offsite.verify(store, entry.name, session.reporter.progress)
        return [f"{entry.name}/{reason}" for reason in reasons]
    # Use the set's own sums: anybody with write access to the store can forge the index.
    folder = ports.store.scratch(run, "pulled")
    try:
        ports.offsite.pull(store, entry.name, folder, session.reporter.progress)
    except CheckFailed as error:
        return [error.fact.removeprefix(f"store {store}: "), *error.details]
    finally:
        shutil.rmtree(folder / entry.name, ignore_errors=True)
    return []


def _require_trusted(session: Session, port: Offsite, found: OffsiteSet, store: str) -> None:
    target = next(entry for entry in session.stack.stores if entry.name == store)
    trust = port.trust(store, found.name)
    offsite.require_trusted(
        found,
        target,
        trust,
        unsigned=session.options.accept_unsigned,
        unencrypted=session.options.accept_unencrypted,
    )
    if trust == "unknown":
        session.reporter.warn(
            f"{found.name} cannot be authenticated, because this installation has no signing "
            f"key; copy your key to {signing_key_file(session.stack)}, or make sure that nobody "
            "else can write to the store"
        )


def _warn_lost(session: Session, port: Offsite, store: str) -> None:
    if lost := port.lost(store):
        session.reporter.warn(
            f"missing from {store}: {words.counted(len(lost), 'set')} uploaded from here (the "
            f"newest: {lost[-1]}), removed by somebody else"
        )


def _store_reasons(
    session: Session, ports: Ports, store: str, sets: Sequence[OffsiteSet], *, force: bool = False
) -> retention.Reasons:
    policy = next((s.retention for s in session.stack.stores if s.name == store), None)
    found = store_candidates(ports, store, sets)
    if force:
        found = tuple(replace(entry, stranger=False, accepted=True) for entry in found)
    if policy is None:
        return {
            entry.name: ("origin not confirmed" if entry.stranger else "no rule",)
            for entry in found
        }
    zone = ZoneInfo(session.stack.timezone)
    for suspicion in retention.suspicions(found, session.clock.now()):
        session.reporter.warn(
            f"{store}: older sets are kept because {suspicion}; if that is expected, run 'inv "
            f"prune --store {store} --force'"
        )
    return retention.decide(found, policy, session.clock.now(), zone)


def _only_store(
    session: Session,
) -> str:
    names = [entry.name for entry in session.stack.stores]
    if len(names) != 1:
        raise RequestError(
            "there are several stores" if names else "this instance has no store",
            f"choose one with --store: {', '.join(names)}"
            if names
            else ("add one to its 'stores' in stack.yaml"),
        )
    return names[0]
