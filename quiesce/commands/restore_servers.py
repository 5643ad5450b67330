"""Brings up the database servers that a restore needs, and on an empty machine the whole stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quiesce.commands.lifecycle import bring_up
from quiesce.plan.restore_request import RestoreRequest, choose, rows_alone
from quiesce.plan.services import plan_up

if TYPE_CHECKING:
    from quiesce.app.session import Session
    from quiesce.model import RestoreSource
    from quiesce.observed import Observed
    from quiesce.plan.steps import Plan


@dataclass(frozen=True, slots=True)
class Absent:
    """What is missing for a restore. `servers` are services of databases that do not run; `empty`:
    the engine has neither a container nor a volume of the instance."""

    servers: tuple[str, ...] = ()
    empty: bool = False

    def bring_up_servers(self, session: Session, confirm: Callable[[], None]) -> bool:
        """Start the missing servers and wait until they answer; ask before. Return whether that was
        necessary. A dry run only plans it."""
        if not self.servers or session.options.dry_run:
            return False
        confirm()
        names = ", ".join(self.servers)
        session.reporter.note(f"starting what the restore needs: {names}")
        bring_up(session, self.servers)
        return True

    def planned(self, session: Session, seen: Observed, run: str) -> tuple[Plan, Observed] | None:
        """For a dry run, return the plan that starts the servers, and the observation as it will be
        when they run; None if nothing is missing."""
        if not self.servers or not session.options.dry_run:
            return None
        plan = plan_up(session.stack, seen, run, self.servers)
        there = {d.key for d in session.stack.databases if d.service in self.servers}
        running = tuple(
            replace(state, reachable=True, exists=not self.empty) if state.key in there else state
            for state in seen.databases
        )
        return plan, replace(seen, databases=running)

    def request(self, request: RestoreRequest) -> RestoreRequest:
        """Return the request, on an empty machine without a safety set: there is no data that it
        could contain."""
        return replace(request, safety=False) if self.empty else request

    def bring_up_rest(self, session: Session, request: RestoreRequest) -> None:
        """On an empty machine, start every service after a restore of a whole set."""
        partly = request.only or request.beside or request.data_only
        if self.empty and request.restart and not partly:
            bring_up(session, ())


def find_absent(session: Session, source: RestoreSource, request: RestoreRequest) -> Absent:
    """Return what is missing for this restore.

    A server that is paused, or that must not be started beside a container of another project, is
    not missing: the plan refuses with the reason.
    """
    chosen = choose(session.stack, source, request)
    wanted = {database.service for database in chosen.databases}
    with session.connected() as (ports, _):
        services = ports.runtime.services()
        volumes = ports.runtime.volumes(session.stack.volumes)
    missing = tuple(
        service.name
        for service in services
        if service.name in wanted and not service.running and not service.foreign_mounts
    )
    gone = not any(service.units for service in services)
    empty = gone and not any(volume.exists for volume in volumes)
    return Absent(missing, empty and not rows_alone(source, request))
