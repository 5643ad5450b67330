"""Distinguishes the final server of a container from a temporary one, by the container's processes.

At a container's first start, the entry point of a database image, a shell script, runs a temporary
server, and programs and scripts that fill it. Then it stops that server and replaces itself by the
final one. A container that has been stopped before has done this.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from quiesce.adapters.compose.engine import EngineConnection, absent, translate_engine_errors
from quiesce.adapters.compose.inspected import NEVER, Inspected, service_of
from quiesce.adapters.compose.server_containers import INITS, SHELLS

ASK_EVERY = 0.25
#: If a shell has run only a server for so long, that server is the final one.
CALM = 3.0
_SERVERS = ("postgres", "postmaster")


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a container: its numbers on the engine's machine, and its command line."""

    pid: int
    parent: int
    command: str

    @property
    def program(self) -> str:
        words = self.command.split()
        return PurePosixPath(words[0].lstrip("-").rstrip(":")).name if words else ""

    @property
    def is_server(self) -> bool:
        """Whether this is a PostgreSQL server, or one of its processes ("postgres: writer")."""
        return self.program in _SERVERS


def still_running(processes: Sequence[Process], main: int) -> str | None:
    """Return the program that the entry point of a container still runs: "" if it may only wait for
    a server, None if the entry point has ended. `main` is the container's first process."""
    by_id = {process.pid: process for process in processes}
    first = by_id.get(main)
    if first is None or first.is_server:
        return None
    scripts = {
        p.pid
        for p in processes
        if p.program in SHELLS and (p is first or (p.parent == main and first.program in INITS))
    }
    if not scripts:
        return None
    runners = {pid for process in processes if process.is_server for pid in _above(process, by_id)}
    for process in processes:
        other = not process.is_server and process.pid not in runners | scripts
        if other and scripts & set(_above(process, by_id)):
            return process.command
    return ""


def await_entry_point(
    connection: EngineConnection, containers: Sequence[Inspected], service: str, seconds: float
) -> str | None:
    """Wait until every entry point of this service has ended. Return None if there was nothing to
    wait for, "" if they have ended, and after `seconds` the program that still runs.
    """
    waited: str | None = None
    deadline = time.monotonic() + seconds
    for container in containers:
        state = container["State"]
        if service_of(container) != service or state.get("FinishedAt", NEVER) != NEVER:
            continue
        calm = time.monotonic()
        while (
            said := still_running(_processes(connection, container), int(state["Pid"]))
        ) is not None:
            now = time.monotonic()
            if said:
                calm, waited = now, ""
            if now - calm >= CALM:
                break
            if now >= deadline:
                return said
            time.sleep(ASK_EVERY)
    return waited


def _above(process: Process, by_id: Mapping[int, Process]) -> list[int]:
    found: list[int] = []
    while (parent := by_id.get(process.parent)) is not None and parent.pid not in found:
        found.append(parent.pid)
        process = parent
    return found


def _processes(connection: EngineConnection, container: Inspected) -> list[Process]:
    """Return the processes of a container, none if it does not run or they cannot be listed."""
    with translate_engine_errors("the processes of a container cannot be listed"):
        try:
            table: Any = connection.api.top(container["Id"])
        except Exception as error:
            if absent(error) or getattr(error, "status_code", None) is not None:
                return []
            raise
    titles = [str(title).upper() for title in table.get("Titles") or ()]
    if not {"PID", "PPID"} <= set(titles):
        return []
    pid, parent = titles.index("PID"), titles.index("PPID")
    return [Process(int(row[pid]), int(row[parent]), str(row[-1])) for row in table["Processes"]]
