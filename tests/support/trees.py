"""The syntax trees of this repository, read once in a session."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def parse(text: str, path: str = "<text>") -> ast.Module:
    """Return the tree of a text. Whoever gets it only looks at it: others get the same."""
    return ast.parse(text, path)


@cache
def texts(folder: str = "quiesce") -> dict[str, str]:
    """Return the text of every Python module below a folder, by its path in the repository."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def is_for_type_checking(node: ast.AST) -> bool:
    """Tell whether this is `if TYPE_CHECKING`, which never runs."""
    return isinstance(node, ast.If) and any(
        getattr(part, "id", getattr(part, "attr", None)) == "TYPE_CHECKING"
        for part in ast.walk(node.test)
    )
