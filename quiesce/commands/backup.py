"""The verbs `backup` and `backup-db`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from quiesce.app.coverage import left_databases, undeclared_now, warn_of
from quiesce.app.excluded import left_out_of_backup
from quiesce.app.lock_conflict import reason_for_window, remember_window
from quiesce.app.outlook import with_downtime, with_room
from quiesce.app.prepared_transactions import require_dumpable
from quiesce.app.session import Session
from quiesce.commands.retention import with_pruning
from quiesce.errors import CheckFailed, StepFailed
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.backup_db import BackupDbRequest, plan_backup_db
from quiesce.plan.cold import plan_cold
from quiesce.plan.live_servers import live_backup_warnings
from quiesce.plan.offsite import with_pushing
from quiesce.plan.outcome import downtime_warning, recent_downtime
from quiesce.report import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiesce.exclusion import LeftOut
    from quiesce.execute.run import Ports
    from quiesce.model import BackupSet
    from quiesce.observed import Observed
    from quiesce.plan.steps import Plan


def run_backup(session: Session, request: BackupRequest) -> BackupSet | None:
    """Make and verify a backup set, with services stopped as briefly as possible.

    Return the set, or None for a dry run. Raise CheckFailed if a set was published that is not
    consistent, kept services down for longer than `max_downtime`, or lacks data that stack.yaml
    does not mention.
    """

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        recent = recent_downtime(_past(session, ports))
        if request.mode == "consistent" and (
            words := downtime_warning(session.stack.max_downtime, recent)
        ):
            ports.sink.warn(words)
        kept = {volume.key for volume in session.stack.volumes if volume.backup == "files"}
        for state in seen.volumes:
            if state.outside and state.key in kept:
                others = ", ".join(state.outside)
                ports.sink.warn(
                    f"{state.noun} {state.key} is also used by {others}, outside of the project: "
                    "a backup cannot stop that container"
                )
        if request.kind == "full":
            for sentence in live_backup_warnings(
                session.stack, seen.services, request.mode, request.only
            ):
                ports.sink.warn(sentence)
        left = left_databases(session.stack, ports)
        missing = undeclared_now(session.stack, ports, seen, request.complete_in, left)
        warn_of(ports, missing)
        known = replace(
            request,
            undeclared=missing,
            left_databases=left,
            in_window=reason_for_window(session.stack),
            recent_downtime=recent,
            left_out=_left_out(session, ports, seen, request),
        )
        planner = plan_cold if request.mode == "cold" else plan_backup
        name = session.new_set_name(ports)
        made = planner(session.stack, seen, known, run, name)
        made = require_dumpable(session.stack, ports, seen, made)
        pruned = with_pruning(session.stack, ports, made, session.clock.now())
        made = with_pushing(session.stack, ports.store.sets(), pruned, name)
        return with_downtime(session.stack, with_room(session.stack, ports, seen, made))

    try:
        run = session.change("backup", plan)
    except CheckFailed:
        show_published(session)
        raise
    except StepFailed as failure:
        if remember_window(session.stack, failure):
            session.reporter.note("the next backup will dump databases while services are stopped")
        raise
    if run is None:
        return None
    session.reporter.backup_done(run.published[-1])
    return run.published[-1]


def show_published(session: Session) -> None:
    """Show the set that was published before a check failed, unless it is damaged."""
    names = [backup.name for backup in session.published]
    for backup in session.local_sets():
        if backup.name in names and backup.state.verified_good:
            session.reporter.backup_done(backup)


def _left_out(
    session: Session, ports: Ports, seen: Observed, request: BackupRequest
) -> Mapping[str, tuple[LeftOut, ...]]:
    chosen = [
        volume
        for volume in session.stack.volumes
        if volume.backup == "files" and (not request.only or volume.key in request.only)
    ]
    return left_out_of_backup(ports, seen, chosen if request.kind == "full" else ())


def run_backup_db(session: Session, request: BackupDbRequest) -> None:
    """Write databases as single SQL files into `backups/`; nothing stops."""

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        local = session.clock.now().astimezone(ZoneInfo(session.stack.timezone))
        made = plan_backup_db(session.stack, seen, request, run, local, ports.store.names())
        return require_dumpable(session.stack, ports, seen, made)

    run = session.change("backup-db", plan)
    if run is None:
        return
    written = [
        {"database": key, "path": str(path), "bytes": path.stat().st_size}
        for key, path in run.files.items()
    ]
    for key, path in run.files.items():
        session.reporter.note(f"{key}: {path} ({words.size(path.stat().st_size)})")
    session.reporter.result({"files": written})
    session.reporter.done(f"wrote {words.counted(len(written), 'file')}")


def _past(session: Session, ports: Ports) -> tuple[BackupSet, ...]:
    """Ordinary sets of this instance, oldest first."""
    own = session.stack.instance.name
    sets = ports.store.sets()
    return tuple(s for s in sets if s.manifest.instance == own and not s.manifest.safety)
