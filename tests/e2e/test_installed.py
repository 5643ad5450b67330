"""`quiesce` as README says to install it, from the built wheel, and in folders without tasks.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support import wheel
from tests.support.place import ONE_VOLUME

TASKS = {"init", "backup", "restore", "clean-all", "db-shell", "exec", "doctor"}


#: pip's settings in uv's variables, and what separates several values there.
_UV = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", " "),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    return wheel.build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def command(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`quiesce` in an environment with nothing but what `pip install` of the wheel puts there."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    wheel.run_pip(folder / "bin" / "python", "install", str(built))
    return folder / "bin" / "quiesce"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `uvx` and `pipx`."""
    folder = tmp_path_factory.mktemp("tools")
    venv.create(folder, with_pip=True)
    wheel.run_pip(folder / "bin" / "python", "install", "uv", "pipx")
    return folder / "bin"


def run(
    program: Path, *arguments: str, cwd: Path, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run a program that knows nothing of this repository."""
    return subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(cwd), **extra},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def names_in(listing: str) -> set[str]:
    """The tasks of a `--list --list-format=json`."""
    return {entry["name"] for entry in json.loads(listing)["tasks"]}


def test_pip_gives_the_command(command: Path, tmp_path: Path) -> None:
    """With the tasks and the flags that `inv` has, and exit codes of the contract."""
    listed = run(command, "--list", "--list-format=json", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert names_in(listed.stdout) >= TASKS
    (tmp_path / "tasks.py").write_text("from quiesce.menu import namespace\n")
    inv = command.with_name("inv")
    theirs = run(inv, "--list", "--list-format=json", cwd=tmp_path)
    assert names_in(theirs.stdout) == names_in(listed.stdout)
    for task in ("backup", "restore"):
        ours = run(command, "--help", task, cwd=tmp_path).stdout.replace("Usage: quiesce", "")
        same = run(inv, "--help", task, cwd=tmp_path).stdout.replace("Usage: inv[oke]", "")
        assert "--dry-run" in ours
        assert ours == same
    empty = run(command, "backup", cwd=tmp_path)
    assert empty.returncode == 2
    assert "HINT: write one with 'quiesce init'" in empty.stderr


def index_settings() -> dict[str, str]:
    """How pip reaches the package index here, in variables for pip and for uv, which reads none of
    pip's files."""
    network = ("PIP_", "UV_", "SSL_", "REQUESTS_CA", "HTTPS_PROXY", "https_proxy")
    found = {name: value for name, value in os.environ.items() if name.startswith(network)}
    call = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        name, value = key.rpartition(".")[2], value.strip("'")
        found.setdefault(f"PIP_{name.upper().replace('-', '_')}", value)
        if name in _UV:
            variable, separator = _UV[name]
            found.setdefault(variable, separator.join(value.split()))
    return {"UV_SYSTEM_CERTS": "1", **found}


@pytest.mark.long
def test_pipx_and_uvx_give_it_too(built: Path, tools: Path, tmp_path: Path) -> None:
    """Each in an environment of its own, which README names beside pip."""
    places = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    places |= index_settings()
    made = run(tools / "pipx", "install", str(built), cwd=tmp_path, **places)
    assert made.returncode == 0, made.stderr
    done = run(tmp_path / "bin" / "quiesce", "--version", cwd=tmp_path)
    assert done.stdout == "Quiesce 0.1.0\n", done.stderr
    call = ("--from", str(built), "quiesce", "--version")
    done = run(tools / "uvx", *call, cwd=tmp_path, **places)
    assert done.stdout == "Quiesce 0.1.0\n", done.stderr


def test_readme_says_how_before_all_else() -> None:
    """Before the demo, with the commands that are tried here."""
    first = (wheel.ROOT / "README.md").read_text().partition("\n## Quick start")[0].splitlines()
    assert len(first) < 60
    for words in ("pipx install .", "pip install .", "uvx --from . quiesce", "./inv --list"):
        assert any(words in line for line in first), words
    assert any("quiesce init" in line for line in first)


def test_a_folder_needs_no_tasks_file(command: Path, tmp_path: Path) -> None:
    """A backup and a restore where only stack.yaml is; below that folder too."""
    (tmp_path / "stack.yaml").write_text(ONE_VOLUME)
    below = tmp_path / "some" / "folder"
    below.mkdir(parents=True)
    done = run(command, "up", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    try:
        (media,) = tmp_path.glob(".quiesce/local/volumes/media")
        (media / "picture").write_text("before")
        made = run(command, "backup", "--json", cwd=below)
        assert made.returncode == 0, made.stderr
        (media / "picture").write_text("after")
        put_back = run(command, "restore", "--file", "latest", "--yes", cwd=tmp_path)
        assert put_back.returncode == 0, put_back.stderr
        (media,) = tmp_path.glob(".quiesce/local/volumes/media")
        assert (media / "picture").read_text() == "before"
        every = run(command, "status", "--all-instances", "--json", cwd=below)
        assert every.returncode == 0, every.stderr
        assert json.loads(every.stdout)["exit_codes"] == {"local": 0}
        as_module = run(command.with_name("python"), "-m", "quiesce", "backups", cwd=tmp_path)
        assert as_module.returncode == 0, as_module.stderr
    finally:
        assert run(command, "down", cwd=tmp_path).returncode == 0


def test_no_code_of_the_folder_runs(command: Path, tmp_path: Path) -> None:
    """A tasks.py may be another program's, and modules there may have the names of packages."""
    for name in ("tasks.py", "yaml.py", "invoke.py"):
        (tmp_path / name).write_text("open('ran', 'w').close()\n")
    (tmp_path / "stack.yaml").write_text(ONE_VOLUME)
    python = command.with_name("python")
    for program, *first in ((command,), (python, "-P", "-m", "quiesce")):
        done = run(program, *map(str, first), "backups", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()


def test_hints_name_the_command_that_was_called(command: Path, tmp_path: Path) -> None:
    """They can be followed literally: `inv` may not be there, or knows no such task here."""
    (tmp_path / "stack.yaml").write_text(ONE_VOLUME.replace("priority", "priorty"))
    wrong = run(command, "backup", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "then run 'quiesce check'" in wrong.stderr
    assert "inv " not in wrong.stderr


def test_a_schedule_calls_what_is_installed(command: Path, tmp_path: Path) -> None:
    """`quiesce` without a tasks.py of Quiesce, `inv` with one: it may replace tasks."""
    (tmp_path / "stack.yaml").write_text(ONE_VOLUME + "schedule: [daily 02:00 full]\n")
    (tmp_path / "tasks.py").write_text("from celery import Celery\n")
    assert f"{command} backup " in run(command, "schedule", cwd=tmp_path).stdout
    (tmp_path / "tasks.py").write_text("from quiesce.menu import namespace\n")
    assert f"{command.with_name('inv')} backup " in run(command, "schedule", cwd=tmp_path).stdout
