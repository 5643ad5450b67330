"""The engine: find the one that answers, or start one and remember it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

from .machine import (
    ProcessMark,
    Unavailable,
    find_program,
    mark_process,
    run,
    say,
    state_directory,
    with_system_paths,
)

DEFAULT_HOST = "unix:///var/run/docker.sock"
#: For each container it starts, the daemon runs a dozen short Go programs, itself three times. They
#: need not collect garbage before they end.
_LESS_COLLECTING = {"GOGC": "800"}


def chosen_host() -> str:
    """Return the endpoint the docker client would use now: DOCKER_HOST, the context, the socket."""
    if host := os.environ.get("DOCKER_HOST"):
        return host
    if find_program("docker") is None:
        return DEFAULT_HOST
    inspect = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    return run(inspect).strip() or DEFAULT_HOST


def engine_answers(host: str | None = None) -> bool:
    """Tell whether an engine answers on `host`, or to the docker client as it is set up now."""
    return bool(engine_version(host))


def engine_version(host: str | None = None) -> str:
    """Return the version of the engine on `host`, or of the client's; nothing if none answers."""
    if find_program("docker") is None:
        return ""
    client = ["docker", "-H", host] if host else ["docker"]
    try:
        answer = subprocess.run(
            [*client, "version", "--format", "{{.Server.Version}}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def compose_version() -> str | None:
    """Return the version of Compose v2 as the client's plugin, or None without one."""
    if find_program("docker") is None:
        return None
    answer = subprocess.run(
        ["docker", "compose", "version", "--short"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    # Debian adds its own revision: 2.26.1-4.
    version = answer.stdout.strip().removeprefix("v").partition("-")[0]
    is_second_or_later = version[:1].isdigit() and not version.startswith(("0.", "1."))
    return version if answer.returncode == 0 and is_second_or_later else None


def start_daemon() -> None:
    """Start dockerd in a session of its own and wait until it answers on the default socket."""
    say("starting dockerd")
    state = state_directory()
    log = state / "dockerd.log"
    pid_file = state / "dockerd.pid"
    # The lock is ours and no engine answers, so a pid file left here speaks of a dead daemon; if
    # its number was given away meanwhile, dockerd would refuse to start.
    pid_file.unlink(missing_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["dockerd", "--host", DEFAULT_HOST, "--pidfile", str(pid_file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=with_system_paths({**os.environ, **_LESS_COLLECTING}),
            start_new_session=True,
            cwd="/",
        )
    mark = mark_process(process.pid)
    if mark is not None:
        _memory().write_text(json.dumps(asdict(mark)))
    deadline = time.monotonic() + 90
    while not engine_answers():
        if process.poll() is not None:
            raise Unavailable(f"dockerd ended at once: {last_complaint(log)}")
        if time.monotonic() > deadline:
            process.terminate()
            raise Unavailable(f"dockerd did not answer within 90 s, see {log}")
        time.sleep(0.2)


def last_complaint(log: Path) -> str:
    """Return the last line of a daemon's log, which says why it ended."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


def stop_daemon() -> bool:
    """Stop the daemon `start_daemon` started, if it still runs; tell whether it did.

    Its containers are stopped by it first. No other daemon is touched.
    """
    try:
        mark = ProcessMark(**json.loads(_memory().read_text()))
    except (OSError, ValueError, TypeError):
        return False
    was_running = end_process(mark, patience=90)
    _memory().unlink(missing_ok=True)
    return was_running


def end_process(mark: ProcessMark, *, patience: float) -> bool:
    """End a process by SIGTERM and wait; return False when it had gone before.

    Raise `Unavailable` when it still runs after `patience` seconds.
    """
    if mark_process(mark.pid) != mark:
        return False
    os.kill(mark.pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while mark_process(mark.pid) == mark:
        if time.monotonic() > deadline:
            raise Unavailable(f"process {mark.pid} did not end within {patience:g} s")
        time.sleep(0.05)
    return True


def _memory() -> Path:
    return state_directory() / "dockerd.json"
