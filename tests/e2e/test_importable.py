"""The whole collection in somebody else's project, from the built wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import wheel

STACK = """\
version: 1
default_instance: mine
instances:
  mine: {runtime: compose, project: mine}
volumes:
  uploads: {purpose: Uploads, priority: critical}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with quiesce as `pip install` of its wheel puts it there, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    built = wheel.build(folder)
    target = folder / "site"
    wheel.run_pip(Path(sys.executable), "install", "--no-deps", "--target", str(target), str(built))
    return target


def inv(project: Path, installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `inv` in a project that knows the installed wheel and not this repository."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "invoke", *arguments],
        cwd=project,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "HOME": str(project)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def a_project(folder: Path, tasks: str) -> Path:
    """Another project: its own stack.yaml and tasks.py."""
    folder.mkdir()
    (folder / "stack.yaml").write_text(STACK)
    (folder / "tasks.py").write_text(tasks)
    return folder


def test_two_lines_give_the_whole_collection(tmp_path: Path, installed: Path) -> None:
    """Every task is there, but not this repository's own `test`; stack.yaml lies beside it."""
    tasks = '"""Ours."""\nfrom quiesce.menu import namespace\n'
    project = a_project(tmp_path / "other", tasks)
    listed = inv(project, installed, "--list")
    assert listed.returncode == 0, listed.stderr
    names = {line.split()[0] for line in listed.stdout.splitlines() if line.startswith("  ")}
    assert {"backup", "restore", "clean-all", "shutdown", "db-shell", "exec", "doctor"} <= names
    assert "test" not in names
    named = inv(project, installed, "backup", "--instance", "theirs")
    assert named.returncode == 2
    assert "mine" in named.stderr, "its own stack.yaml was read"


def test_tasks_can_be_renamed_left_out_and_put_below_a_name(
    tmp_path: Path, installed: Path
) -> None:
    """With Invoke's own means; `compose` keeps tasks of one's own beside them."""
    tasks = """
from invoke import Collection, task
from quiesce import menu
from quiesce.menu import backup, restore

@task
def deploy(c):
    "Ours."
    print("deployed")

namespace = Collection(deploy)
namespace.add_task(backup, name="save")
namespace.add_collection(menu.namespace, name="data")
"""
    project = a_project(tmp_path / "renamed", tasks)
    listed = inv(project, installed, "--list").stdout
    assert "save" in listed
    assert "data.clean-all" in listed
    assert "\n  backup" not in listed
    assert inv(project, installed, "deploy").stdout == "deployed\n"
    assert inv(project, installed, "save", "--instance", "theirs").returncode == 2
    twice = inv(project, installed, "data.stop", "save")
    assert twice.returncode == 2
    assert "only one such task can run" in twice.stderr

    own = """
from invoke import task
from quiesce.menu import compose, namespace

@task
def status(c):
    "Ours, in place of theirs."
    print("mine")

namespace = compose(globals())
"""
    composed = a_project(tmp_path / "composed", own)
    assert inv(composed, installed, "status").stdout == "mine\n"
    assert "clean-cache" in inv(composed, installed, "--list").stdout


def test_another_stack_file_can_be_named(tmp_path: Path, installed: Path) -> None:
    """By option or by variable, from anywhere."""
    project = a_project(tmp_path / "one", "from quiesce.menu import namespace\n")
    other = tmp_path / "two.yaml"
    other.write_text(STACK.replace("mine", "second"))
    named = inv(project, installed, "status", "--stack", str(other), "--instance", "x")
    assert named.returncode == 2
    assert "second" in named.stderr
