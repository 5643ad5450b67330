"""The machine the figures are of, and the programs that take part."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

#: Debian's packages of the programs that are compared with.
PACKAGES = {"restic": "restic", "borg": "borgbackup"}


def describe(folder: Path) -> Mapping[str, str]:
    """Return what the figures depend on; `folder` is where the data and the sets are."""
    return {
        "processor": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB",
        "kernel": platform.release(),
        "file system": output("stat", "--file-system", "--format=%T", str(folder)).strip(),
        "engine": output("docker", "version", "--format", "{{.Server.Version}}").strip(),
        "load at the start": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def missing(program: str) -> str:
    """Return "" when the program is there, after installing it where that is possible, or else
    the reason why it takes no part."""
    if shutil.which(program):
        return ""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"{program} is not installed, and only root on Debian can install it here"
    ended = subprocess.run(
        ["apt-get", "install", "--yes", "--no-install-recommends", PACKAGES[program]],
        capture_output=True,
        check=False,
    )
    if ended.returncode or not shutil.which(program):
        return f"{PACKAGES[program]} could not be installed"
    return ""


def output(*argv: str, **more: str) -> str:
    """Run a program that has to succeed, `more` added to its environment; return what it said."""
    ended = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, **more}
    )
    if ended.returncode:
        raise RuntimeError(f"{argv[0]} failed: {ended.stderr.strip()[-500:]}")
    return ended.stdout


def pipe(commands: Sequence[Sequence[str]], target: Path | None = None) -> None:
    """Run programs one into the other, each of which has to succeed; the last writes `target`."""
    running: list[subprocess.Popen[bytes]] = []
    with (target or Path(os.devnull)).open("wb") as last:
        for number, argv in enumerate(commands):
            source = running[-1].stdout if running else subprocess.DEVNULL
            into = subprocess.PIPE if number + 1 < len(commands) else last
            running.append(subprocess.Popen(argv, stdin=source, stdout=into))
            if source not in (None, subprocess.DEVNULL):
                source.close()
    for process, argv in zip(running, commands, strict=True):
        if process.wait():
            raise RuntimeError(f"{argv[0]} failed with exit code {process.returncode}")


def seconds(work: Callable[[], object]) -> float:
    """Return how long the work took."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def start_inv(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Begin a task of the stack in this folder, which gets a tasks.py."""
    (folder / "tasks.py").write_text("from quiesce.menu import namespace\n")
    return subprocess.Popen(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
