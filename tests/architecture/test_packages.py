"""Packages of adapters: what may be imported from outside of each, and no circles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.trees import ROOT, is_for_type_checking, parse, texts

#: The modules of each package that other packages and layers may import. All others are private.
PUBLIC: Mapping[str, frozenset[str]] = {
    "compose": frozenset(
        "runtime discovery engine sandbox_model helper_container exec_stream copy_files".split()
    ),
    "host": frozenset("runtime project orphans embedded_postgres".split()),
    "postgres": frozenset("admin session catalog client_args dump_toc sql_reader".split()),
    "mariadb": frozenset({"admin"}),
    "volumes": frozenset("io helper direct".split()),
    "sets": frozenset("local offsite crypt signing".split()),
    "schedule": frozenset("cron crontab systemd".split()),
    "notify": frozenset("apprise prometheus".split()),
    "process": frozenset("program child exec signals terminal".split()),
}
#: Which packages of adapters may import which. Modules beside the packages serve all of them.
ALLOWED: Mapping[str, frozenset[str]] = {
    "compose": frozenset({"process"}),
    "host": frozenset({"process"}),
    "postgres": frozenset(),
    "mariadb": frozenset(),
    "volumes": frozenset({"compose", "process"}),
    "sets": frozenset({"process"}),
    "schedule": frozenset({"process"}),
    "notify": frozenset(),
    "process": frozenset(),
}


#: Where adapters are constructed and joined.
WIRING = "quiesce.app.wiring"


def modules() -> dict[str, ast.Module]:
    """Return every module of quiesce by its dotted name."""
    return {
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): parse(text, path)
        for path, text in texts().items()
    }


def imports(tree: ast.AST, known: Mapping[str, object], *, at_start_only: bool) -> Iterator[str]:
    """Yield the modules of quiesce that are imported, by functions too unless `at_start_only`."""
    for node in ast.iter_child_nodes(tree):
        # No import stands inside of an expression, and most of a tree is expressions.
        if isinstance(node, ast.expr) or is_for_type_checking(node):
            continue
        if at_start_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("quiesce"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("quiesce"))
        else:
            yield from imports(node, known, at_start_only=at_start_only)


def package_of(module: str) -> tuple[str, str]:
    """Return the package of adapters and the module's name in it, or two empty strings."""
    parts = module.split(".")
    if parts[:2] != ["quiesce", "adapters"] or len(parts) < 4:
        return "", ""
    return parts[2], parts[3]


def breaches(looked_at: Mapping[str, ast.Module], known: Mapping[str, object]) -> list[str]:
    """Return every import that reaches into a private module, or a package that is not allowed.

    `known` has every module there is, so that one is told from a name in a package.
    """
    wrong = []
    for name, tree in looked_at.items():
        own, _ = package_of(name)
        for target in imports(tree, known, at_start_only=False):
            package, module = package_of(target)
            if not package or package == own:
                continue
            if module not in PUBLIC.get(package, frozenset()):
                wrong.append(f"{name} imports {target}, which is private to {package}")
            elif own and package not in ALLOWED.get(own, frozenset()):
                wrong.append(f"{name}: {own} may not import {package}")
    return wrong


def circle(found: Mapping[str, ast.Module]) -> list[str]:
    """Return the modules of one circle of imports, or nothing."""
    graph = {
        name: {target for target in imports(tree, found, at_start_only=True) if target != name}
        for name, tree in found.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def constructed(tree: ast.AST) -> Iterator[str]:
    """Yield the names of classes that are called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name[:1].isupper():
                yield name


def imported_from(tree: ast.AST, *, adapters: bool) -> set[str]:
    """Return the names imported from adapters, or from everywhere else."""
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("quiesce.adapters.") == adapters
        for alias in node.names
    }


def joined_in(tree: ast.AST) -> set[str]:
    """Return the classes of adapters that a module imports and constructs."""
    return imported_from(tree, adapters=True) & set(constructed(tree))


def breaches_of_wiring(found: Mapping[str, ast.Module]) -> list[str]:
    """Return every construction of an adapter outside the composition root."""
    wiring = joined_in(found[WIRING])
    return [
        f"{name} constructs {kind}: take the port, or a factory of {WIRING}"
        for name, tree in found.items()
        if name != WIRING
        # Some other package may have a class of the same name, as obstore has.
        for kind in sorted(set(constructed(tree)) & wiring - imported_from(tree, adapters=False))
    ]


def test_no_package_imports_what_is_private_to_another() -> None:
    """A package can change inside without a look at the others."""
    assert breaches(modules(), modules()) == []


def test_every_package_has_its_row_and_its_sentence() -> None:
    """A new package says what may be imported from it, in the table and in its `__init__.py`."""
    folders = {path.parent.name for path in (ROOT / "quiesce/adapters").glob("*/__init__.py")}
    assert folders == set(PUBLIC) == set(ALLOWED)
    for folder in folders:
        text = (ROOT / "quiesce/adapters" / folder / "__init__.py").read_text()
        for module in PUBLIC[folder]:
            assert f"`{module}`" in text, f"{folder}/__init__.py does not name {module}"


@pytest.mark.thorough
def test_adapters_are_constructed_in_the_composition_root_alone() -> None:
    """Everybody else takes a port, so a test can give another one."""
    found = modules()
    assert {"LocalStore", "ComposeRuntime", "VolumeFiles"} <= joined_in(found[WIRING])
    assert breaches_of_wiring(found) == []


def test_nothing_goes_in_a_circle() -> None:
    """Whatever is imported first, it works."""
    assert circle(modules()) == []


def test_programs_in_strings_import_modules_that_exist() -> None:
    """Tests start programs from strings, which neither mypy nor a moved file changes."""
    known = modules()
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in ("tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        # test_mutants.py makes a module of its own to change.
        if path.name not in (Path(__file__).name, "test_mutants.py")
        for name in re.findall(r"\b(?:from|import) (quiesce(?:\.\w+)+)", path.read_text())
        if name not in known
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ["quiesce.commands.x", "quiesce.adapters.compose.x"])
def test_the_rule_of_wiring_sees_what_breaks_it(name: str) -> None:
    """Whether the class is imported by name or with its module."""
    for text in ("LocalStore(folder)", "local.LocalStore(folder)"):
        found = {WIRING: modules()[WIRING], name: ast.parse(text)}
        assert len(breaches_of_wiring(found)) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("quiesce.app.x", "from quiesce.adapters.postgres.rename import swap"),
        ("quiesce.adapters.compose.x", "from quiesce.adapters.volumes import io"),
        ("quiesce.adapters.compose.x", "def f():\n    from quiesce.adapters.sets.local import y"),
    ],
)
def test_the_rule_of_packages_sees_what_breaks_it(name: str, text: str) -> None:
    """A rule that never says no is no rule."""
    assert len(breaches({name: ast.parse(text)}, modules())) == 1


def test_the_rule_of_circles_sees_one() -> None:
    """Two modules that need each other."""
    found = {
        "quiesce.a": ast.parse("from quiesce import b"),
        "quiesce.b": ast.parse("from quiesce.a import x"),
    }
    assert set(circle(found)) == {"quiesce.a", "quiesce.b"}
