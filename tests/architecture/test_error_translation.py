"""One context manager turns the errors of other systems into ours: `errors.translate_errors`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = "quiesce/errors.py"


def translators(path: str, text: str) -> Iterator[str]:
    """Yield the context managers that raise another exception for one of their block."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef) or not any(
            ast.unparse(decorator).endswith("contextmanager") for decorator in node.decorator_list
        ):
            continue
        for inner in ast.walk(node):
            if isinstance(inner, ast.Try) and _yields(inner) and _raises_another(inner):
                yield f"{path}: {node.name}"


def _yields(block: ast.Try) -> bool:
    return any(
        isinstance(part, ast.Yield) for statement in block.body for part in ast.walk(statement)
    )


def _raises_another(block: ast.Try) -> bool:
    return any(
        isinstance(part, ast.Raise) and part.exc is not None
        for handler in block.handlers
        for part in ast.walk(handler)
    )


@pytest.mark.thorough
def test_errors_are_translated_by_one_context_manager() -> None:
    """Which error becomes which differs from system to system; how it is done does not."""
    found = [
        breach
        for file in sorted((ROOT / "quiesce").rglob("*.py"))
        for breach in translators(file.relative_to(ROOT).as_posix(), file.read_text())
    ]
    assert found == [f"{HOME}: translate_errors"]


@pytest.mark.parametrize("decorator", ["contextmanager", "contextlib.contextmanager"])
def test_the_rule_sees_a_second_one(decorator: str) -> None:
    """A context manager that cleans up and raises the same error again is not meant."""
    block = f"@{decorator}\ndef f():\n    try:\n        yield\n    except OSError as error:\n"
    assert list(translators("x.py", f"{block}        raise KeyError() from error"))
    assert not list(translators("x.py", f"{block}        clean()\n        raise"))
