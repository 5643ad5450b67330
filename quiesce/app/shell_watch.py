"""Terminates sessions that a killed `db-shell` leaves on the server.

`db-shell` becomes psql or, for a container, the client of `docker exec`. Killing that client ends
neither psql nor its session, which keeps its locks. So a separate process reads from a pipe whose
other end only psql's process has: when the pipe closes, that process has ended in some way, and
sessions with this run's name are terminated.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from quiesce.model import Stack


def watch(stack: Stack, run: str, environ: Mapping[str, str]) -> None:
    """Start the watcher. The program that replaces this process keeps the pipe open.

    If it cannot be started, the shell opens anyway.
    """
    reading, writing = os.pipe()
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *filter(None, [environ.get("PYTHONPATH")])]
    argv = [
        sys.executable,
        "-m",
        "quiesce.app.shell_watch",
        str(stack.file),
        stack.instance.name,
        run,
    ]
    with contextlib.suppress(OSError):
        subprocess.Popen(
            argv,
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            # A separate session, so that neither Ctrl-C, a closed terminal nor a killed group
            # reaches it.
            start_new_session=True,
            env={**environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
    os.close(reading)
    os.set_inheritable(writing, True)


def main() -> int:
    """Wait for the end of the shell, then end its sessions."""
    while os.read(0, 1):
        pass
    file, instance, run = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    from quiesce.app.last_config import load_anyhow
    from quiesce.app.wiring import connect, disconnect
    from quiesce.errors import QuiesceError
    from quiesce.report import make_reporter

    with (
        make_reporter(
            task="db-shell",
            json=False,
            stdout=sys.stdout,
            stderr=sys.stderr,
            environ=os.environ,
            plain=True,
        ) as reporter,
        # A server that is down has no sessions.
        contextlib.suppress(QuiesceError),
    ):
        ports = connect(load_anyhow(file, instance, os.environ, reporter.warn), run, reporter)
        try:
            ports.databases.remove_orphans(run)
        finally:
            disconnect(ports, run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
