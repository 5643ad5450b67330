"""The first thing anybody runs: `./inv` makes its own environment, once, and survives accidents.

Each test works on a folder with the real wrapper, a two-line tasks.py and a requirements.txt that
names Invoke alone, which pip finds in a local folder.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.patience import TASK

ROOT = Path(__file__).resolve().parents[2]
INVOKE = re.search(r"^invoke==\S+$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)[0]
TASKS = """\
import pathlib, sys, time
from invoke import task

@task
def hello(c, name="you"):
    print("hello", name, "from", pathlib.Path.cwd())

@task
def wait(c):
    print(sys.prefix, flush=True)
    deadline = time.monotonic() + 60
    while not pathlib.Path("go").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    import pip
    print(pip.__file__)
"""
FIRST_START = "quiesce: first start: installing into .venv (about 20 s)"
OUT_OF_DATE = "quiesce: out of date: installing into .venv"
NOBODY = 65534


@dataclass(frozen=True)
class Project:
    """A folder with the wrapper in it, and the environment cron would give."""

    folder: Path
    environment: dict[str, str]

    def inv(
        self, *arguments: str, shell: str = "", cwd: Path | None = None, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the wrapper to its end, with changes to the environment."""
        program = [shell, "inv"] if shell else [str(self.folder / "inv")]
        return subprocess.run(
            [*program, *arguments],
            cwd=cwd or self.folder,
            env=self.environment | changes,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TASK,
            check=False,
        )

    def start(self, *arguments: str, **changes: str) -> subprocess.Popen[str]:
        """Start the wrapper in a process group of its own."""
        return subprocess.Popen(
            [str(self.folder / "inv"), *arguments],
            cwd=self.folder,
            env=self.environment | changes,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def require_more(self) -> None:
        """Change requirements.txt without needing another package."""
        with (self.folder / "requirements.txt").open("a") as file:
            file.write("# changed\n")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of Invoke."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    subprocess.run([*command, str(folder), INVOKE], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this Python as `python3`, to stand first in PATH."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "python3").symlink_to(os.path.realpath(sys.executable))
    return folder


@pytest.fixture
def project(tmp_path: Path, wheels: Path, programs: Path) -> Project:
    """A fresh project, with a space in its path and nothing in the environment but PATH."""
    return make_project(tmp_path / "my stack", wheels, programs)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheels: Path, programs: Path) -> Project:
    """A project after its first start, without any way to install something; not to be changed."""
    project = make_project(tmp_path_factory.mktemp("installed") / "my stack", wheels, programs)
    first = project.inv("hello")
    assert first.returncode == 0, first.stderr
    return Project(project.folder, offline(project.environment))


def make_project(folder: Path, wheels: Path, programs: Path) -> Project:
    """Create the folder of a project."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "inv", folder)
    shutil.copy(ROOT / ".gitignore", folder)
    (folder / "tasks.py").write_text(TASKS)
    (folder / "requirements.txt").write_text(f"{INVOKE}\n")
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
    }
    return Project(folder, environment)


def offline(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment in which pip finds nothing at all."""
    return environment | {"PIP_FIND_LINKS": "/nonexistent"}


def shells() -> list[str]:
    """Return the command lines of the shells that are here, besides /bin/sh."""
    found = [shell for shell in ("dash", "bash", "ksh", "yash") if shutil.which(shell)]
    return found or ["sh"]


@pytest.mark.core
def test_the_first_start_installs_and_runs_the_task(project: Project) -> None:
    """One plain line on stderr, the task's output on stdout, a working tree as clean as before."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *command], cwd=project.folder, check=True)
    result = project.inv("hello", "--name", "Ada")
    assert (result.returncode, result.stdout) == (0, f"hello Ada from {project.folder}\n")
    assert result.stderr == f"{FIRST_START}\n"
    status = ["git", "status", "--porcelain"]
    changed = subprocess.run(status, cwd=project.folder, check=True, capture_output=True)
    assert changed.stdout == b""


def test_the_second_start_installs_nothing(installed: Project) -> None:
    """Nothing is asked of pip, so that nothing is needed of the network."""
    result = installed.inv("hello")
    assert (result.returncode, result.stderr) == (0, "")


def test_tasks_see_the_folder_the_user_is_in(installed: Project, tmp_path: Path) -> None:
    """Relative paths on the command line are the user's, and tasks.py is found all the same."""
    result = installed.inv("hello", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, f"hello you from {tmp_path}\n")


def test_a_search_root_of_the_user_wins(installed: Project, tmp_path: Path) -> None:
    """Invoke takes one --search-root only, so the wrapper adds none beside the user's."""
    (tmp_path / "tasks.py").write_text(TASKS.replace("hello", "greetings"))
    result = installed.inv("--search-root", str(tmp_path), "greetings", cwd=Path("/"))
    assert (result.returncode, result.stdout) == (0, "greetings you from /\n")


def test_it_works_through_links(installed: Project, tmp_path: Path) -> None:
    """A relative link to an absolute one, as in ~/bin."""
    (tmp_path / "absolute").symlink_to(installed.folder / "inv")
    (tmp_path / "relative").symlink_to("absolute")
    environment = installed.environment | {"PATH": f"{tmp_path}:{installed.environment['PATH']}"}
    result = subprocess.run(
        ["sh", "-c", "cd / && relative hello"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "hello you from /\n", "")


@pytest.mark.parametrize("shell", shells())
def test_any_posix_shell_will_do(installed: Project, shell: str) -> None:
    """`sh inv` from its own folder, under each shell that is here."""
    result = installed.inv("hello", shell=shutil.which(shell) or shell)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_exit_code_is_the_task_runners(installed: Project) -> None:
    """An unknown task is Invoke's own error."""
    result = installed.inv("nonsense")
    assert result.returncode == 1
    assert "nonsense" in result.stderr


def test_changed_requirements_are_installed_beside_the_packages_in_use(project: Project) -> None:
    """A backup of an hour imports its drivers when it needs them, whatever happens meanwhile."""
    project.inv("hello")
    before = (project.folder / ".venv").resolve()
    with project.start("wait") as run:
        assert run.stdout.readline() == f"{before}\n"
        project.require_more()
        result = project.inv("hello")
        assert (result.returncode, result.stderr) == (0, f"{OUT_OF_DATE}\n")
        assert (project.folder / ".venv").resolve() != before
        (project.folder / "go").touch()
        assert run.stdout.read().startswith(str(before))
        assert run.wait(30) == 0
    assert project.inv("hello", **offline({})).stderr == ""


def test_without_network_the_packages_before_go_on_serving(project: Project) -> None:
    """A nightly backup happens although new requirements cannot be had; it says so."""
    project.inv("hello")
    project.require_more()
    result = project.inv("hello", **offline({}))
    assert (result.returncode, result.stdout) == (0, f"hello you from {project.folder}\n")
    assert "continuing with the packages that are installed" in result.stderr


def test_a_failed_first_start_shows_pips_output_and_a_hint(project: Project) -> None:
    """Nothing is left that a later start would take for an environment."""
    result = project.inv("hello", **offline({}))
    assert result.returncode == 2
    assert "No matching distribution found for invoke" in result.stderr
    fact, hint = result.stderr.splitlines()[-2:]
    assert fact.startswith("installation of requirements.txt failed")
    assert hint.startswith("HINT: check the network")
    assert not (project.folder / ".venv").exists()


def test_of_two_first_starts_one_installs(project: Project) -> None:
    """Both run their task."""
    runs = [project.start("hello") for _ in range(2)]
    results = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], results
    assert sum(FIRST_START in stderr for _, stderr in results) == 1


def kill_while_installing(project: Project) -> None:
    """Hold up the installation by a server that never answers, then send SIGKILL to all of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        index = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        online = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": index}
        with project.start("hello", **online) as run:
            server.settimeout(60)
            connection, _ = server.accept()
            os.killpg(run.pid, signal.SIGKILL)
            connection.close()


def test_a_first_start_killed_while_installing_is_made_good_by_the_next(project: Project) -> None:
    """Of the half-made environment nothing is used."""
    kill_while_installing(project)
    assert not (project.folder / ".venv").exists()
    result = project.inv("hello")
    assert (result.returncode, result.stderr) == (0, f"{FIRST_START}\n")
    assert len(list((project.folder / ".venv.d").glob("*/pyvenv.cfg"))) == 1


def test_an_update_killed_while_installing_is_made_good_by_the_next(project: Project) -> None:
    """Until then, the environment before is the one in use."""
    project.inv("hello")
    before = (project.folder / ".venv").resolve()
    project.require_more()
    kill_while_installing(project)
    assert (project.folder / ".venv").resolve() == before
    result = project.inv("hello")
    assert (result.returncode, result.stderr) == (0, f"{OUT_OF_DATE}\n")


def test_what_was_taken_away_is_made_again(project: Project) -> None:
    """The Python by an upgrade of the system, and .venv by whoever wants to start over."""
    project.inv("hello")
    python = project.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3.11")
    result = project.inv("hello")
    assert (result.returncode, result.stderr) == (0, f"{FIRST_START}\n")
    (project.folder / ".venv").unlink()
    result = project.inv("hello")
    assert (result.returncode, result.stderr) == (0, f"{FIRST_START}\n")


def test_a_moved_folder_gets_a_new_environment(project: Project, tmp_path: Path) -> None:
    """The scripts in an environment hold its path."""
    project.inv("hello")
    moved = Project(project.folder.rename(tmp_path / "moved"), project.environment)
    assert moved.inv("hello").stderr == f"{OUT_OF_DATE}\n"
    script = (moved.folder / ".venv" / "bin" / "inv").read_text()
    assert str(moved.folder) in script
    assert "my stack" not in script


def test_a_virtual_environment_made_by_hand_is_kept_aside(project: Project) -> None:
    """Nothing of the user's is removed."""
    hand_made = project.folder / ".venv"
    hand_made.mkdir()
    (hand_made / "pyvenv.cfg").write_text("mine")
    result = project.inv("hello")
    assert result.returncode == 0
    (aside,) = (project.folder / ".venv.d").glob("replaced-*")
    assert (aside / "pyvenv.cfg").read_text() == "mine"
    assert str(aside) in result.stderr


def test_the_python_can_be_named(project: Project) -> None:
    """QUIESCE_PYTHON is taken, and a later start without it changes nothing."""
    python = os.path.realpath(sys.executable)
    project.environment["PATH"] = "/usr/bin:/bin"
    assert project.inv("hello", QUIESCE_PYTHON=python).stderr == f"{FIRST_START}\n"
    made_with = (project.folder / ".venv" / "bin" / "python").resolve()
    assert str(made_with) == python
    assert project.inv("hello", QUIESCE_PYTHON=python).stderr == ""
    assert project.inv("hello").stderr == ""


def test_a_named_python_that_is_none_is_refused(project: Project) -> None:
    """Another one is not taken behind the user's back."""
    result = project.inv("hello", QUIESCE_PYTHON="/nonexistent/python")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == (
        "QUIESCE_PYTHON is not Python 3.11 or newer: /nonexistent/python"
    )


def test_without_python_there_is_a_hint(project: Project, tmp_path: Path) -> None:
    """PATH holds what every machine has, but no Python."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cat", "cksum", "ln", "mkdir", "mv", "readlink", "rm", "tail"):
        (tools / name).symlink_to(shutil.which(name))
    result = project.inv("hello", PATH=str(tools))
    assert result.returncode == 2
    fact, hint = result.stderr.splitlines()
    assert fact == "there is no Python 3.11 or newer in PATH"
    assert hint.startswith("HINT: install one (Debian, Ubuntu: apt install python3 python3-venv)")


@pytest.fixture(params=["no ensurepip", "venv fails"])
def incomplete_python(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder with a `python3` as of Debian without python3-venv, in two ways of showing it."""
    folder = tmp_path / "incomplete"
    folder.mkdir()
    python = folder / "python3"
    python.write_text(
        f"#!{os.path.realpath(sys.executable)}\n"
        "import sys\n"
        "arguments = sys.argv[1:]\n"
        "if '-m' in arguments:\n"
        "    sys.exit('ensurepip is not available')\n"
        f"if {request.param == 'no ensurepip'}:\n"
        "    sys.modules['ensurepip'] = None\n"
        "sys.executable = __file__\n"
        "code = arguments.index('-c') + 1\n"
        "sys.argv = arguments[code:]\n"
        "exec(arguments[code])\n"
    )
    python.chmod(0o755)
    return folder


def test_without_the_venv_module_there_is_a_hint(project: Project, incomplete_python: Path) -> None:
    """The commonest machine: Debian with python3 and without python3-venv."""
    result = project.inv("hello", QUIESCE_PYTHON=str(incomplete_python / "python3"))
    assert result.returncode == 2
    assert "apt install python3-venv" in result.stderr.splitlines()[-1]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user may look into; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="quiesce-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_in_somebody_elses_folder_the_users_cache_is_used(open_folder: Path, wheels: Path) -> None:
    """A clone that the user may read but not write."""
    python = "/usr/bin/python3"
    probe = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run([python, "-c", probe], check=False, capture_output=True).returncode:
        pytest.skip("needs a Python 3.11 or newer that every user of this machine can run")
    shared_wheels = shutil.copytree(wheels, open_folder / "wheels")
    shared_wheels.chmod(0o755)
    project = make_project(open_folder / "my stack", shared_wheels, open_folder)
    cache = open_folder / "cache"
    cache.mkdir()
    project.folder.chmod(0o555)
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        os.chown(cache, NOBODY, NOBODY)
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    for is_first in (True, False):
        result = subprocess.run(
            [project.folder / "inv", "hello"],
            cwd="/",
            env=project.environment | {"XDG_CACHE_HOME": str(cache)},
            capture_output=True,
            text=True,
            check=False,
            **user,
        )
        assert (result.returncode, result.stdout) == (0, "hello you from /\n"), result.stderr
        assert (f"installing into {cache}/quiesce/venv-" in result.stderr) == is_first
    assert not (project.folder / ".venv").exists()
    project.folder.chmod(0o755)
