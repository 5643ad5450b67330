"""The verbs `up`, `start`, `stop`, `restart`, `rebuild` and `down`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from quiesce.app.session import Session
from quiesce.plan import services
from quiesce.plan.steps import WaitServices, steps_of

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.observed import Observed
    from quiesce.plan.steps import Plan


def run_up(session: Session, names: Sequence[str], *, build: bool = False) -> None:
    """Create and start services, in order, and wait until they are up.

    Asks before running services are recreated.
    """
    words = bring_up(session, names, build=build)
    if words:
        session.reporter.done(words, {})


def bring_up(session: Session, names: Sequence[str], *, build: bool = False) -> str:
    """Do what `up` does; return the result in words, "" for a dry run."""
    made: list[Plan] = []
    recreated: dict[str, str] = {}

    def plan(ports: Ports, seen: Observed, run: str) -> Plan:
        def outdated(wanted: Sequence[str]) -> Mapping[str, str]:
            recreated.update(ports.project.outdated(wanted))
            return recreated

        made.append(
            services.plan_up(session.stack, seen, run, names, build=build, outdated=outdated)
        )
        return made[-1]

    def confirm(*_: object) -> None:
        if recreated:
            listed = ", ".join(f"{name} ({why})" for name, why in recreated.items())
            session.require_yes(f"these running services will be recreated: {listed}; continue?")

    done = session.change("up", plan, confirm=confirm)
    return "" if done is None else _up_words(made[-1], done.unasked)


def _up_words(plan: Plan, unasked: Collection[str]) -> str:
    """Return what is up, and how that was checked. `unasked` servers refused the declared user."""
    waits = [step for _, step in steps_of(plan.nodes) if isinstance(step, WaitServices)]
    found = []
    for wait in waits:
        others = (*wait.answering, *wait.running)
        healthy = [name for name in wait.services if name not in others]
        if not others and not unasked:
            return "up and healthy"
        for names, what in (
            (healthy, "healthy"),
            ([name for name in wait.answering if name not in unasked], "answering SQL"),
            (sorted(set(wait.answering) & set(unasked)), "running, login refused"),
            (wait.running, "running, without a health check"),
        ):
            found += [f"{what}: {', '.join(names)}"] if names else []
    return "; ".join(["up", *found])


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
    """Restart the named services that run, and the services that depend on them."""
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
        "rebuilt and up",
    )


def run_down(session: Session, names: Sequence[str]) -> None:
    """Remove containers and networks; volumes are kept."""
    session.change(
        "down",
        lambda _, seen, run: services.plan_down(session.stack, seen, run, names),
        "down; all volumes were kept",
    )
