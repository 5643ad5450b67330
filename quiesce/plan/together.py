"""Which services are stopped, and started, at the same time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.model import Stack
from quiesce.observed import Observed, Unit
from quiesce.plan import order
from quiesce.plan.steps import StartServices, StopServices


def stop_step(stack: Stack, observed: Observed, units: Sequence[Unit], why: str) -> StopServices:
    """Return the step that stops these units, given in stop order: each service after those that
    depend on it and those after it in `restart.order`, otherwise at the same time."""
    groups = _groups(stack, observed, tuple(reversed(units)))
    backwards = tuple(tuple(reversed(group)) for group in reversed(groups))
    return StopServices(
        _flat(backwards), stack.restart.stop_timeout, why, groups=_shared(backwards)
    )


def start_step(stack: Stack, observed: Observed, wave: Sequence[Unit], why: str) -> StartServices:
    """Return the step that starts a wave: each service after those of the wave that it depends on
    and those before it in `restart.order`, otherwise at the same time."""
    groups = _groups(stack, observed, wave)
    return StartServices(_flat(groups), stack.restart.stop_timeout, why, groups=_shared(groups))


def bystanders(stack: Stack, observed: Observed, units: Sequence[Unit]) -> tuple[Unit, ...]:
    """Return what keeps running in the networks of these units and may remember their addresses.

    Database servers do not count, because they do not connect to others.
    """
    servers = {database.service for database in stack.databases}
    networks = {address.network for unit in units for address in unit.addresses}
    return tuple(
        unit
        for unit in observed.running
        if unit not in units
        and unit.service not in servers
        and networks & {address.network for address in unit.addresses}
    )


def _groups(
    stack: Stack, observed: Observed, units: Sequence[Unit]
) -> tuple[tuple[Unit, ...], ...]:
    return order.start_groups(units, observed.services, stack.restart.order)


def _flat(groups: tuple[tuple[Unit, ...], ...]) -> tuple[Unit, ...]:
    return tuple(unit for group in groups for unit in group)


def _shared(groups: tuple[tuple[Unit, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Return the services of each group with several units."""
    return tuple(
        tuple(dict.fromkeys(unit.service for unit in group)) for group in groups if len(group) > 1
    )
