"""Extends a recovery after a reboot. Pure.

A plan starts what it stopped, and assumes that everything else kept running. That is wrong if the
machine or the engine was restarted meanwhile: then everything that ran must be started, in order.
"""

from __future__ import annotations

from quiesce.model import Stack
from quiesce.observed import Observed, Unit
from quiesce.plan import order
from quiesce.plan.services import start_wave_nodes
from quiesce.plan.steps import Node, Plan, StartServices, StopServices, walk


def with_all_that_ran(
    stack: Stack, observed: Observed, plan: Plan, pending: tuple[Node, ...]
) -> tuple[Node, ...]:
    """Return the pending steps, with steps that start everything else that is down.

    Nothing is added if no service is pending. Services that need one that the plan stopped come
    last; all others come first, because data is put back on running servers.
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
    # Not the order of stack.yaml: a recovery must work without readable files.
    names = tuple(dict.fromkeys(unit.service for unit in plan.running))

    def nodes(units: tuple[Unit, ...]) -> tuple[Node, ...]:
        waves = order.start_waves(units, observed.services, names, names)
        return start_wave_nodes(stack, waves, why)

    return (*nodes(before), *pending, *nodes(after))


def was_restarted(untouched: tuple[Unit, ...], observed: Observed) -> bool:
    """Whether the machine or its engine was restarted since the plan was made.

    That is so if none of the units that the plan did not touch has kept running since. Units that
    keep crashing do not count.
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
        if isinstance(node, StopServices)
        for unit in node.units
    )


def _now(unit: Unit, observed: Observed) -> Unit | None:
    """Return the unit as it runs now, or None if it is not running."""
    units = (now for service in observed.services for now in service.running)
    same = (now for now in units if now.id == unit.id or now.name == unit.name)
    return next(same, None)


def _ran_on(unit: Unit, observed: Observed) -> bool:
    now = _now(unit, observed)
    return now is not None and now.id == unit.id and now.started_at == unit.started_at
