"""The world of the Runtime contract as processes of this machine, and what it cannot have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.adapters.host import procfs
from quiesce.adapters.host.procfs import MARK_RUN, MARK_STATE
from quiesce.adapters.host.runtime import HostRuntime
from quiesce.observed import Unit
from quiesce.ports import Runtime
from tests.contract.runtime_worlds import LITERAL, SECRET, SERVER
from tests.support.host import a_host_service, a_host_stack, end_everything, port_in_use

PORT = 7000
#: Tests of the contract that ask for what a process is not, and where its like is tested.
LACKS = {
    "test_a_service_says_what_it_needs_mounts_and_runs_as": "no folders and no one-shots",
    "test_up_makes_only_what_was_named": "no replicas and no one-shots",
    "test_start_brings_back_the_same_units_and_only_those": "no replicas; another id each time",
    "test_a_paused_unit_is_paused_again": "another id each time",
    "test_what_did_not_run_needs_nothing": "no one-shots",
    "test_a_tool_cannot_write_where_it_may_only_read": "no walls around a tool",
}


class HostWorld:
    """The stack as processes; whatever carries its mark is ended at the end."""

    def __init__(self, folder: Path) -> None:
        if port_in_use(PORT):
            pytest.skip(f"something listens on port {PORT} of this machine")
        self._helpers: list[subprocess.Popen[bytes]] = []
        (folder / "server.py").write_text(SERVER)
        knock = f"import socket; socket.create_connection(('127.0.0.1', {PORT}))"
        stack = a_host_stack(
            folder,
            a_host_service(
                "web",
                folder,
                volumes={"data": "DATA"},
                depends_on=("db", "job"),
                environment={"TOKEN": SECRET, "OWN": LITERAL},
            ),
            a_host_service(
                "db",
                folder,
                command=("python3", "-u", str(folder / "server.py")),
                port=PORT,
                health=("python3", "-c", knock),
            ),
            a_host_service("job", folder),
            a_host_service("pair", folder),
            a_host_service("spare", folder, volumes={"other": "OTHER"}),
        )
        instance = replace(stack.instance, environment={"SECRET_TOKEN": SECRET})
        self.stack = replace(stack, instance=instance)

    def runtime(self) -> Runtime:
        return HostRuntime(self.stack)

    def runtimes_by_way(self) -> Mapping[str, Runtime]:
        return {"itself": self.runtime()}

    def lose(self, unit: Unit) -> None:
        (self.stack.instance.state / "services" / f"{unit.service}.json").unlink()

    def pause(self, unit: Unit) -> None:
        os.killpg(_number(unit), signal.SIGSTOP)

    def crash(self, unit: Unit) -> None:
        os.killpg(_number(unit), signal.SIGKILL)
        assert procfs.wait_until(lambda: procfs.look(_number(unit)) is None, 10.0)

    def forsake_helper(self, runtime: Runtime, run: str) -> None:
        marks = {MARK_STATE: str(self.stack.instance.state), MARK_RUN: run}
        command = [sys.executable, "-c", "import signal; signal.pause()"]
        self._helpers.append(subprocess.Popen(command, env=marks, start_new_session=True))

    def close(self) -> None:
        end_everything(self.stack.instance.state)
        for helper in self._helpers:
            helper.kill()
            helper.wait()


def _number(unit: Unit) -> int:
    return int(unit.id.partition(":")[0])
