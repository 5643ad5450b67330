"""Engines by name beside the one of the machine: their start and end is theirs alone."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import Unavailable
from tests.engine.enclosed import EnclosedEngine, start_enclosed, stop_enclosed
from tests.engine.named import NEWEST, NamedEngine
from tests.engine.roots import engines_directory
from tests.support.counting import wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def engine() -> str:
    """The machine's own engine."""
    return os.environ["DOCKER_HOST"]


@pytest.fixture(scope="module")
def named() -> NamedEngine:
    """One like the newest, with data of its own; nobody else uses it."""
    return NamedEngine(f"trial-{secrets.token_hex(3)}", "sid", f"{NEWEST.removeprefix('docker-')}.")


@pytest.fixture(scope="module")
def enclosed(named: NamedEngine) -> Iterator[EnclosedEngine]:
    """That engine, running, without images."""
    try:
        yield start_enclosed(named, provision=False, with_images=False)
    except Unavailable as reason:
        pytest.skip(str(reason))
    finally:
        stop_enclosed(named)
        data = engines_directory() / named.name
        if data.exists():
            shutil.rmtree(data)


def ask(host: str, *arguments: str) -> str:
    """What an engine says."""
    asked = ["docker", "--host", host, *arguments]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def test_its_network_and_its_data_are_its_own(engine: str, enclosed: EnclosedEngine) -> None:
    """Another ID; its volumes can be read here, at the path it names; its network is not ours."""
    host = enclosed.variables["DOCKER_HOST"]
    assert ask(host, "info", "--format", "{{.ID}}") != ask(engine, "info", "--format", "{{.ID}}")
    ask(host, "volume", "create", "looked-at")
    assert Path(ask(host, "volume", "inspect", "--format", "{{.Mountpoint}}", "looked-at")).is_dir()
    assert os.readlink(f"/proc/{enclosed.pid}/ns/net") != os.readlink("/proc/self/ns/net")


def test_a_client_finds_the_docker_command_and_the_compose_of_its_suite(
    enclosed: EnclosedEngine,
) -> None:
    """Even from a bare environment; outside of it this machine's stay what they are."""
    version = ["docker", "compose", "version", "--short"]
    before = subprocess.run(version, capture_output=True, text=True, check=True).stdout
    bare = [*enclosed.entering, "env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin"]
    inside = subprocess.run([*bare, *version], capture_output=True, text=True, check=True).stdout
    assert inside.startswith("2.40.")
    assert subprocess.run(version, capture_output=True, text=True, check=True).stdout == before


def test_a_client_sees_the_network_of_the_engine(enclosed: EnclosedEngine) -> None:
    """In /sys as well, which shows the network it was mounted in."""
    look = "ls /sys/class/net; echo; sed -n 's/^ *\\([^:]*\\):.*/\\1/p' /proc/net/dev | sort"
    command = [*enclosed.entering, "sh", "-c", look]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    listed, known = shown.split("\n\n")
    assert sorted(listed.split()) == sorted(known.split())


def test_it_ends_alone_and_whole(engine: str, named: NamedEngine, enclosed: EnclosedEngine) -> None:
    """The other engine answers as before; nothing that this one started is left."""
    what = ("info", "--format", "{{.Name}} {{.ServerVersion}}")  # Podman's ID changes each time.
    running = ask(engine, *what)
    mounts = os.readlink(f"/proc/{enclosed.pid}/ns/mnt")
    assert stop_enclosed(named)
    assert not stop_enclosed(named)
    assert ask(engine, *what) == running
    # The kernel may take a moment to end the last process of a namespace.
    wait_until(
        lambda: not any(_link(path) == mounts for path in Path("/proc").glob("[0-9]*/ns/mnt")),
        "its processes to have ended",
    )


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
