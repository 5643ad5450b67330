"""The verb `undo-restore`: from the safety set, or by renames as long as there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.app.backups_folder import runs_folder
from quiesce.app.outlook import with_downtime
from quiesce.app.run_reports import checked_note
from quiesce.app.session import Session
from quiesce.commands.restore import run_restore
from quiesce.errors import RequestError
from quiesce.execute import journal, pending
from quiesce.plan.naming import SAFETY
from quiesce.plan.pending import safety_sets
from quiesce.plan.steps import steps_of
from quiesce.plan.undo import plan_undo

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.observed import Observed
    from quiesce.plan.restore_request import RestoreRequest
    from quiesce.plan.steps import MakeSafetySet, Plan, Step


def run_undo(session: Session, request: RestoreRequest, note: str = "") -> None:
    """Bring back what the last restore replaced.

    A safety set that is still missing is made first. If that fails again, for example because the
    disk is full, the data is put back by renames, which needs no space.
    """
    if not session.options.dry_run and _unmade(session) is not None:
        _try_to_make_it(session)
    undone = _unmade(session)
    if undone is None:
        run_restore(session, "latest:safety", request, note=note)
        return
    if undone.is_of_undo:
        raise RequestError(
            f"safety set {undone.set}, of what the last undo-restore replaced, could not be made "
            "yet",
            "run 'inv recover', which says why; then 'inv undo-restore' restores that set",
        )
    _put_back(session, undone, request, checked_note(note))


def _put_back(session: Session, undone: MakeSafetySet, request: RestoreRequest, note: str) -> None:
    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        name = session.new_set_name(ports, SAFETY)
        made = plan_undo(session.stack, seen, undone, run, name, restart=request.restart)
        return with_downtime(session.stack, made)

    names = ", ".join((*(swap.database for swap in undone.swaps), *undone.volumes))
    session.change(
        "restore",
        plan,
        f"{names}: the data that run {undone.run} replaced is live again",
        confirm=f"put back what run {undone.run} replaced in {session.stack.instance.name}?",
        replaces=undone.set,
        note=note,
    )


def _unmade(session: Session) -> MakeSafetySet | None:
    """Return the pending safety set of the last restore.

    None if that restore, or a later one, has its safety set.
    """
    folder = runs_folder(session.stack)
    found = []
    notes, _ = pending.read_all(folder)
    for one in notes:
        at = journal.exchanged_at(folder, one.plan.run) or one.since
        found += [(at, made) for made in safety_sets(one.steps)]
    for dead in journal.unfinished(folder) if folder.is_dir() else ():
        began = journal.exchanged_at(folder, dead.run)
        if dead.plan is not None and began is not None:
            found += [(began, made) for made in safety_sets(_steps(dead.plan))]
    if not found:
        return None
    at, newest = max(found, key=lambda each: each[0])
    name = session.stack.instance.name
    for backup in session.local_sets():
        manifest = backup.manifest
        if manifest.safety and manifest.instance == name and manifest.created_at > at:
            return None
    return newest


def _steps(plan: Plan) -> tuple[Step, ...]:
    return tuple(step for _, step in steps_of(plan.nodes))


def _try_to_make_it(session: Session) -> None:
    with session.changing("undo-restore"):
        pass  # what is pending is done first
