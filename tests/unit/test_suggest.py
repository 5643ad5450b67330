"""One way to answer a name that is not known."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from quiesce.suggest import nearest, suggest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("web", "backend", "db", "redis")


def test_a_name_that_is_alike_is_offered() -> None:
    """As a question, in quotes like every word to type."""
    assert suggest("rediss", SERVICES) == "did you mean 'redis'?"
    assert nearest("rediss", SERVICES) == "redis"


def test_a_list_of_names_is_no_question() -> None:
    """In the order given, without a full stop."""
    assert suggest("zzz", SERVICES) == "known: web, backend, db, redis"
    assert suggest("zzz", iter(SERVICES)) == "known: web, backend, db, redis"
    assert nearest("zzz", SERVICES) is None


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_set_is_listed_in_one_order(kind: type) -> None:
    """Whatever its hashes are today."""
    assert suggest("zzz", kind(SERVICES)) == "known: backend, db, redis, web"


def test_where_nothing_is_known_that_is_said() -> None:
    """Or what to do about it."""
    assert suggest("web", ()) == "known: none"
    assert suggest("web", (), none="add it to 'services:'") == "add it to 'services:'"
    assert suggest("web", (), unlike="run 'inv backups'") == "run 'inv backups'"
    assert suggest("web", (), unlike="run 'inv backups'", none="it is empty") == "it is empty"
    assert nearest("web", ()) is None


def test_a_long_list_can_be_replaced() -> None:
    """Of sets there may be hundreds."""
    assert suggest("zzz", SERVICES, unlike="run 'inv status'") == "run 'inv status'"
    assert suggest("zzz", SERVICES, unlike="") == ""
    assert suggest("rediss", SERVICES, unlike="run 'inv status'") == "did you mean 'redis'?"


def test_several_names_may_be_offered_the_nearest_first() -> None:
    """Sets of one day are much alike."""
    sets = ("core-20261101-020000", "core-20261101-020001", "core-20261101-030000", "other")
    assert suggest("core-20261101-020001x", sets, most=2) == (
        "did you mean 'core-20261101-020001' or 'core-20261101-020000'?"
    )


def test_of_two_that_are_equally_alike_it_is_always_the_same() -> None:
    """In whatever order they are given."""
    assert suggest("webx", ("weba", "webb")) == suggest("webx", ("webb", "weba"))


@pytest.mark.thorough
@pytest.mark.parametrize("path", sorted((ROOT / "quiesce").rglob("*.py")), ids=str)
def test_nobody_else_makes_such_hints(path: Path) -> None:
    """And no list of names ends in a question mark."""
    if path == ROOT / "quiesce/suggest.py":
        return
    text = path.read_text()
    assert not re.search(r"difflib|get_close_matches|did you mean", text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            made = ast.unparse(node)
            listed = re.search(r"known: |join\(|suggest\(", made)
            assert not (listed and made.rstrip("'\"").endswith("?")), made
