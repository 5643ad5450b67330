"""Who may import whom, read from the source: the arrow of the design, one home per driver.

tasks.py → menu → commands → app → { observe, execute, report } → plan (pure) → model → errors
                                    adapters are constructed only in app and commands
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.trees import ROOT, is_for_type_checking, parse, texts

NOUNS = (
    *("__init__", "errors", "obstacles", "model", "observed", "codec", "findings", "exclusion"),
    *("private_facts", "suggest", "amounts"),
)
FILES = ("file_errors", "private_files")
# One reader of env files, for stack.yaml and for the credentials of stores: adapters may not import
# config, so it stands below both.
ENV_FILES = ("env_file", "template")
# Reads folders, and asks ports what volumes contain.
UNDECLARED = ("undeclared",)
# What a verb puts together.
COORDINATED = ("config", "execute", "observe", "plan", "ports", "report")
# What a part of quiesce may import from the others. A part is a module or a folder; a deeper name
# stands for just that module. A new part needs a row here: say where it stands.
LAYERS: dict[str, tuple[str, ...]] = {
    "__init__": (),
    "amounts": (),
    "errors": (),
    "codec": ("errors",),
    "template": (),
    "env_file": ("template",),
    "file_errors": ("errors",),
    "findings": (),
    "exclusion": (),
    "private_facts": ("errors", "model"),
    "obstacles": (),
    "suggest": (),
    "private_files": ("errors", "file_errors"),
    "model": ("errors", "codec", "exclusion", "obstacles"),
    "observed": ("errors", "model"),
    "plan": NOUNS,
    "ports": (*NOUNS, "plan"),
    "config": (*NOUNS, *ENV_FILES, "file_errors", "plan.order", "plan.schedule"),
    "observe": (*NOUNS, "plan", "ports"),
    "undeclared": ("errors", "model", "observed", "ports", "plan.known_images"),
    "execute": (*NOUNS, *FILES, *UNDECLARED, "plan", "ports"),
    "report": (*NOUNS, "plan", "ports"),
    "adapters": (*NOUNS, *FILES, "env_file", "ports", "plan.naming"),
    "app": (*NOUNS, *FILES, *UNDECLARED, "adapters", *COORDINATED),
    "commands": (*NOUNS, *FILES, *UNDECLARED, "adapters", "app", *COORDINATED),
    "demo": (*NOUNS, "app", "commands", "config", "execute", "plan", "ports", "report"),
    "__main__": ("menu",),
    "guard": ("app", "commands", "config", "errors", "report"),
    "menu": ("__init__", "app", "commands", "demo", "errors", "file_errors", "report", "suggest"),
}
# Where a third-party package may be imported. A new one needs a row here and in pyproject.toml.
HOMES: dict[str, tuple[str, ...]] = {
    "apprise": ("quiesce/adapters/notify/apprise.py",),
    "prometheus_client": ("quiesce/adapters/notify/prometheus.py",),
    "alembic": ("quiesce/adapters/migrations.py",),
    "backports": ("quiesce/adapters/*",),
    "compression": ("quiesce/adapters/*",),
    "docker": ("quiesce/adapters/compose/*", "quiesce/adapters/volumes/*"),
    "jinja2": ("quiesce/report/page/*",),
    "invoke": ("quiesce/menu/*", "tasks.py"),
    "obstore": ("quiesce/adapters/sets/object_store.py",),
    "pyrage": ("quiesce/adapters/sets/crypt.py",),
    "psycopg2": ("quiesce/adapters/postgres/*",),
    "pymysql": ("quiesce/adapters/mariadb/*",),
    "pydantic_core": ("quiesce/config/*",),
    "pydantic": ("quiesce/config/*", "quiesce/config.py"),
    "requests": ("quiesce/adapters/*",),
    "rich": ("quiesce/report*",),
    "sqlalchemy": ("quiesce/adapters/migrations.py",),
    "yaml": ("quiesce/adapters/*", "quiesce/config/*", "quiesce/config.py"),
    # Beside quiesce, for the tasks of this repository alone
    "benchmarks": ("tasks.py",),
    "tests": ("tasks.py",),
}
PRINTING = ("quiesce/report*",)
# What touches clock, disk, network, processes or chance, and so has no place in a plan.
IMPURE = frozenset(
    "asyncio fcntl glob http io logging multiprocessing os random secrets select shutil signal "
    "socket sqlite3 ssl subprocess sys tempfile threading time urllib uuid".split()
)
IMPURE_CALLS = frozenset(
    "cwd exists glob home is_dir is_file iterdir mkdir now open read_bytes read_text rename "
    "resolve rglob stat today touch unlink utcnow write_bytes write_text".split()
)
MOST_LINES = 400
# Lists of nouns, one after the other: nobody reads them from top to bottom.
VOCABULARIES = {"quiesce/plan/steps.py": 1200}


@dataclass(frozen=True)
class Source:
    """One module, as its path in the repository and its syntax tree."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return parse(self.text, self.path)

    @property
    def part(self) -> str:
        """The row of `LAYERS`: `quiesce/plan/order.py` belongs to `plan`."""
        return Path(self.path).parts[1].removesuffix(".py")


def sources() -> list[Source]:
    """Return every module of quiesce and, if it is there, tasks.py."""
    found = [Source(path, text) for path, text in texts().items()]
    return found + [Source(path.name, path.read_text()) for path in ROOT.glob("tasks.py")]


def imports(source: Source, *, at_start_only: bool = False) -> Iterator[str]:
    """Yield the dotted name of all that is imported, or of what loading the module imports."""
    for node in _statements(source.tree, at_start_only=at_start_only):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = Path(source.path).parts[: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            # `from quiesce import plan` imports the module quiesce.plan.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _statements(node: ast.AST, *, at_start_only: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        # No import stands inside of an expression, and most of a tree is expressions.
        if isinstance(child, ast.expr) or (at_start_only and _waits(child)):
            continue
        yield child
        yield from _statements(child, at_start_only=at_start_only)


def _waits(node: ast.AST) -> bool:
    """Tell whether what is inside does not run when the module is loaded."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return is_for_type_checking(node) or isinstance(node, functions)


def breaches_of_layers(source: Source) -> list[str]:
    """Return the imports from other parts of quiesce that the table does not allow."""
    if source.path == "tasks.py":
        allowed: tuple[str, ...] = ("menu", "errors", "__init__")
        part = "tasks"
    else:
        part = source.part
        if part not in LAYERS:
            return [f"{source.path}: the part {part!r} has no row in LAYERS"]
        allowed = (*LAYERS[part], part)
    breaches = []
    for name in imports(source):
        package, _, rest = name.partition(".")
        if package != "quiesce":
            continue
        # Other names, such as `__version__`, are values that quiesce/__init__.py itself holds.
        inside = rest if rest.partition(".")[0] in LAYERS else "__init__"
        if not any(inside == row or inside.startswith(f"{row}.") for row in allowed):
            breaches.append(f"{source.path}: {part} may not import quiesce.{rest}")
    return breaches


def breaches_of_homes(source: Source) -> list[str]:
    """Return the third-party imports outside the home of the package."""
    breaches = []
    for name in imports(source):
        package = name.split(".")[0]
        if package not in HOMES and (package == "quiesce" or package in sys.stdlib_module_names):
            continue
        if not any(fnmatch(source.path, home) for home in HOMES.get(package, ())):
            breaches.append(f"{source.path}: {package} has its home elsewhere, or none yet")
    return breaches


def breaches_of_purity(source: Source) -> list[str]:
    """Return what lets a planner touch the world."""
    breaches = [
        f"{source.path}: imports {name}" for name in imports(source) if name.split(".")[0] in IMPURE
    ]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.split(".")[-1] in IMPURE_CALLS:
                breaches.append(f"{source.path}:{node.lineno}: calls {called}")
    return breaches


def breaches_of_printing(source: Source) -> list[str]:
    """Return the calls of print outside the report."""
    if any(fnmatch(source.path, pattern) for pattern in PRINTING):
        return []
    return [
        f"{source.path}:{node.lineno}: prints"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print"
    ]


def breaches_of_length(source: Source) -> list[str]:
    """Return a module that is too long to be read in one go."""
    lines = len(source.text.splitlines())
    most = VOCABULARIES.get(source.path, MOST_LINES)
    return [f"{source.path}: {lines} lines, at most {most}"] if lines > most else []


def test_every_part_imports_only_what_its_layer_may() -> None:
    """The arrow points one way, and adapters join only in app."""
    assert [breach for source in sources() for breach in breaches_of_layers(source)] == []


def test_every_third_party_package_has_one_home() -> None:
    """A driver that changes is changed in one place."""
    assert [breach for source in sources() for breach in breaches_of_homes(source)] == []


def test_a_plan_touches_neither_clock_nor_disk_nor_network() -> None:
    """So a test of a plan cannot either."""
    plans = [source for source in sources() if source.path.startswith("quiesce/plan/")]
    assert [breach for source in plans for breach in breaches_of_purity(source)] == []


def test_only_the_report_prints() -> None:
    """With --json, stdout holds one document and nothing else."""
    assert [breach for source in sources() for breach in breaches_of_printing(source)] == []


def test_every_module_can_be_read_in_one_go() -> None:
    """A longer one has two responsibilities."""
    assert [breach for source in sources() for breach in breaches_of_length(source)] == []


def test_the_menu_loads_without_the_heavy_packages() -> None:
    """`inv --list` is instant, and works where Docker and the drivers do not."""
    if not (ROOT / "quiesce" / "menu").is_dir():
        pytest.skip("there is no menu yet")
    code = (
        "import sys, quiesce.menu\n"
        f"heavy = set({sorted(set(HOMES) - {'invoke', 'yaml'})}) & set(sys.modules)\n"
        "heavy |= {name for name in ('quiesce.model', 'quiesce.config') if name in sys.modules}\n"
        "print(sorted(heavy))"
    )
    # Not in this process, where another test may have loaded everything already.
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (breaches_of_layers, "quiesce/plan/x.py", "from quiesce.adapters import process"),
        (breaches_of_layers, "quiesce/plan/x.py", "from ..adapters.process import run"),
        (breaches_of_layers, "quiesce/plan/x.py", "def f():\n    import quiesce.execute.lock"),
        (breaches_of_layers, "quiesce/execute/x.py", "from quiesce import adapters"),
        (breaches_of_layers, "quiesce/adapters/x.py", "import quiesce.plan.backup"),
        (breaches_of_layers, "quiesce/menu/x.py", "from quiesce.model import Stack"),
        (breaches_of_layers, "quiesce/unheard_of.py", ""),
        (breaches_of_layers, "tasks.py", "import quiesce.adapters.process.program"),
        (breaches_of_homes, "quiesce/app/x.py", "def f():\n    import docker"),
        (breaches_of_homes, "quiesce/adapters/compose/runtime.py", "from psycopg2 import sql"),
        (breaches_of_homes, "quiesce/adapters/compose/runtime.py", "import nobody_knows"),
        (breaches_of_purity, "quiesce/plan/x.py", "import subprocess"),
        (breaches_of_purity, "quiesce/plan/x.py", "datetime.now()"),
        (breaches_of_purity, "quiesce/plan/x.py", "open('x')"),
        (breaches_of_printing, "quiesce/app/x.py", "print('x')"),
        (breaches_of_length, "quiesce/app/x.py", "x = 1\n" * 401),
    ],
)
def test_each_rule_sees_what_breaks_it(rule: object, path: str, text: str) -> None:
    """A rule that never says no is no rule."""
    assert len(rule(Source(path, text))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("quiesce/adapters/postgres/session.py", "import psycopg2.extras"),
        ("quiesce/plan/x.py", "from .steps import Plan\nfrom quiesce import model, __version__"),
        ("quiesce/adapters/x.py", "from quiesce.plan.naming import side_database"),
        ("quiesce/report/tables.py", "from rich.table import Table\nprint('x')"),
        ("tasks.py", "from invoke import task\nfrom quiesce.menu import namespace"),
    ],
)
def test_no_rule_forbids_what_the_design_wants(path: str, text: str) -> None:
    """The other side of the rules."""
    source = Source(path, text)
    rules = (breaches_of_layers, breaches_of_homes, breaches_of_printing, breaches_of_length)
    assert [breach for rule in rules for breach in rule(source)] == []
