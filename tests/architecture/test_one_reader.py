"""There is one reader of env files: `quiesce/env_file.py`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support.trees import parse, texts

# What else is split at an equals sign, by module. A new row needs a reason; a file of `KEY=value`
# lines that a user writes is none: it has quotes, comments and variables.
PAIRS = {
    "quiesce/adapters/compose/external_users.py": "environment of a container",
    "quiesce/adapters/compose/redact.py": "environment of a container",
    "quiesce/adapters/compose/sandbox_model.py": "labels of the Compose model",
    "quiesce/adapters/compose/server_containers.py": "environment of a container",
    "quiesce/adapters/host/embedded_binaries.py": "control file of an extension",
    "quiesce/adapters/host/procfs.py": "environment of a process",
    "quiesce/adapters/postgres/rename.py": "settings in the catalog",
    "quiesce/adapters/postgres/settings.py": "settings in the catalog",
    "quiesce/adapters/volumes/tar_check.py": "extended header of tar",
    "quiesce/adapters/postgres/shell.py": "words of a command line",
    "quiesce/plan/found_servers.py": "environment of the Compose model, written as a list",
}


def splits_pairs(tree: ast.AST) -> Iterator[int]:
    """Yield the lines in which text is split at its first equals sign."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"partition", "split", "rpartition", "rsplit"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value in ("=", b"=")
        ):
            yield node.lineno


@pytest.mark.thorough
def test_nobody_else_splits_lines_into_names_and_values() -> None:
    """A second, simpler reader takes `"pa$word"` for a password with quotes."""
    found = {path for path, text in texts().items() if any(splits_pairs(parse(text, path)))}
    new = sorted(found - {*PAIRS})
    assert not new, f"{', '.join(new)}: use env_file.parse_env_file, or say what is split"
    assert not {*PAIRS} - found, "rows of PAIRS that are not needed any more"


@pytest.mark.parametrize("text", ['line.split("=", 1)', 'a.partition(b"=")', 'x.rpartition("=")'])
def test_a_split_is_seen(text: str) -> None:
    """In each of its forms."""
    assert list(splits_pairs(ast.parse(text))) == [1]
