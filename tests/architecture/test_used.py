"""What is defined is used: methods of ports by somebody who has the port, names by some module.

Tests do not count. A function that only tests call is neither needed nor proven by them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What the variables are called that hold a port. Loops over several ports say `port`.
HOLDERS: Mapping[str, frozenset[str]] = {
    "BackupStore": frozenset({"store"}),
    "Clock": frozenset({"clock", "_clock"}),
    "DatabaseAdmin": frozenset({"databases"}),
    "DatabaseDriver": frozenset({"databases"}),
    "EventSink": frozenset({"sink", "_sink", "reporter"}),
    "Globals": frozenset({"databases"}),
    "Migrator": frozenset({"migrator"}),
    "Offsite": frozenset({"offsite"}),
    "Project": frozenset({"project"}),
    "Rows": frozenset({"databases"}),
    "Runtime": frozenset({"runtime"}),
    "Scripts": frozenset({"databases"}),
    "Tied": frozenset({"databases"}),
    "VolumeIO": frozenset({"volumes"}),
}
#: Names that nobody in the repository uses, and who does.
USED_ELSEWHERE: Mapping[str, str] = {
    "bench": "invoke, as a task",
    "model_config": "pydantic, as the settings of a model",
    "nullable_schema": "pydantic, when it makes the JSON schema",
    "field_title_should_be_set": "pydantic, when it makes the JSON schema",
    "services_running_before": "people, in the manifest of a set",
    "stack_digest": "people, in the journal",
}


def trees(*excluded: str) -> dict[str, ast.Module]:
    """Return tasks.py and every module of quiesce, but those below the `excluded` folders."""
    paths = [ROOT / "tasks.py", *sorted((ROOT / "quiesce").rglob("*.py"))]
    names = {path.relative_to(ROOT).as_posix(): path for path in paths}
    return {
        name: ast.parse(path.read_text(), name)
        for name, path in names.items()
        if not name.startswith(excluded)
    }


def methods_of_ports() -> Iterator[tuple[str, str]]:
    """Yield each port with each of its methods."""
    for path in sorted((ROOT / "quiesce/ports").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef):
                        yield node.name, method.name


def uncalled(found: Mapping[str, ast.Module]) -> list[str]:
    """Return the methods of ports that none of these modules calls."""
    called = {
        (ast.unparse(node.value).rpartition(".")[2], node.attr)
        for tree in found.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
    }
    return [
        f"{port}.{method}"
        for port, method in methods_of_ports()
        if not any((holder, method) in called for holder in {*HOLDERS[port], "port"})
    ]


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module or its classes define: functions, classes, constants, fields.

    Handlers are left out, because the registry calls them.
    """
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    scopes += [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for scope in scopes:
        for node in scope.body:
            if isinstance(node, ast.FunctionDef):
                if not any("handles(" in ast.unparse(one) for one in node.decorator_list):
                    yield node.name
            elif isinstance(node, ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.AnnAssign):
                yield ast.unparse(node.target)
            elif isinstance(node, ast.Assign):
                yield from (one.id for one in node.targets if isinstance(one, ast.Name))


def unused(found: Mapping[str, ast.Module], templates: str) -> list[str]:
    """Return the names that no module reads and no template mentions."""
    used = set(re.findall(r"\w+", templates))
    for tree in found.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                used.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                used.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                used.update(re.findall(r"^\w+$", node.value))
    return [
        f"{path}: {name}"
        for path, tree in found.items()
        for name in defined(tree)
        if name not in used and not name.startswith("__") and name not in USED_ELSEWHERE
    ]


def module_of(path: str) -> str:
    """Return the dotted name of the module in this file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def references(path: str, tree: ast.Module, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield module and name of what a module imports, and of its own what it reads elsewhere."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.module or "", alias.name
                if (whole := f"{node.module}.{alias.name}") in known:
                    modules[alias.asname or alias.name] = whole
        elif isinstance(node, ast.Attribute) and (owner := ast.unparse(node.value)) in modules:
            yield modules[owner], node.attr
    for statement in tree.body:
        own = getattr(statement, "name", "")
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id != own:
                yield module_of(path), node.id


def unreferenced(found: Mapping[str, ast.Module]) -> list[str]:
    """Return the functions and classes of modules that nothing outside themselves refers to.

    What is decorated by a task or a handler is left out, because the decorator registers it.
    """
    known = set(map(module_of, found))
    used = {one for path, tree in found.items() for one in references(path, tree, known)}
    return [
        f"{path}: {node.name}"
        for path, tree in found.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        if not any(
            re.match(r"(s\.)?(handles|\w*[Tt]ask)\b", ast.unparse(d)) for d in node.decorator_list
        )
        if (module_of(path), node.name) not in used
    ]


def templates_of_pages() -> str:
    """Return the text of every template, in which fields of dataclasses are named."""
    pages = (path for path in (ROOT / "quiesce/report").rglob("*") if path.is_file())
    return "\n".join(path.read_text() for path in pages if path.suffix in (".j2", ".html"))


@pytest.mark.thorough
def test_every_method_of_a_port_is_called_outside_the_adapters() -> None:
    """Else two adapters and a fake implement it for nobody."""
    found = trees("quiesce/adapters/", "quiesce/ports/")
    assert uncalled(found) == []


@pytest.mark.thorough
def test_every_name_is_used() -> None:
    """By something that is not a test."""
    assert unused(trees(), templates_of_pages()) == []


@pytest.mark.thorough
def test_every_function_of_a_module_is_called_from_outside_itself() -> None:
    """Also where another module has one of the same name."""
    assert unreferenced(trees()) == []


def test_the_rule_of_functions_sees_what_only_calls_itself() -> None:
    """And what only has a namesake."""
    found = {
        "quiesce/a.py": ast.parse("def again():\n    again()"),
        "quiesce/b.py": ast.parse("from quiesce import c\nc.again()"),
        "quiesce/c.py": ast.parse("def again(): ..."),
    }
    assert unreferenced(found) == ["quiesce/a.py: again"]


def test_the_rule_of_ports_sees_what_nobody_calls() -> None:
    """A call of another object's method of the same name does not count."""
    assert "VolumeIO.archive" in uncalled({"x": ast.parse("database.archive()")})
    assert "VolumeIO.archive" not in uncalled({"x": ast.parse("run.ports.volumes.archive()")})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("def alone(): ...", "alone"),
        ("class Alone: ...\nclass Other:\n    x = 1\nOther().x", "Alone"),
        ("class C:\n    alone: int\nC(alone=1)", "alone"),
        ("ALONE = 1", "ALONE"),
    ],
)
def test_the_rule_of_names_sees_what_nobody_uses(text: str, name: str) -> None:
    """Setting a field is not using it."""
    assert unused({"x": ast.parse(text)}, "") == [f"x: {name}"]
