"""What a dead run owes beside what it stopped itself. Pure.

A plan brings back what it stopped, and takes for granted that the rest ran on. It did not when
the machine, or the engine, was started again meanwhile: then everything that ran is owed, what
the others need first.
"""

from __future__ import annotations

from quiesce.model import Stack
from quiesce.observed import Observed, Unit
from quiesce.plan import order
from quiesce.plan.services import coming_back
from quiesce.plan.steps import Bracket, Node, Plan, StartServices, StopServices, walk


def with_all_that_ran(
    stack: Stack, observed: Observed, plan: Plan, pending: tuple[Node, ...]
) -> tuple[Node, ...]:
    """Return the owed steps with those that bring back what else is down.

    Nothing is added where no service is owed. What needs one that the plan stopped comes last;
    the rest comes first, for data is put back on servers that run.
    """
    if not any(isinstance(node, StartServices) for _, node in walk(pending)):
        return pending
    untouched = _untouched(plan)
    if not untouched:
        return pending
    restarted = was_restarted(untouched, observed)
    needs = order.dependencies(observed.services)
    stopped = {unit.service for unit in _stopped(plan)}
    needed = set(order.all_needed(needs, stopped & needs.keys()))
    missing = tuple(
        unit
        for unit in untouched
        if restarted or (unit.service in needed and not _now(unit, observed))
    )
    last = set(order.all_dependents(needs, stopped & needs.keys()))
    before = tuple(unit for unit in missing if unit.service not in last)
    after = tuple(unit for unit in missing if unit.service in last)
    why = "it was running before the interruption" if restarted else "the recovery needs it"
    # Not the order of stack.yaml: who recovers may have no file that can be read.
    names = tuple(dict.fromkeys(unit.service for unit in plan.running))

    def nodes(units: tuple[Unit, ...]) -> tuple[Node, ...]:
        return coming_back(stack, order.start_waves(units, observed.services, names), why)

    return (*nodes(before), *pending, *nodes(after))


def was_restarted(untouched: tuple[Unit, ...], observed: Observed) -> bool:
    """Whether the machine or its engine was started again since the plan was made.

    No single one of the units that the plan left alone has run on since. One that crashes again
    and again proves nothing.
    """
    witnesses = [unit for unit in untouched if unit.state != "restarting"]
    return bool(witnesses) and not any(_ran_on(unit, observed) for unit in witnesses)


def _untouched(plan: Plan) -> tuple[Unit, ...]:
    stopped = {unit.id for unit in _stopped(plan)}
    return tuple(unit for unit in plan.running if unit.id not in stopped)


def _stopped(plan: Plan) -> tuple[Unit, ...]:
    return tuple(
        unit
        for _, node in walk(plan.nodes)
        if not isinstance(node, Bracket) and isinstance(node, StopServices)
        for unit in node.units
    )


def _now(unit: Unit, observed: Observed) -> Unit | None:
    """Return the unit as it runs now, None when it does not."""
    units = (now for service in observed.services for now in service.running)
    same = (now for now in units if now.id == unit.id or now.name == unit.name)
    return next(same, None)


def _ran_on(unit: Unit, observed: Observed) -> bool:
    now = _now(unit, observed)
    return now is not None and now.id == unit.id and now.started_at == unit.started_at
