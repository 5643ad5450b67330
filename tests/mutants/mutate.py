"""The changes of a module: each one exchanges one small part of a function.

What a module does when it is imported (constants, defaults, fields of classes) is not mutated:
the code of functions can be exchanged in a process that has imported everything, that cannot.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import CodeType

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
#: The builtin that functions call before each of their statements, once they are `noting`.
NOTE = "quiesce_note_lines"
_CALLS = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """One change. `number` tells it from others of the same words in the same function.

    `node` is the number of the changed node in the module, as `ast.walk` counts, and `choice`
    which of its changes; `lines` are those of the source on which it is.
    """

    path: str
    function: str
    before: str
    after: str
    node: int
    choice: int
    lines: tuple[int, int]
    number: int = 1

    @property
    def name(self) -> str:
        """How it is called in `survivors.md`."""
        again = f" ({self.number})" if self.number > 1 else ""
        return f"`{self.function}`: `{self.before}` → `{self.after}`{again}"


def mutants(path: str, text: str) -> list[Mutant]:
    """Return every mutant of a module, in the order of its text."""
    tree = ast.parse(text)
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    found: list[Mutant] = []
    seen: Counter[tuple[str, str, str]] = Counter()
    for function, node in _inside_functions(tree, ""):
        for choice, changed in enumerate(_changes(node)):
            lines = (node.lineno, node.end_lineno or node.lineno)
            before, after = _words(node), _words(changed)
            mutant = Mutant(path, function, before, after, numbers[id(node)], choice, lines)
            seen[function, before, after] += 1
            found.append(replace(mutant, number=seen[function, before, after]))
    return found


def compiled(mutant: Mutant, text: str, file: str) -> CodeType:
    """Return the module with the change, compiled."""
    tree = ast.parse(text)
    node = next(node for number, node in enumerate(ast.walk(tree)) if number == mutant.node)
    changed = list(_changes(node))[mutant.choice]
    made = _Exchange(node, changed).visit(tree)
    return compile(ast.fix_missing_locations(made), file, "exec")


def noting(path: str, text: str, file: str) -> CodeType:
    """Return the module compiled, its functions calling `NOTE` with the path and the first and the
    last line of each statement that they come to."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _note(node, path)
    return compile(ast.fix_missing_locations(tree), file, "exec")


def _note(block: ast.AST, path: str) -> None:
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        found: list[ast.AST] = []
        for one in getattr(block, name, ()):
            if isinstance(one, ast.stmt):
                found.append(_call_note(one, path))
            if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                _note(one, path)
            found.append(one)
        if found:
            setattr(block, name, found)


def _call_note(statement: ast.stmt, path: str) -> ast.stmt:
    """Of a statement with others inside, only its first lines are come to with it."""
    last = statement.end_lineno or statement.lineno
    if not isinstance(statement, ast.Match) and (body := getattr(statement, "body", None)):
        last = max(statement.lineno, body[0].lineno - 1)
    arguments = [ast.Constant(value) for value in (path, statement.lineno, last)]
    call = ast.Expr(ast.Call(ast.Name(NOTE, ast.Load()), arguments, []))
    return ast.copy_location(call, statement)


class _Exchange(ast.NodeTransformer):
    def __init__(self, node: ast.AST, changed: ast.AST) -> None:
        self._node = node
        self._changed = changed

    def visit(self, node: ast.AST) -> ast.AST:
        return self._changed if node is self._node else self.generic_visit(node)


def _inside_functions(
    node: ast.AST, name: str, *, inside: bool = False
) -> Iterator[tuple[str, ast.AST]]:
    """Yield what runs when functions are called, with the function's name in its module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            # Not its decorators and defaults: those are worked out when it is defined.
            function = f"{name}.{child.name}".lstrip(".")
            for statement in child.body:
                yield function, statement
                yield from _inside_functions(statement, function, inside=True)
        elif isinstance(child, ast.ClassDef):
            yield from _inside_functions(child, f"{name}.{child.name}".lstrip("."))
        elif child in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            continue  # it does not run
        elif isinstance(child, ast.JoinedStr):
            continue  # a text for people does nothing wrong
        elif isinstance(child, ast.keyword) and child.arg == "strict":
            continue  # zip(strict=True) is only there to notice a mistake
        else:
            if inside and hasattr(child, "lineno"):
                yield name, child
            yield from _inside_functions(child, name, inside=inside)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the node as it might have been written by mistake."""
    if isinstance(node, ast.expr):
        yield from _other_values(node)
    elif isinstance(node, ast.Raise | ast.Break | ast.AugAssign):
        yield _at(node, ast.Pass())
    elif isinstance(node, ast.Continue):
        yield _at(node, ast.Break())
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield _at(node, ast.Pass())
    if isinstance(node, ast.If | ast.IfExp) and not isinstance(
        node.test, ast.Compare | ast.BoolOp | ast.UnaryOp
    ):
        yield _with(node, test=ast.UnaryOp(ast.Not(), copy.deepcopy(node.test)))


def _other_values(node: ast.expr) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield _with(node, ops=[_COMPARISONS[type(node.ops[0])]()])
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.And() if isinstance(node.op, ast.Or) else ast.Or())
        for value in node.values:
            yield copy.deepcopy(value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield copy.deepcopy(node.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield _with(node, op=_OPERATORS[type(node.op)]())
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield _with(node, value=not node.value)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield _with(node, value=node.value + 1)  # type: ignore[operator]
    elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in _CALLS:
        yield _with(node, func=ast.Name(_CALLS[node.func.id], ast.Load()))


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _at(node: ast.AST, made: ast.AST) -> ast.AST:
    return ast.copy_location(made, node)


def _words(node: ast.AST) -> str:
    text = ast.unparse(node).splitlines()[0].rstrip(":").replace("`", "'")
    return text if len(text) <= 90 else f"{text[:87]}..."
