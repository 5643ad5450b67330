"""The verbs `up`, `start`, `stop`, `restart`, `rebuild` and `down`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from quiesce.app.session import Session
from quiesce.plan import services

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.observed import Observed
    from quiesce.plan.steps import Plan


def run_up(session: Session, names: Sequence[str], *, build: bool = False) -> None:
    """Create and start services, in order, and wait until they are healthy.

    Asks before running services are recreated.
    """
    recreated: dict[str, str] = {}

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        def outdated(wanted: Sequence[str]) -> Mapping[str, str]:
            recreated.update(ports.project.outdated(wanted))
            return recreated

        return services.plan_up(session.stack, seen, run, names, build=build, outdated=outdated)

    def confirm(*_: object) -> None:
        if recreated:
            listed = ", ".join(f"{name} ({why})" for name, why in recreated.items())
            session.require_yes(f"these running services will be recreated: {listed}; continue?")

    session.change("up", plan, "up and healthy", confirm=confirm)


def run_start(session: Session, names: Sequence[str]) -> None:
    """Start existing containers again."""
    session.change(
        "start",
        lambda _, seen, run: services.plan_start(session.stack, seen, run, names),
        "started",
    )


def run_stop(session: Session, names: Sequence[str]) -> None:
    """Stop services, and first the services that depend on them."""
    session.change(
        "stop", lambda _, seen, run: services.plan_stop(session.stack, seen, run, names), "stopped"
    )


def run_restart(session: Session, names: Sequence[str]) -> None:
    """Restart those of these services that run, and the services that depend on them."""
    session.change(
        "restart",
        lambda _, seen, run: services.plan_restart(session.stack, seen, run, names),
        "restarted",
    )


def run_rebuild(session: Session, names: Sequence[str]) -> None:
    """Rebuild images, recreate their containers, and restart services that depend on them."""
    session.change(
        "rebuild",
        lambda _, seen, run: services.plan_rebuild(session.stack, seen, run, names),
        "rebuilt and healthy",
    )


def run_down(session: Session, names: Sequence[str]) -> None:
    """Remove containers and networks; volumes are kept."""
    session.change(
        "down",
        lambda _, seen, run: services.plan_down(session.stack, seen, run, names),
        "down; all volumes were kept",
    )
