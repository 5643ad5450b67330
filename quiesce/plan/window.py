"""The window of a plan: the bracket in which services are stopped. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from quiesce.plan.services import WINDOW
from quiesce.plan.steps import Bracket, Node, StartServices, StopServices, names, steps_of, walk


def windows(nodes: tuple[Node, ...]) -> Iterator[tuple[str, Bracket]]:
    """Yield position and bracket of every window of a plan."""
    for position, node in walk(nodes):
        if isinstance(node, Bracket) and is_window(node):
            yield position, node


def is_window(node: Bracket) -> bool:
    """Whether services are stopped during this bracket."""
    return node.why == WINDOW


def stopped(window: Bracket) -> str:
    """Return the services that are stopped in a window, in words."""
    return names(tuple(unit for step in _stops(window) for unit in step.units))


def stopped_services(nodes: tuple[Node, ...]) -> frozenset[str]:
    """Return the services that are stopped in the windows of a plan."""
    found = (step for _, window in windows(nodes) for step in _stops(window))
    return frozenset(unit.service for step in found for unit in step.units)


def starts_again(window: Bracket) -> bool:
    """Whether the stopped services run again after the window."""
    return any(isinstance(step, StartServices) for _, step in steps_of(window.always))


def _stops(window: Bracket) -> Iterator[StopServices]:
    return (step for step in window.enter if isinstance(step, StopServices))
