"""Helper containers: they end with us, leave nothing behind, and say what went wrong."""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quiesce.adapters.compose import engine
from quiesce.adapters.compose.runtime import ComposeRuntime
from quiesce.errors import QuiesceError
from quiesce.ports import DIRECTORY
from tests.contract.runtime_worlds import compose_stack, docker, remove_project

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
PROJECT = f"qcompose-tool-{os.getpid()}"
COMPOSE = """
services:
  db:
    image: ${POSTGRES_IMAGE:-quiesce-test/postgres:17}
    stop_grace_period: 10s
    environment: {POSTGRES_PASSWORD: postgres}
    healthcheck: {test: [CMD, pg_isready, -U, postgres, -h, 127.0.0.1], interval: 1s, retries: 240}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """A project with one PostgreSQL, up."""
    found = tmp_path_factory.mktemp("tool")
    (found / "docker-compose.yml").write_text(COMPOSE)
    image = os.environ.get("POSTGRES_IMAGE", "quiesce-test/postgres:17")
    (found / "core.env").write_text(f"POSTGRES_IMAGE={image}\n")
    try:
        docker("compose", "--project-name", PROJECT, "up", "--detach", "--wait", cwd=found)
        yield found
    finally:
        remove_project(PROJECT, found)


@pytest.fixture
def runtime(folder: Path) -> Iterator[ComposeRuntime]:
    """A runtime onto that project."""
    made = runtime_of(folder)
    yield made
    made.close()


def runtime_of(folder: Path) -> ComposeRuntime:
    """Return a runtime onto the project in this folder."""
    return ComposeRuntime(compose_stack(folder, PROJECT, folder / "core.env", {}))


def label(name: str) -> str:
    """Return a run of these tests alone: others may use the engine at the same time."""
    return f"{PROJECT}-{name}"


def helpers(run: str) -> list[str]:
    """Return the names of this run's helpers, whatever state they are in."""
    listing = ["ps", "--all", "--format", "{{.Names}} {{.State}}", "--filter"]
    return docker(*listing, f"label=quiesce.run={run}").splitlines()


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come about"
        time.sleep(0.05)


def test_a_dump_of_the_services_own_image_lands_in_the_folder(
    runtime: ComposeRuntime, tmp_path: Path
):
    """The server is at 127.0.0.1, the program of the server's own version, the file ours."""
    runtime.run_tool(
        "db",
        ["pg_dump", "-h", "127.0.0.1", "-U", "postgres", "-Fc", "-f", f"{DIRECTORY}/d", "postgres"],
        environment={"PGPASSWORD": "postgres"},
        directory=tmp_path,
        writable=True,
        label=label("dump"),
    )
    assert (tmp_path / "d").read_bytes().startswith(b"PGDMP")
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o600
    assert helpers(label("dump")) == []


def test_a_helper_leaves_no_volume_that_its_image_declares(runtime: ComposeRuntime, tmp_path: Path):
    """PostgreSQL's image declares a volume: every helper would leave an anonymous one."""
    before = set(docker("volume", "ls", "--quiet").split())
    seen: set[str] = set()

    def look() -> None:
        wait_until(lambda: helpers(label("volume")))
        inspected = docker(
            "inspect", helpers(label("volume"))[0].split()[0], "--format", "{{json .Mounts}}"
        )
        seen.update(
            name
            for name in set(docker("volume", "ls", "--quiet").split()) - before
            if name in inspected
        )

    watcher = threading.Thread(target=look)
    watcher.start()
    run_sleeper(runtime, tmp_path, label("volume"), seconds="2")
    watcher.join()
    assert seen, "the helper had no volume of its own, so nothing was shown"
    assert not seen & set(docker("volume", "ls", "--quiet").split())


def run_sleeper(runtime: ComposeRuntime, folder: Path, run: str, seconds: str = "300") -> None:
    """Run a tool that only takes time."""
    script = 'echo begun > "$0/begun"; exec sleep "$1"'
    runtime.run_tool(
        "db",
        ["sh", "-c", script, DIRECTORY, seconds],
        environment={},
        directory=folder,
        writable=True,
        label=run,
    )


def test_a_silent_tool_may_take_longer_than_any_timeout_of_the_connection(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An hour of dumping says nothing for an hour."""
    monkeypatch.setattr(engine, "PATIENCE", 10)
    runtime = runtime_of(folder)
    run_sleeper(runtime, tmp_path, label("silent"), seconds="14")
    runtime.close()
    assert (tmp_path / "begun").exists()


def test_the_program_ends_when_this_process_is_killed(folder: Path, tmp_path: Path):
    """`kill -9` of the run ends what it had begun on the engine; sweeping finds the rest."""
    program = f"""
from pathlib import Path
from tests.integration.test_compose_tool import run_sleeper, runtime_of
import tests.integration.test_compose_tool as own
own.PROJECT = {PROJECT!r}
run_sleeper(runtime_of(Path({str(folder)!r})), Path({str(tmp_path)!r}), {label("killed")!r})
"""
    child = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        wait_until((tmp_path / "begun").exists)
        # The program may be ahead of what the engine's list says of its container.
        wait_until(lambda: [line.split()[1] for line in helpers(label("killed"))] == ["running"])
        (running,) = helpers(label("killed"))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    wait_until(lambda: [line.split()[1] for line in helpers(label("killed"))] == ["exited"])
    runtime = runtime_of(folder)
    assert runtime.remove_orphans(label("killed")) == (running.split()[0],)
    runtime.close()
    assert helpers(label("killed")) == []


# The request that the exception cuts short cannot be closed by anybody but the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_tool_leaves_no_helper(runtime: ComposeRuntime, tmp_path: Path):
    """The exception of a signal handler passes, and the helper is removed before."""

    class Stopped(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Stopped

    def interrupt() -> None:
        wait_until((tmp_path / "begun").exists)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(Stopped):
            run_sleeper(runtime, tmp_path, label("interrupted"))
        gc.collect()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert helpers(label("interrupted")) == []


def test_a_helper_removed_by_somebody_else_is_a_failure(runtime: ComposeRuntime, tmp_path: Path):
    """Whatever ended it, what it wrote is not whole."""

    def remove() -> None:
        wait_until((tmp_path / "begun").exists)
        docker("rm", "--force", helpers(label("removed"))[0].split()[0])

    thread = threading.Thread(target=remove)
    thread.start()
    with pytest.raises(QuiesceError, match="sh beside service db"):
        run_sleeper(runtime, tmp_path, label("removed"))
    thread.join()


def test_a_missing_program_is_named(runtime: ComposeRuntime, tmp_path: Path):
    """The image has no such tool."""
    with pytest.raises(QuiesceError, match="pg_dumb beside service db failed with exit") as caught:
        runtime.run_tool(
            "db",
            ["pg_dumb"],
            environment={},
            directory=tmp_path,
            writable=False,
            label=label("none"),
        )
    assert any("pg_dumb" in line and "not found" in line for line in caught.value.details)
    assert helpers(label("none")) == []


def test_arguments_reach_the_program_unchanged(runtime: ComposeRuntime, tmp_path: Path):
    """No shell looks at them on the way."""
    script = f"import sys; open('{DIRECTORY}/a', 'w').write(repr(sys.argv[1:]))"
    hostile = ["$(touch /tmp/x)", "a b", "'", '"', "*", ";", "", "-n", "\\"]
    runtime.run_tool(
        "db",
        ["python3", "-c", script, *hostile],
        environment={},
        directory=tmp_path,
        writable=True,
        label=label("arguments"),
    )
    assert (tmp_path / "a").read_text() == repr(hostile)
