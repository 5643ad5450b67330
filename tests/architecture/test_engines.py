"""Engines of databases meet in one table; nothing else asks which engine it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from quiesce.app.wiring import DRIVERS
from quiesce.execute.by_hand import PAGES
from quiesce.model import Capability, engine_of, engines
from quiesce.ports import DatabaseDriver, Globals, Rows, Scripts, Tied
from tests.architecture.test_layers import Source, imports, sources

#: The capabilities that have methods of their own.
PROTOCOLS: dict[Capability, type] = {
    "globals": Globals,
    "rows": Rows,
    "scripts": Scripts,
    "ties": Tied,
}
#: Who may import a driver, besides itself.
DRIVERS_AT = {
    "quiesce/app/wiring.py": "it has the table",
    "quiesce/adapters/migrations.py": "the capability `migrations`",
    "quiesce/app/importing.py": "the capability `scripts`",
}
#: Where an engine may be named: the facts about it, and the table of drivers.
NAMED_IN = ("quiesce/model/engines.py", "quiesce/app/wiring.py")


def packages() -> set[str]:
    """The packages of drivers below `quiesce.adapters`."""
    return {load().__module__.split(".")[2] for load in DRIVERS.values()}


def breaches_of_engines(source: Source) -> Iterator[str]:
    """Yield the places that decide by the name of an engine."""
    if source.path in NAMED_IN:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Match):
            asked = [node.subject, ast.Constant("")]
        elif isinstance(node, ast.Subscript):
            asked = [node.slice, node.value] if isinstance(node.value, ast.Dict) else []
        else:
            continue
        words = [one for part in asked for one in ast.walk(part)]
        about = any(_last(part) in ("engine", "engines") for part in asked)
        named = any(isinstance(word, ast.Constant | ast.Dict) for word in words) or any(
            _last(word) == "DEFAULT_ENGINE" for word in words
        )
        if about and named:
            yield f"{source.path}:{node.lineno}: decides by the name of an engine"


def _last(node: ast.AST) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def breaches_of_drivers(source: Source) -> Iterator[str]:
    """Yield the imports of drivers elsewhere than at the seam."""
    for name in imports(source):
        package = name.removeprefix("quiesce.adapters.").split(".")[0]
        if not name.startswith("quiesce.adapters.") or package not in packages():
            continue
        inside = source.path.startswith(f"quiesce/adapters/{package}/")
        if not inside and source.path not in DRIVERS_AT:
            yield f"{source.path}: imports {name}"


@pytest.mark.thorough
def test_nothing_decides_by_the_name_of_an_engine() -> None:
    """It asks for a capability, or a driver does it."""
    assert [breach for source in sources() for breach in breaches_of_engines(source)] == []


@pytest.mark.thorough
def test_drivers_are_imported_at_the_seam_only() -> None:
    """So that a further engine is one package and one row."""
    assert [breach for source in sources() for breach in breaches_of_drivers(source)] == []


def test_every_engine_of_stack_yaml_has_a_driver_and_no_other_one() -> None:
    """What can be declared can be backed up, and restored without Quiesce."""
    assert set(DRIVERS) == set(engines()) == set(PAGES)


@pytest.mark.parametrize("key", engines())
def test_a_driver_implements_what_its_engine_is_said_to_do(key: str) -> None:
    """And no more: a method that nobody may call is not kept."""
    driver = DRIVERS[key]()
    wanted = {name for name in vars(DatabaseDriver) if not name.startswith("_")}
    assert {name for name in wanted if not callable(getattr(driver, name, None))} == set()
    can = {one for one, protocol in PROTOCOLS.items() if issubclass(driver, protocol)}
    assert can == set(PROTOCOLS) & engine_of(key).capabilities


@pytest.mark.parametrize(
    "text",
    [
        "if database.engine == 'postgres': ...",
        "if 'mariadb' != one.engine: ...",
        "if database.engine in ('mysql', 'mariadb'): ...",
        "found = one if database.engine is DEFAULT_ENGINE else other",
        "match record.engine:\n    case 'redis': ...",
        "load = {'postgres': a, 'mariadb': b}[database.engine]",
        "return engine == 'mariadb'",
    ],
)
def test_the_rule_of_engines_sees_who_asks_which_it_is(text: str) -> None:
    """However it is written."""
    text = f"def f():\n    {text}" if text.startswith("return") else text
    assert len(list(breaches_of_engines(Source("quiesce/plan/x.py", text)))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "if observed.engine.kind == 'host': ...",
        "if made_by != database.engine: ...",
        "if engine_of(database.engine).can('rows'): ...",
    ],
)
def test_the_rule_of_engines_leaves_other_questions_alone(text: str) -> None:
    """The engine of containers, two databases, and a capability."""
    assert list(breaches_of_engines(Source("quiesce/plan/x.py", text))) == []


def test_the_rule_of_drivers_sees_an_import() -> None:
    """Also inside of a function."""
    text = "def f():\n    from quiesce.adapters.postgres.admin import PostgresAdmin"
    assert len(list(breaches_of_drivers(Source("quiesce/commands/x.py", text)))) == 1
    assert list(breaches_of_drivers(Source("quiesce/adapters/postgres/x.py", text))) == []
