"""The machine the tests run on: progress, commands with a deadline, folders, one at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class Unavailable(Exception):
    """No engine can be had here; the text is the reason, in one line."""


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """A process told apart from a later one with the same number by boot and start time."""

    pid: int
    started: int
    boot: str


def say(text: str) -> None:
    """Write one line of progress to stderr, with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def cache_directory() -> Path:
    """Return the folder for what is dear to make again; it is made when missing."""
    if os.geteuid() == 0:
        return _make(Path("/var/cache/quiesce-tests"))
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return _make(Path(base) / "quiesce-tests")


def state_directory() -> Path:
    """Return the folder for lock, log and memory of a daemon; it is made when missing."""
    if os.geteuid() == 0:
        return _make(Path("/run/quiesce-tests"))
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return _make(Path(base) / f"quiesce-tests-{os.getuid()}")


def _make(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.geteuid():
        raise Unavailable(f"{path} belongs to another user")
    return path


@contextmanager
def alone(name: str = "lock") -> Iterator[None]:
    """Hold the lock that lets one provisioning run at a time; say so when waiting for it."""
    with (state_directory() / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run provides the engine just now; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def with_system_paths(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the administrator's folders in PATH: daemons need them."""
    path = environment.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    missing = [folder for folder in ("/usr/sbin", "/sbin") if folder not in path.split(os.pathsep)]
    return {**environment, "PATH": os.pathsep.join([path, *missing])}


def find_program(name: str) -> str | None:
    """Return the path of a program, the administrator's folders included, or None."""
    return shutil.which(name, path=with_system_paths(os.environ)["PATH"])


def run(
    command: Sequence[str],
    *,
    timeout: float = 60,
    extra_environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return its stdout.

    Raise `Unavailable` when it is missing, fails or takes longer than `timeout` seconds; its last
    lines then go to stderr. Nothing it started survives an interruption.
    """
    environment = with_system_paths({**os.environ, **(extra_environment or {})})
    name = " ".join(command[:2])
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(f"{name}: {error.strerror}") from error
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        _end_group(process)
        raise Unavailable(f"{name} took longer than {timeout:g} s") from error
    except BaseException:
        _end_group(process)
        raise
    if process.returncode != 0:
        lines = (stdout + stderr).strip().splitlines()
        for line in lines[-15:]:
            print(f"    {line}", file=sys.stderr)
        last = lines[-1].strip()[:200] if lines else "no message"
        raise Unavailable(f"{name} failed with exit code {process.returncode}: {last}")
    return stdout


def _end_group(process: subprocess.Popen[str]) -> None:
    for kind, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, kind)
        except ProcessLookupError:
            return
        try:
            process.communicate(timeout=patience)
            return
        except subprocess.TimeoutExpired:
            continue


def mark_process(pid: int) -> ProcessMark | None:
    """Return the mark of a living process, or None when there is none of that number."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # The name in parentheses may hold anything, so count from its end: proc(5), state is field 3
    # and the start time field 22.
    fields = text.rpartition(")")[2].split()
    if fields[0] == "Z":
        return None
    return ProcessMark(pid=pid, started=int(fields[19]), boot=boot)
