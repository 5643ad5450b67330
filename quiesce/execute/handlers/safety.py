"""Steps of safety sets that are made after an exchange, of the copies that it left."""

from __future__ import annotations

from quiesce.errors import QuiesceError, StillNeeded
from quiesce.execute import pending
from quiesce.execute.handlers.registry import HANDLERS, handles
from quiesce.execute.run import Run
from quiesce.model import BackupSet
from quiesce.plan import outcome
from quiesce.plan import steps as s


@handles(s.MakeSafetySet)
def make_safety_set(step: s.MakeSafetySet, run: Run) -> str:
    """Make the set, or verify one that an interrupted run published.

    A damaged set is removed, so that the next attempt makes it again: its sources are not removed
    before this step has succeeded.
    """
    there = _published(step.set, run)
    if there is None and _is_gone(step, run):
        run.kept.add(step.set)
        run.ports.sink.warn(
            f"safety set {step.set} is not made, because the data that the restore replaced no "
            "longer exists"
        )
        return "nothing left"
    if there is None:
        # An interrupted attempt may have left half of it.
        run.ports.store.discard_set(run.id, step.set)
        there = _make(step, run)
    wrong = run.ports.store.verify(there, run.ports.sink.progress)
    if wrong:
        run.ports.store.remove(step.set)
        raise QuiesceError(
            f"safety set {step.set} was damaged when it was read back: {wrong[0]}",
            "check the disk, then run 'inv recover'; the previous data is still there",
            details=wrong[1:],
        )
    state = there.state.checked("sums", run.ports.clock.now(), good=True)
    run.ports.store.remember(step.set, state)
    run.kept.add(step.set)
    return f"{len(there.manifest.members)} members good"


def _is_gone(step: s.MakeSafetySet, run: Run) -> bool:
    """Whether none of the copies of which the set would be made exists any more, because somebody
    removed them. Raise QuiesceError if a server cannot be asked."""
    for one in s.with_parts(step.steps):
        if isinstance(one, s.ArchiveVolume):
            state = run.observed.volume(one.volume)
            if state.exists and run.ports.volumes.leftover_size(state, step.run).files:
                return False
        elif isinstance(one, s.DumpDatabase):
            database = run.stack.database(one.database)
            if run.ports.databases.size(database, one.copy) is not None:
                return False
    return True


def _make(step: s.MakeSafetySet, run: Run) -> BackupSet:
    databases = run.ports.databases
    parts = tuple(s.with_parts(step.steps))
    names = {
        one.copy: run.stack.database(one.database).service
        for one in parts
        if isinstance(one, s.DumpDatabase)
    }
    try:
        for name, service in names.items():
            # Nobody knows the name of a copy, but clients of the server could list it.
            databases.allow_connections(service, (name,))
        for one in parts:
            _carry_out(one, run)
    except BaseException:
        run.drafts.pop(step.set, None)
        # Half a set would take the space that is missing, and is of no use.
        run.ports.store.discard_set(run.id, step.set)
        raise
    finally:
        for name, service in names.items():
            databases.block_connections(service, (name,))
    return run.published[-1]


def _carry_out(step: s.Step, run: Run) -> None:
    run.ports.sink.progress(step.sentence(), 0)
    HANDLERS[type(step)](step, run)
    if isinstance(step, s.OpenSet):
        draft = run.drafts[step.set]
        # The set shows the data of that moment, whenever it is made.
        draft.created_at = run.exchanged_at or draft.created_at
        draft.doubts.append(outcome.ended_sessions(run.ended_sessions))


def _published(name: str, run: Run) -> BackupSet | None:
    return next((one for one in run.ports.store.sets() if one.name == name), None)


def require_kept(safety_set: str, run: Run) -> None:
    """Raise StillNeeded if the data must not be removed yet, because this safety set of it has not
    been made."""
    if not safety_set or safety_set in run.kept or _published(safety_set, run) is not None:
        return
    raise StillNeeded(
        f"it is still needed: safety set {safety_set} has not been made of it yet",
        "run 'inv recover'",
    )


@handles(s.ForgetPending)
def forget_pending(step: s.ForgetPending, run: Run) -> str:
    pending.forget(run.runs_folder, step.run)
    return ""
