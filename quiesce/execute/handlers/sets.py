"""Steps of backup sets: open, record, publish, verify, remove."""

from __future__ import annotations

from quiesce import __version__, private_facts
from quiesce.errors import CheckFailed
from quiesce.execute.handlers.registry import handles
from quiesce.execute.instructions import restore_instructions
from quiesce.execute.run import Draft, Run
from quiesce.model import Manifest, Member
from quiesce.plan import steps as s

FORMAT = 1


@handles(s.OpenSet)
def open_set(step: s.OpenSet, run: Run) -> str:
    directory = run.ports.store.open(run.id, step.set)
    clock = run.ports.clock
    run.drafts[step.set] = Draft(step, directory, clock.now(), clock.monotonic())
    return ""


@handles(s.RecordStack)
def record_stack(step: s.RecordStack, run: Run) -> str:
    draft = run.drafts[step.set]
    described = {"stack.yaml": run.stack.file.read_bytes(), **run.ports.runtime.description()}
    for name, content in described.items():
        file = f"stack/{name}"
        if not run.stack.recipients:
            draft.documents[file] = content
            continue
        # A member, so that it is encrypted: stack.yaml may contain anything.
        run.ports.store.write(run.id, step.set, file, content)
        draft.files.append((file, "stack", ""))
    return ""


@handles(s.EncryptSet)
def encrypt(step: s.EncryptSet, run: Run) -> str:
    _measure(step.set, run)
    store, recipients = run.ports.store, run.stack.recipients
    members = store.members(run.id, step.set)
    for member in members:
        run.ports.sink.progress(f"encrypting {member.file}", 0)
        store.encrypt(run.id, step.set, member, recipients)
    draft = run.drafts[step.set]
    facts = private_facts.private_facts(store.members(run.id, step.set), draft.databases)
    store.write(run.id, step.set, private_facts.PRIVATE, facts)
    draft.files.append((private_facts.PRIVATE, "document", ""))
    own = store.measure(run.id, step.set, private_facts.PRIVATE, "document", "")
    store.encrypt(run.id, step.set, own, recipients)
    return f"{len(members)} members"


def _measure(name: str, run: Run) -> None:
    """Compute the checksums of all members that have none yet, by reading them back."""
    draft, store = run.drafts[name], run.ports.store
    if draft.summing is not None:
        draft.summing.finish()
    done = _by_plain_file(name, run)
    for file, kind, source in draft.finished():
        if file not in done:
            run.ports.sink.progress(f"computing checksum of {file}", 0)
            store.measure(run.id, name, file, kind, source)


@handles(s.SealSet)
def seal(step: s.SealSet, run: Run) -> str:
    """Compute the checksums of all members by reading them back, then publish the set."""
    draft = run.drafts[step.set]
    store = run.ports.store
    _measure(step.set, run)
    manifest = _manifest(draft, run)
    draft.documents["RESTORE.md"] = restore_instructions(manifest).encode(
        "utf-8", "backslashreplace"
    )
    sealed = store.seal(run.id, manifest, draft.documents)
    run.published.append(sealed)
    return str(sealed.path)


def _manifest(draft: Draft, run: Run) -> Manifest:
    opened = draft.opened
    runtime = run.ports.runtime
    inconsistency = "; ".join(filter(None, draft.inconsistencies))
    if opened.mode == "live":
        inconsistency = "services were not stopped"
    members = _members(draft, run)
    encrypted = any(m.plain for m in members)
    manifest = Manifest(
        format=FORMAT,
        tool=f"quiesce {__version__}",
        name=opened.set,
        instance=run.stack.instance.name,
        project=run.stack.instance.project,
        engine=run.observed.engine.id,
        runtime=run.stack.instance.runtime,
        created_at=draft.created_at,
        mode=opened.mode,
        kind=opened.kind,
        label=opened.label,
        pinned=opened.pinned,
        consistent=not inconsistency,
        inconsistency=inconsistency,
        duration_seconds=round(run.ports.clock.monotonic() - draft.began, 3),
        downtime_seconds=run.downtime.result(),
        services_running_before=opened.services_running,
        services_stopped=opened.services_stopped,
        members=members,
        databases=tuple(draft.databases),
        volumes=tuple(draft.volumes.values()),
        images=runtime.images(),
        clusters=tuple(draft.clusters),
        encryption=run.stack.recipients.method if encrypted else "",
        doubt="; ".join(filter(None, draft.doubts)),
        safety=opened.safety,
    )
    return private_facts.without_private_facts(manifest) if encrypted else manifest


def _members(draft: Draft, run: Run) -> tuple[Member, ...]:
    """Sort members by the steps that made them, not by when their sums were computed."""
    by_file = _by_plain_file(draft.opened.set, run)
    return tuple(by_file[file] for file, *_ in draft.finished())


def _by_plain_file(name: str, run: Run) -> dict[str, Member]:
    members = run.ports.store.members(run.id, name)
    return {(member.plain or member).file: member for member in members}


@handles(s.VerifySet)
def verify(step: s.VerifySet, run: Run) -> str:
    store = run.ports.store
    sealed = next(s for s in (*run.published, *store.sets()) if s.name == step.set)
    wrong = store.verify(sealed, run.ports.sink.progress)
    now = run.ports.clock.now()
    store.remember(step.set, sealed.state.checked("sums", now, good=not wrong))
    if wrong:
        raise CheckFailed(
            f"set {step.set} is damaged", "do not rely on it; make another backup", details=wrong
        )
    return f"{len(sealed.manifest.members)} members good"


@handles(s.RemoveSet)
def remove(step: s.RemoveSet, run: Run) -> str:
    run.ports.store.remove(step.set)
    return ""


@handles(s.DiscardStaging)
def discard_staging(step: s.DiscardStaging, run: Run) -> str:
    run.ports.store.discard(run.id)
    return ""
