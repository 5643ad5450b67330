"""Steps of backup sets: open, record, publish, verify, remove."""

from __future__ import annotations

from quiesce import __version__, private_facts
from quiesce.errors import CheckFailed
from quiesce.execute.draft import Draft, Finished
from quiesce.execute.handlers.registry import handles
from quiesce.execute.instructions import restore_instructions
from quiesce.execute.run import Run
from quiesce.model import Manifest
from quiesce.plan import steps as s
from quiesce.ports import Measured

FORMAT = 1


@handles(s.OpenSet)
def open_set(step: s.OpenSet, run: Run) -> str:
    store, clock = run.ports.store, run.ports.clock
    directory = store.open(run.id, step.set)

    def measure(finished: Finished) -> Measured:
        return store.measure(run.id, step.set, *finished)

    run.drafts[step.set] = Draft(step, directory, clock.now(), clock.monotonic(), measure)
    return ""


@handles(s.RecordStack)
def record_stack(step: s.RecordStack, run: Run) -> str:
    draft = run.drafts[step.set]
    files = run.ports.runtime.stack_files()
    draft.stack_left_out = files.left_out
    described = {
        **files.kept,
        "stack.yaml": run.stack.file.read_bytes(),
        **run.ports.runtime.description(),
    }
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
    draft, store = run.drafts[step.set], run.ports.store
    _encrypt_finished(draft, run)
    count = len(draft.members())
    facts = private_facts.private_facts(
        draft.members(), draft.databases, tuple(draft.volumes.values())
    )
    store.write(run.id, step.set, private_facts.PRIVATE, facts)
    draft.files.append((private_facts.PRIVATE, "document", ""))
    _encrypt_finished(draft, run)
    return f"{count} members"


def _encrypt_finished(draft: Draft, run: Run) -> None:
    """Encrypt every finished member that is not encrypted yet."""
    sink = run.ports.sink
    draft.measure_rest(sink.progress)
    for file, *_ in draft.finished():
        plain = draft.measured[file]
        if plain.member.plain is None:
            sink.progress(f"encrypting {file}", 0)
            draft.measured[file] = run.ports.store.encrypt(
                run.id, draft.opened.set, plain, run.stack.recipients
            )


@handles(s.SealSet)
def seal(step: s.SealSet, run: Run) -> str:
    """Compute the checksums of all members by reading them back, then publish the set."""
    draft = run.drafts[step.set]
    draft.measure_rest(run.ports.sink.progress)
    manifest = _manifest(draft, run)
    draft.documents["RESTORE.md"] = restore_instructions(manifest).encode(
        "utf-8", "backslashreplace"
    )
    measured = tuple(draft.measured.values())
    sealed = run.ports.store.seal(run.id, manifest, draft.documents, measured)
    run.published.append(sealed)
    return str(sealed.path)


def _manifest(draft: Draft, run: Run) -> Manifest:
    opened = draft.opened
    runtime = run.ports.runtime
    inconsistency = "; ".join(filter(None, draft.inconsistencies))
    if opened.mode == "live":
        inconsistency = "services were not stopped"
    members = draft.members()
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
        stack_left_out=draft.stack_left_out,
        undeclared=draft.undeclared,
    )
    return private_facts.without_private_facts(manifest) if encrypted else manifest


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
