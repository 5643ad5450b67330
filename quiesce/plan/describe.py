"""Plans in words: one sentence per step, indentation for brackets. Pure text, no colour."""

from __future__ import annotations

from quiesce.plan.steps import PARTS, Bracket, MakeSafetySet, Node, Plan
from quiesce.plan.window import is_window, starts_again, stopped

#: Begins the lines that set the window apart.
RULE = "--- "

_PART_TITLES = {
    "enter": "",
    "body": "then",
    "on_failure": "if that fails",
    "on_success": "after success",
    "always": "in any case",
}


def describe(plan: Plan) -> str:
    """Return the whole plan as text, one line a step: sentence — reason.

    The window, with its commands before and after, is between two lines that begin with `RULE`. The
    text is the same for a dry run and a real run, except for the run's id.
    """
    lines = [f"plan: {plan.request}"]
    lines += [f"  {fact} — {why}" for fact, why in plan.outlook.lines()]
    lines += _lines(plan.nodes, 1)
    if not plan.nodes:
        lines.append("  nothing to do")
    return "\n".join(lines) + "\n"


def _lines(nodes: tuple[Node, ...], depth: int) -> list[str]:
    lines: list[str] = []
    indent = "  " * depth
    for node in nodes:
        if not isinstance(node, Bracket):
            lines.append(f"{indent}{node.sentence()} — {node.why}")
            if isinstance(node, MakeSafetySet):
                lines += _lines(node.steps, depth + 1)
            continue
        window = is_window(node)
        if window:
            lines.append(f"{indent}{RULE}{_beginning(node)}")
        lines.append(f"{indent}[ {node.why} ]")
        for part in PARTS:
            inner = getattr(node, part)
            if inner and _PART_TITLES[part] and not (part == "body" and not node.enter):
                lines.append(f"{indent}{_PART_TITLES[part]}:")
            lines += _lines(inner, depth + 1)
        if window:
            after = "run again" if starts_again(node) else "stay down"
            lines.append(f"{indent}{RULE}end of the window: these services {after}")
    return lines


def _beginning(window: Bracket) -> str:
    return f"start of the window: these services are stopped: {stopped(window)}"
