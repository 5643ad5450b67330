"""Plans in words: one sentence per step, indentation for brackets. Pure text, no colour."""

from __future__ import annotations

from quiesce.plan.steps import PARTS, Bracket, Node, Plan

_PART_TITLES = {
    "enter": "",
    "body": "then",
    "on_failure": "if that fails",
    "on_success": "after success",
    "always": "in any case",
}


def describe(plan: Plan) -> str:
    """Return the whole plan as text, one line a step: sentence — reason.

    The text is the same for a dry run and a real run, except for the run's id.
    """
    lines = [f"plan: {plan.request}"]
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
            continue
        lines.append(f"{indent}[ {node.why} ]")
        for part in PARTS:
            inner = getattr(node, part)
            if inner and _PART_TITLES[part] and not (part == "body" and not node.enter):
                lines.append(f"{indent}{_PART_TITLES[part]}:")
            lines += _lines(inner, depth + 1)
    return lines
