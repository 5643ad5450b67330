"""Services of `runtime: host` in tests: made in a line, and all ended at the end."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from quiesce.adapters.host import procfs
from quiesce.adapters.host.procfs import MARK_STATE
from quiesce.model import HostService, Stack
from tests.support.builders import a_stack


def a_host_service(name: str, folder: Path, **fields: object) -> HostService:
    """A service that sleeps, started in `folder`."""
    service = HostService(
        name=name,
        command=("sleep", "1000"),
        cwd=folder,
        environment={},
        port=None,
        postgres=None,
        postgres_user="postgres",
        postgres_password=None,
        volumes={},
        health=(),
        health_http=None,
        depends_on=(),
        stop_signal="SIGTERM",
        stop_timeout=5.0,
    )
    return replace(service, **fields)  # type: ignore[arg-type]


def a_host_stack(folder: Path, *services: HostService, **fields: object) -> Stack:
    """A stack of these services alone, its state in `folder`."""
    stack = a_stack(folder, databases=(), volumes=(), host_services=services)
    instance = replace(
        stack.instance, runtime="host", state=folder / ".quiesce" / "core", environment={}
    )
    return replace(stack, instance=instance, **fields)  # type: ignore[arg-type]


def end_everything(state: Path) -> None:
    """Nothing with the mark of this state lives, nor PostgreSQL's helpers, which hide theirs."""

    def marked() -> list[procfs.Live]:
        return [
            live
            for live in procfs.all_processes().values()
            if procfs.marks(live).get(MARK_STATE) == str(state.resolve())
        ]

    def are_gone() -> bool:
        # Again and again: one that dies may just have begun another.
        left = marked()
        for live in left:
            with suppress(ProcessLookupError):
                os.kill(live.pid, signal.SIGKILL)
            procfs.exit_code(live.pid, live.started)
        folders = [path for path in (state / "volumes").glob("*") if path.is_dir()]
        return not left and not any(procfs.in_folder(path, "postgres") for path in folders)

    assert procfs.wait_until(are_gone, 20.0)


def port_in_use(port: int) -> bool:
    """Whether somebody listens on this port of the machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
