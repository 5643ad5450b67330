"""Up, start, stop, restart, rebuild, down: services in dependency order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from quiesce.plan import services

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.observed import Observed
    from quiesce.plan.steps import Plan
from quiesce.app.session import Session


def run_up(session: Session, names: Sequence[str], *, build: bool = False) -> None:
    """Make and start services, in order, and wait until they are healthy.

    What runs and would be made anew is named, and asked about.
    """
    recreated: dict[str, str] = {}

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        def outdated(wanted: Sequence[str]) -> Mapping[str, str]:
            recreated.update(ports.project.outdated(wanted))
            return recreated

        return services.plan_up(session.stack, seen, run, names, build=build, outdated=outdated)

    def confirm(*_: object) -> None:
        if recreated:
            told = ", ".join(f"{name} ({why})" for name, why in recreated.items())
            session.require_yes(f"these running services will be recreated: {told}; continue?")

    session.change("up", plan, "up and healthy", confirm=confirm)


def run_start(session: Session, names: Sequence[str]) -> None:
    """Start existing containers again."""
    session.change(
        "start",
        lambda _, seen, run: services.plan_start(session.stack, seen, run, names),
        "started",
    )


def run_stop(session: Session, names: Sequence[str]) -> None:
    """Stop services, what depends on them first."""
    session.change(
        "stop", lambda _, seen, run: services.plan_stop(session.stack, seen, run, names), "stopped"
    )


def run_restart(session: Session, names: Sequence[str]) -> None:
    """Stop and start what runs of these services, with what depends on them."""
    session.change(
        "restart",
        lambda _, seen, run: services.plan_restart(session.stack, seen, run, names),
        "restarted",
    )


def run_rebuild(session: Session, names: Sequence[str]) -> None:
    """Build images anew, replace their containers, and restart what depends on them."""
    session.change(
        "rebuild",
        lambda _, seen, run: services.plan_rebuild(session.stack, seen, run, names),
        "rebuilt and healthy",
    )


def run_down(session: Session, names: Sequence[str]) -> None:
    """Remove containers and networks; volumes stay."""
    session.change(
        "down",
        lambda _, seen, run: services.plan_down(session.stack, seen, run, names),
        "down; all volumes were kept",
    )
