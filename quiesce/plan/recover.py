"""The steps that recover a dead run, from its plan and journal. Pure.

A bracket is pending from before its first step until its `always` part has succeeded. Innermost
first: `on_failure` if the body is not done, `on_success` if it is, then `always`. A stop that had
begun and not ended is repeated before anything starts, because a container that is still stopping
reports "healthy" and then exits. If services already used the new state, the body is finished
instead.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from quiesce.plan.steps import Bracket, Node, Plan, ReplaceRows, StopServices, walk


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run according to its journal: the positions of its steps, by event."""

    pending: Collection[str] = ()
    begun: Collection[str] = ()
    ended: Collection[str] = ()
    body_done: Collection[str] = ()
    settled: Collection[str] = ()
    closed: bool = False


def pending_nodes(plan: Plan, progress: Progress) -> tuple[Node, ...]:
    """Return the steps that recover the run, in order; none if nothing is pending."""
    nodes, forward = _of(plan.nodes, "", progress)
    if forward:
        # The new state is in use, so the rest of the plan is carried out.
        nodes += _unfinished(plan.nodes, "", progress)
    return nodes


def completed(plan: Plan, progress: Progress) -> bool:
    """Whether a dead run reached its goal, by itself or by its recovery.

    It did if every outermost bracket has its body done, or is finished instead of undone. Rows that
    are replaced in place are live as soon as their step has ended.
    """
    if any(
        isinstance(node, ReplaceRows) and position in progress.ended
        for position, node in walk(plan.nodes)
    ):
        return True
    outermost = [f"/{index}" for index, node in enumerate(plan.nodes) if isinstance(node, Bracket)]
    if outermost and all(position in progress.body_done for position in outermost):
        return True
    return _of(plan.nodes, "", progress)[1]


def _of(nodes: tuple[Node, ...], at: str, progress: Progress) -> tuple[tuple[Node, ...], bool]:
    pending: tuple[Node, ...] = ()
    forward = False
    for index, node in enumerate(nodes):
        position = f"{at}/{index}"
        if not isinstance(node, Bracket) or position not in progress.pending:
            continue
        if position in progress.settled:
            # It is finished itself, but a restart in a bracket inside it may still be pending.
            inner, inner_forward = _of(node.body, f"{position}/body", progress)
            completed = node.forward_from is not None and position in progress.body_done
            inner_forward = inner_forward or completed
        else:
            inner, inner_forward = _inside(node, position, progress)
        pending += inner
        forward = forward or inner_forward
    return pending, forward


def _inside(node: Bracket, at: str, progress: Progress) -> tuple[tuple[Node, ...], bool]:
    entered, _ = _of(node.enter, f"{at}/enter", progress)
    within, forward = _of(node.body, f"{at}/body", progress)
    forward = forward or _past_return(node, at, progress)
    stops = _half_done_stops(node, at, progress)
    if at in progress.body_done:
        return (*stops, *entered, *within, *node.on_success, *node.always), forward
    if forward:
        rest = _unfinished(node.body, f"{at}/body", progress)
        return (*stops, *within, *rest, *node.on_success, *node.always), True
    return (*stops, *entered, *within, *node.on_failure, *node.always), False


def _past_return(node: Bracket, at: str, progress: Progress) -> bool:
    if node.forward_from is None:
        return False
    later = range(node.forward_from, len(node.body))
    return any(f"{at}/body/{index}" in progress.begun for index in later)


def _half_done_stops(node: Bracket, at: str, progress: Progress) -> tuple[Node, ...]:
    return tuple(
        step
        for index, step in enumerate(node.enter)
        if isinstance(step, StopServices)
        and f"{at}/enter/{index}" in progress.begun
        and f"{at}/enter/{index}" not in progress.ended
    )


def _unfinished(nodes: tuple[Node, ...], at: str, progress: Progress) -> tuple[Node, ...]:
    """The steps that have not ended, without those in brackets of their own."""
    return tuple(
        node
        for index, node in enumerate(nodes)
        if not isinstance(node, Bracket) and f"{at}/{index}" not in progress.ended
    )
