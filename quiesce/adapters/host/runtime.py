"""The host runtime: services are local processes, volumes are folders of the instance.

Nothing supervises them: a service that ends stays stopped until it is started again. A program has
the rights of the user who starts it; a folder that is "read-only" for a tool is not protected as in
a container.
"""

from __future__ import annotations

import hashlib
import os
import platform
import signal
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from quiesce.adapters.host import procfs
from quiesce.adapters.host.folders import folder_mounts, folder_states
from quiesce.adapters.host.health import HostHealth
from quiesce.adapters.host.procfs import MARK_RUN, MARK_STATE
from quiesce.adapters.host.redact import describe
from quiesce.adapters.host.services import HostUnits
from quiesce.adapters.process import program
from quiesce.adapters.process.child import PATIENCE
from quiesce.adapters.redaction import is_secret
from quiesce.errors import NotDeclared, QuiesceError, RequestError, ServiceFailed
from quiesce.model import HostService, Stack, StackFiles, Volume
from quiesce.observed import (
    Dependency,
    Engine,
    Mount,
    OtherProject,
    Service,
    Unit,
    VolumeState,
)
from quiesce.ports import DIRECTORY, Endpoint, StopResult
from quiesce.suggest import suggest

EMBEDDED = "embedded PostgreSQL"


class HostRuntime:
    """Implements `Runtime` for one instance of a stack. The constructor does nothing else."""

    def __init__(self, stack: Stack, *, environment: Mapping[str, str] | None = None) -> None:
        self._stack = stack
        self._outer = dict(os.environ if environment is None else environment)

    # ------------------------------------------------------------------------------------ asking

    def engine(self) -> Engine:
        """Return the identity of the machine and instance; the id survives reboots.

        Raise RequestError if processes cannot be identified, or belong to another user.
        """
        procfs.require_proc()
        self._units.require_owner()
        identity = f"{_machine_id()}\0{self._units.state}".encode()
        return Engine(
            id=f"host:{hashlib.sha256(identity).hexdigest()[:32]}",
            kind="host",
            version=f"{platform.system()} {platform.release()}",
            local=True,
        )

    def other_projects(self) -> tuple[OtherProject, ...]:
        """Return none: this runtime has no projects."""
        return ()

    def services(self) -> tuple[Service, ...]:
        """Return the declared services, then those that run and are no longer declared.

        Each running unit with a health check is checked once, briefly.
        """
        procfs.require_proc()
        self._units.require_owner()
        found = self._units.find()
        services = []
        for name, running in found.items():
            declared = self._units.services.get(name)
            units = self._units.units(name, running)
            if declared is None:
                services.append(Service(name, (), (), units, name, has_health=False))
                continue
            units = (
                tuple(
                    replace(unit, health=self._health.of(declared, live))
                    for unit, live in zip(units, running, strict=True)
                )
                if running
                else units
            )
            services.append(self._service(declared, units))
        return tuple(services)

    def volumes(self, declared: Sequence[Volume]) -> tuple[VolumeState, ...]:
        """Return the declared volumes, then undeclared ones of services.

        A volume that no service of this runtime uses does not exist.
        """
        used = [key for service in self._units.services.values() for key in service.volumes]
        named = [volume for volume in declared if volume.folder is None]
        known = dict.fromkeys([*used, *(volume.key for volume in self._stack.volumes)])
        for volume in named:
            if volume.key not in known:
                fact = f"no service of {self._stack.instance.name} has a volume {volume.key}"
                raise RequestError(fact, suggest(volume.key, known))
        keys = dict.fromkeys([*(volume.key for volume in named), *used])
        return (*(self._volume(key) for key in keys), *folder_states(declared))

    def endpoint(self, service: str, port: int) -> Endpoint:
        """Return the port on this machine."""
        self._require_running(service)
        return Endpoint("127.0.0.1", port)

    def logs(self, service: str, lines: int) -> str:
        """Return the last lines of the service's log file, at most 64 KiB."""
        self._require([service])
        text = self._health.log_end(service).decode("utf-8", "replace")
        return "".join(text.splitlines(keepends=True)[-lines:]) if lines > 0 else ""

    def images(self) -> Mapping[str, str]:
        """Return the program of each service, PostgreSQL with its version."""
        return {
            name: f"{EMBEDDED} {self._units.servers[name].version}"
            if name in self._units.servers
            else service.command[0]
            for name, service in self._units.services.items()
        }

    def description(self) -> Mapping[str, bytes]:
        """Return `services.yaml`: the services as declared, with their literals redacted."""
        return {"services.yaml": describe(self._stack)}

    def stack_files(self) -> StackFiles:
        """Return none: stack.yaml, which is kept, is all."""
        return StackFiles()

    # ---------------------------------------------------------------------------------- changing

    def up(self, services: Sequence[str], *, build: bool) -> None:
        """Start these services (none named: all); a dependency of others must be healthy first. A
        service that cannot be started only keeps down those that depend on it.

        There is nothing to build. A running service is not changed, even if `stack.yaml` has
        changed: a restart applies that.
        """
        del build
        self._require(services)
        self.engine()
        wanted = tuple(services) or tuple(self._units.services)
        done: set[str] = set()
        failures: dict[str, QuiesceError] = {}
        for name in wanted:
            self._begin_with_needs(name, wanted, done, failures)
        if failures:
            raise ServiceFailed.of(failures)

    def remove(self, services: Sequence[str]) -> None:
        """Stop these services (none named: all, dependents first) and remove their records.

        Logs and volumes are kept.
        """
        self._require(services)
        found = self._units.find()
        for name in reversed(tuple(services) or tuple(found)):
            for unit in self._units.units(name, found.get(name, ())):
                self._units.stop(unit, self._stack.restart.stop_timeout)
            self._units.forget(name)

    def stop(
        self, units: Sequence[Unit], timeout: float, *, together: bool = False
    ) -> tuple[StopResult, ...]:
        """Stop these units one after the other, each with its own timeout if that is longer.

        The exit code is known of a process that this run started, and of one that had to be killed
        (137). PostgreSQL's is 0 if its data directory records a clean shutdown, else 137.
        """
        del together
        return tuple(self._units.stop(unit, timeout) for unit in units)

    def hold_restart(self, units: Sequence[Unit]) -> None:
        """Do nothing: only Quiesce starts processes."""

    def free_restart(self, units: Sequence[Unit]) -> None:
        """Do nothing; see `hold_restart`."""

    def start(self, units: Sequence[Unit], *, together: bool = False) -> None:
        """Start these units' services in order, each as it is declared now."""
        del together
        for unit in units:
            if unit.service not in self._units.services:
                raise NotDeclared(
                    f"service {unit.service} is not running, and stack.yaml does not declare it",
                    "if it is needed, declare it again and run 'inv up'",
                )
            self._begin(self._units.services[unit.service])
            if unit.state == "paused":
                self._units.pause(unit.service)

    def wait_healthy(
        self, units: Sequence[Unit], timeout: float, waiting: Callable[[str], None]
    ) -> Mapping[str, float]:
        """Wait until each unit's service is as healthy as the unit was when observed.

        Healthy means that its own check, run every 50 ms, succeeds. A unit without one, or one that
        was not healthy, is accepted after running for a second.
        """
        return self._health.wait(units, timeout, waiting)

    def await_entry_point(self, service: str, seconds: float) -> str | None:
        """Return None: a service has no entry point."""

    def run_tool(
        self,
        service: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        writable: bool,
        label: str,
    ) -> None:
        """Run a program of the service as the caller, on this machine; it is terminated with the
        run.

        For an embedded PostgreSQL it is one of its own programs, else one on PATH. `writable` does
        not restrict what the caller may do in `directory`.
        """
        del writable
        self._require_running(service)
        seen = [part.replace(DIRECTORY, str(directory)) for part in argv]
        given = {**environment, MARK_STATE: str(self._units.state), MARK_RUN: label}
        server = self._units.servers.get(service)
        if server is not None:
            command = server.client(seen, given)
            seen, given = list(command.argv), dict(command.environment)
        else:
            declared = self._units.services[service]
            path = self._units.environment(declared)["PATH"]
            given = {"PATH": path, "LC_ALL": "C", **given}
        program.run(
            seen,
            environment=given,
            cwd=directory,
            what=f"{Path(argv[0]).name} beside service {service}",
            hint=f"see its last lines, and 'inv logs --service {service}'",
            secrets=[value for name, value in environment.items() if is_secret(name, value)],
        )

    def as_found(self) -> AbstractContextManager[None]:
        """Do nothing: only stack.yaml declares a host instance."""
        return nullcontext()

    def watch_starts(self) -> None:
        """Do nothing: only Quiesce starts services, and it has the lock."""

    def seen_starting(self, services: Sequence[str], volumes: Sequence[str]) -> tuple[str, ...]:
        """Return none; see `watch_starts`."""
        del services, volumes
        return ()

    def lock_project(self, folder: Path, run: str, earlier: Collection[str]) -> None:
        """Do nothing: everyone who knows the processes by this folder shares its lock."""

    def unlock_project(self, folder: Path, earlier: Collection[str]) -> None:
        """Do nothing; see `lock_project`."""

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        """End the tools of this run that are still running, of this user and this instance only."""
        everybody = procfs.all_processes()
        wanted = {MARK_RUN: run, MARK_STATE: str(self._units.state)}
        found = [
            live
            for live in everybody.values()
            if live.pid != os.getpid() and procfs.marks(live) == wanted
        ]
        removed_orphans = []
        for live in procfs.roots(found, everybody):
            if procfs.belongs_to_us(live):
                name = procfs.name_of(live)
                procfs.end(live, signal.SIGTERM, PATIENCE, group=True)
                removed_orphans.append(f"helper {name} (process {live.pid})")
        return tuple(removed_orphans)

    def close(self) -> None:
        """Do nothing: nothing is open."""

    # ------------------------------------------------------------------------------------- inside

    @cached_property
    def _units(self) -> HostUnits:
        return HostUnits(self._stack, self._outer)

    @cached_property
    def _health(self) -> HostHealth:
        return HostHealth(self._units)

    def _service(self, declared: HostService, units: tuple[Unit, ...]) -> Service:
        services = self._units.services
        return Service(
            name=declared.name,
            depends_on=tuple(
                Dependency(
                    other, "healthy" if self._health.has_check(services[other]) else "started"
                )
                for other in declared.depends_on
                if other in services
            ),
            mounts=(
                *(
                    Mount(key, str(self._units.volume(key)), variable, writable=True)
                    for key, variable in declared.volumes.items()
                ),
                *(() if declared.postgres else folder_mounts(self._stack)),
            ),
            units=units,
            image=EMBEDDED if declared.postgres else declared.command[0],
            has_health=self._health.has_check(declared),
        )

    def _volume(self, key: str) -> VolumeState:
        folder = self._units.volume(key)
        return VolumeState(
            key=key,
            name=f"{self._stack.instance.project}-{key}",
            exists=folder.is_dir(),
            driver="local",
            options={},
            mountpoint=folder,
            outside=(),
        )

    def _begin_with_needs(
        self,
        name: str,
        wanted: Sequence[str],
        done: set[str],
        failures: dict[str, QuiesceError],
    ) -> None:
        if name in done:
            return
        done.add(name)
        declared = self._units.services[name]
        needs = [other for other in declared.depends_on if other in wanted]
        for other in needs:
            self._begin_with_needs(other, wanted, done, failures)
        try:
            for other in needs:
                if other in failures:
                    fact = f"service {name} is not started: it needs {other}"
                    raise ServiceFailed(fact, failures[other].hint)
                self._wait_for(other)
            self._begin(declared)
        except QuiesceError as error:
            failures[name] = error

    def _begin(self, service: HostService) -> None:
        self._units.start(service)
        server = self._units.servers.get(service.name)
        if server is not None and server.lacks_databases():
            self._wait_for(service.name)
            server.make_databases()

    def _wait_for(self, name: str) -> None:
        if not self._health.has_check(self._units.services[name]):
            return
        ideal = Unit(name, "", "", "running", "healthy")
        self._health.wait([ideal], self._stack.restart.health_timeout, lambda _: None)

    def _require(self, services: Sequence[str]) -> None:
        for name in services:
            if name not in self._units.services:
                hint = suggest(name, self._units.services)
                raise RequestError(f"{self._stack.instance.name} has no service {name}", hint)

    def _require_running(self, service: str) -> None:
        self._require([service])
        if self._units.leader(service) is None:
            raise QuiesceError(
                f"service {service} is not running", f"start it with 'inv up --service {service}'"
            )


def _machine_id() -> str:
    """Return an id of this machine that is kept when it is renamed or its disk is moved."""
    for name in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if text:
            return text
    return socket.gethostname()
