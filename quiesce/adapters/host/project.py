"""The resources of an instance of the host runtime, and commands in its services."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from quiesce.adapters.host.services import HostUnits
from quiesce.adapters.process.exec import run_in_service
from quiesce.adapters.process.signals import signal_number
from quiesce.errors import QuiesceError, RequestError
from quiesce.file_errors import hint_for, reason
from quiesce.model import HostService, Stack
from quiesce.observed import ProjectResources, ShadowedFolder
from quiesce.ports import CommandLine, Runtime
from quiesce.suggest import suggest


class HostProject:
    """Implements `Project` for one instance whose services are local processes."""

    def __init__(self, stack: Stack, runtime: Runtime) -> None:
        self._stack = stack
        self._runtime = runtime

    def resources(self) -> ProjectResources:
        """Return the folders of its volumes under the names `volumes` gives them."""
        states = self._runtime.volumes(self._stack.volumes)
        return ProjectResources(
            volumes=tuple(state.name for state in states if state.exists and not state.is_folder)
        )

    def build(self, services: Sequence[str]) -> None:
        """Do nothing: processes are started from existing programs."""

    def remove_project(self) -> None:
        self._runtime.remove(())

    def remove_volume(self, name: str) -> None:
        for state in self._runtime.volumes(self._stack.volumes):
            if state.name != name or state.mountpoint is None or not state.mountpoint.exists():
                continue
            try:
                shutil.rmtree(state.mountpoint)
            except OSError as error:
                raise QuiesceError(
                    f"volume {name} cannot be removed: {reason(error)}",
                    hint_for(error, error.filename or state.mountpoint),
                ) from error

    def shadowed_folders(self) -> tuple[ShadowedFolder, ...]:
        """Return none: there are no images."""
        return ()

    def outdated(self, services: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG002
        """Return none: `up` does not restart running processes."""
        return {}

    def services_ignoring_stop_signal(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for name, service in self._units.services.items():
            leader = self._units.leader(name)
            if leader is not None and _ignores(leader.pid, signal_number(service.stop_signal)):
                found[name] = service.stop_signal
        return found

    def bare_servers(self) -> Mapping[str, str]:
        """Return none: orphaned processes go to the machine's own init."""
        return {}

    def platform(self) -> None:
        """Return None: there are no containers."""

    def tools(self) -> Mapping[str, str]:
        return {"python": platform.python_version()}

    def command_in_service(
        self, service: str, argv: Sequence[str], environment: Mapping[str, str], *, terminal: bool
    ) -> CommandLine:
        declared = self._declared(service)
        if self._units.leader(service) is None:
            raise QuiesceError(
                f"service {service} is not running", f"start it with 'inv up --service {service}'"
            )
        whole = {**self._units.environment(declared), **environment}
        if terminal and "TERM" in os.environ:
            whole["TERM"] = os.environ["TERM"]
        server = self._units.servers.get(service)
        if server is not None and argv[0] == "psql":
            command = server.client(list(argv), environment)
            argv, whole = command.argv, {**whole, **command.environment}
        else:
            argv = self._units.located(argv, declared)
        return CommandLine(tuple(argv), whole, declared.cwd)

    def command_beside(
        self, service: str, argv: Sequence[str], environment: Mapping[str, str], *, terminal: bool
    ) -> CommandLine:
        """Like `command_in_service`: every program here is a separate process anyway."""
        return self.command_in_service(service, argv, environment, terminal=terminal)

    def run_in_service(self, service: str, argv: Sequence[str], seconds: float) -> None:
        run_in_service(
            self.command_in_service(service, argv, {}, terminal=False), service, argv, seconds
        )

    def follow_logs(self, services: Sequence[str], lines: int) -> CommandLine:
        logs = [str(self._units.log(self._declared(name).name)) for name in services]
        argv = ("tail", "-n", str(lines), "-F", *logs)
        return CommandLine(argv, dict(os.environ), Path(self._stack.directory))

    @cached_property
    def _units(self) -> HostUnits:
        return HostUnits(self._stack, dict(os.environ))

    def _declared(self, service: str) -> HostService:
        found = self._units.services.get(service)
        if found is None:
            hint = suggest(service, self._units.services)
            raise RequestError(f"there is no service {service}", hint)
        return found


def _ignores(pid: int, number: int) -> bool:
    """Whether a process ignores a signal. Unlike in a container, the default action is to end."""
    try:
        text = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return False
    masks = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return bool(int(masks.get("SigIgn", "0"), 16) >> (number - 1) & 1)
