"""The verb `recover`: finishes or undoes interrupted runs."""

from __future__ import annotations

from quiesce.app import notify, sandbox
from quiesce.app.backups_folder import lock_file, runs_folder
from quiesce.app.leftovers import require_nothing_left
from quiesce.app.run import journalled
from quiesce.app.session import Session
from quiesce.app.wiring import open_store
from quiesce.errors import RecoveryPending, RequestError
from quiesce.execute import journal, lock, pending
from quiesce.model import Stack
from quiesce.report import UnfinishedRun


def _remove_copies(
    session: Session,
) -> None:
    def failed(run: str, error: Exception) -> None:
        session.reporter.warn(f"the copy of drill {run} cannot be removed: {error}")

    for name in sandbox.remove_orphans(session.stack, failed=failed):
        session.reporter.note(f"removed {name}, left over from a drill")


def run_recover(
    session: Session,
) -> None:
    """Finish or undo interrupted runs, and remove the copies that dead drills left."""
    if session.options.dry_run:
        lines = [f"recover {dead.run}: {dead.verb}" for dead in interrupted(session.stack)]
        lines += [f"remove leftovers of run {run}" for run in abandoned(session.stack)]
        notes, _ = pending.read_all(runs_folder(session.stack))
        lines += [f"retry what run {note.plan.run} left unfinished" for note in notes]
        lines += [
            f"remove {name}" for name in sandbox.remove_orphans(session.stack, only_look=True)
        ]
        session.reporter.text("".join(f"{line}\n" for line in lines or ["nothing to recover"]))
        return
    with session.changing("recover", recover=False) as work:
        settled = work.recover()
        work.remove_own_project_lock()
        # Last, so that a copy that cannot be removed does not keep services down.
        _remove_copies(session)
        try:
            require_nothing_left(session.stack, work.ports, work.pending)
            left = None
        except RecoveryPending as error:
            left = error
    if settled:
        title = f"{session.stack.instance.name}: interrupted runs were recovered"
        notify.send(session.stack, "recovery", title, "\n".join(settled), session.reporter)
    if left is not None:
        raise left
    summary = "recovered: " + "; ".join(settled) if settled else "nothing to recover"
    session.reporter.done(summary, {"settled": list(settled)})


def destroy_copy(
    session: Session,
) -> None:
    """Remove all containers, networks and volumes of a throwaway copy, and the content of its
    folders: the disaster of a drill."""
    if not session.stack.instance.throwaway:
        raise RequestError("only a throwaway copy can be destroyed this way", "use 'inv clean-all'")
    with session.observed() as (ports, seen):
        for state in seen.volumes:
            if state.is_folder and state.exists:
                ports.volumes.empty(state)
        ports.project.remove_project()
        for name in ports.project.resources().volumes:
            ports.project.remove_volume(name)


def interrupted(stack: Stack) -> tuple[UnfinishedRun, ...]:
    """Return every dead run that needs a recovery."""
    folder = runs_folder(stack)
    if not folder.is_dir() or not lock.is_free(lock_file(stack)) or journal.living(folder):
        return ()
    return tuple(
        UnfinishedRun(dead.run, dead.plan.request if dead.plan else dead.problem)
        for dead in journal.unfinished(folder)
    )


def abandoned(stack: Stack) -> tuple[str, ...]:
    """Return every run that died before it changed anything, and left files behind."""
    return open_store(stack.backups).abandoned(journalled(stack))
