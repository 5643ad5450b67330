"""One changing task per command line, seen before the first one begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TASKS = """
from invoke import Collection, task
from quiesce import menu
from quiesce.menu.command import command

@command(changes=False, stack=False)
def look(reporter):
    "Looks."
    reporter.text("looked")

@command(stack=False)
def change(reporter):
    "Changes."
    reporter.text("changed")

@command(stack=False, name="other-change", much="how much")
def also(reporter, much=""):
    "Changes too."
    reporter.text("changed too")

@task(pre=[change])
def own(c):
    "Somebody's own, which begins with one of ours."
    print("own")

@task
def both(c):
    "Two in a row, by hand."
    change(c)
    also(c)

namespace = Collection(look, change, also, own, both)
"""


def inv(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `inv` on these tasks."""
    (folder / "tasks.py").write_text(TASKS)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    argv = [sys.executable, "-m", "invoke", *arguments]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(
    "arguments",
    [
        ("change", "other-change"),
        ("look", "change", "other-change"),
        ("other-change", "--much", "1", "other-change", "--much", "2"),
        ("other-change", "own"),
    ],
)
def test_a_second_changing_task_is_refused_before_anything(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Exit 2, both are named, and nothing at all has run: not even what only looks."""
    ended = inv(tmp_path, *arguments)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert "change and " in ended.stderr
    assert "HINT: " in ended.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("change",), ["changed"]),
        (("look", "change", "look"), ["looked", "changed"]),
        (("own",), ["changed", "own"]),
        (("both",), ["changed", "changed too"]),
    ],
)
def test_one_changing_task_runs_with_what_stands_beside_it(
    tmp_path: Path, arguments: tuple[str, ...], printed: list[str]
) -> None:
    """A task of one's own may call several: it is its author who decides that."""
    ended = inv(tmp_path, *arguments)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split("\n")[:-1] == printed
