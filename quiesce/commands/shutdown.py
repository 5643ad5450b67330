"""The verb `shutdown`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quiesce.app.coverage import left_databases, undeclared_now
from quiesce.app.outlook import with_room
from quiesce.app.prepared_transactions import require_dumpable
from quiesce.app.session import Session
from quiesce.errors import Interrupted, QuiesceError
from quiesce.plan.coverage import kinds_of
from quiesce.plan.shutdown import ShutdownRequest, plan_shutdown, plan_stop_all, units_to_stop

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.observed import Observed
    from quiesce.plan.steps import Plan


def run_shutdown(session: Session, request: ShutdownRequest) -> None:
    """Make a verified set, then stop all services in order.

    Without `force`, nothing stays stopped if there is no such set.
    """
    stopped: list[str] = []

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        stopped[:] = _names(_going_down(session, seen, request))
        left = left_databases(session.stack, ports)
        found = undeclared_now(session.stack, ports, seen, kinds_of("full", "consistent", ()), left)
        known = replace(request, undeclared=found, left_databases=left)
        made = plan_shutdown(session.stack, seen, known, run, session.new_set_name(ports))
        made = require_dumpable(session.stack, ports, seen, made)
        return with_room(session.stack, ports, seen, made)

    try:
        run = session.change("shutdown", plan)
    except Interrupted:
        raise
    except QuiesceError as error:
        if not request.force:
            raise
        _stop_without_backup(session, request, error)
        return
    if run is None:
        return
    backup = run.published[-1]
    session.reporter.backup_done(backup)
    _safe(session, f"{backup.name} is verified", backup.name, stopped, request)


def _stop_without_backup(session: Session, request: ShutdownRequest, error: QuiesceError) -> None:
    session.reporter.warn(f"NO backup was made: {error}")
    stopped: list[str] = []

    def plan(_: Ports, seen: Observed, run: str) -> Plan:
        stopped[:] = _names(_going_down(session, seen, request))
        return plan_stop_all(session.stack, seen, request, run)

    if session.change("shutdown", plan) is not None:
        _safe(session, "WITHOUT a new backup", None, stopped, request)


def _going_down(session: Session, seen: Observed, request: ShutdownRequest) -> tuple[str, ...]:
    units = units_to_stop(session.stack, seen, request.keep_running)
    return tuple(unit.service for unit in units)


def _safe(
    session: Session, how: str, name: str | None, stopped: list[str], request: ShutdownRequest
) -> None:
    kept = ", ".join(request.keep_running)
    rest = f"every service except {kept}" if kept else "every service"
    facts = {"set": name, "stopped": stopped, "keep_running": list(request.keep_running)}
    session.reporter.result({"shutdown": facts, "safe_to_power_off": not kept})
    if kept:
        session.reporter.done(f"shut down: {how}, {rest} is stopped")
    else:
        session.reporter.done(f"it is safe to power off: {how}, {rest} is stopped")


def _names(services: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(services))
