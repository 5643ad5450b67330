"""Nothing of ours answers Compose's questions for the user: one of them deletes a volume."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "quiesce"
#: Options of `docker compose` that answer yes, or that replace or remove volumes.
FORBIDDEN = ("--yes", "-y", "--renew-anon-volumes", "-V", "--volumes", "-v")


def test_compose_gets_no_option_that_answers_or_deletes_volumes():
    """See docs/engine-facts.md."""
    words = {
        (file.name, node.value)
        for file in (ROOT / "adapters/compose").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert ("start.py", "--detach") in words
    assert [place for place in sorted(words) if place[1] in FORBIDDEN] == []
