"""The processes of each service of `runtime: host`, and their records.

The state folder of an instance contains `services/<service>.json` (the last process),
`logs/<service>.log` and `volumes/<key>/`. Running processes are looked up among all, by mark and by
record, so neither a lost record nor a program that hides its environment loses one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from quiesce.adapters.host import procfs
from quiesce.adapters.host.pidfile import Record, read_record, write_record
from quiesce.adapters.host.postgres_service import EmbeddedServer
from quiesce.adapters.host.procfs import MARK_SERVICE, MARK_STATE, Launch, Live
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import HostService, Stack
from quiesce.observed import Unit
from quiesce.ports import StopResult

KILLED = 128 + signal.SIGKILL
#: A log that is larger when its service starts becomes `<service>.log.1`.
LOG_BYTES = 16 * 1024 * 1024
#: The variables that a service inherits, and their defaults if they are not set (cron, env -i).
INHERITED = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
}
INTERPRETERS = ("python", "python3")


class HostUnits:
    """The processes of one instance. The constructor changes nothing."""

    def __init__(self, stack: Stack, outer: Mapping[str, str]) -> None:
        self.state = stack.instance.state.resolve()
        self.project = stack.instance.project
        self.services = {service.name: service for service in stack.host_services}
        self._variables = stack.instance.environment
        self._outer = outer
        self.servers = {
            service.name: self._server(service, stack)
            for service in stack.host_services
            if service.postgres is not None
        }

    # ---------------------------------------------------------------------------------- looking

    def require_owner(self) -> None:
        """Raise RequestError if the instance belongs to another user: its processes and records
        would be hidden, and everything would look stopped."""
        try:
            owner = self.state.stat().st_uid
        except FileNotFoundError:
            return
        except OSError as error:
            raise RequestError(
                f"{self.state} cannot be inspected: {error.strerror}",
                "run the command as the user who started the instance",
            ) from None
        if owner != os.geteuid():
            raise RequestError(
                f"the instance in {self.state} belongs to another user ({owner})",
                "run the command as that user",
            )

    def find(self) -> dict[str, tuple[Live, ...]]:
        """Return the running processes of each service, without their children."""
        everybody = procfs.all_processes()
        found: dict[str, dict[int, Live]] = {name: {} for name in self.services}
        for live in everybody.values():
            marks = procfs.marks(live)
            if marks.get(MARK_STATE) == str(self.state) and MARK_SERVICE in marks:
                found.setdefault(marks[MARK_SERVICE], {})[live.pid] = live
        for name, processes in found.items():
            recorded = self._recorded(name)
            if recorded is not None:
                processes[recorded.pid] = recorded
        return {
            name: procfs.roots(list(processes.values()), everybody)
            for name, processes in found.items()
        }

    def leader(self, service: str) -> Live | None:
        """Return the main process of the service, None if it is not running."""
        recorded = self._recorded(service)
        if recorded is not None:
            return recorded
        return next((live for live in self.find().get(service, ()) if live.leads), None)

    def units(self, service: str, running: Sequence[Live]) -> tuple[Unit, ...]:
        """Return the units of a service, without checking their health."""
        declared = self.services.get(service)
        plain = Unit(
            service=service,
            id="",
            name=f"{self.project}-{service}-1",
            state="running",
            health="none",
            stop_timeout=None if declared is None else declared.stop_timeout,
            # Nothing restarts it, but it should keep running, even if it has exited with 0.
            restart_policy="unless-stopped",
        )
        if running:
            return tuple(
                replace(
                    plain,
                    id=live.identity,
                    name=f"{self.project}-{service}-{number}",
                    state="paused" if live.paused else "running",
                    started_at=live.started_at,
                )
                for number, live in enumerate(running, 1)
            )
        record = self.record(service)
        if record is None:
            return ()
        return (replace(plain, id=record.identity, state="exited", exit_code=record.exit_code),)

    def record(self, service: str) -> Record | None:
        """Return the record of a service's last process, with its exit code if known."""
        record = read_record(self._record_file(service))
        if record is None:
            return None
        if record.exit_code is None and record.boot == procfs.boot_id():
            code = procfs.exit_code(record.pid, record.started)
            if code is not None:
                record = replace(record, exit_code=code)
                self._write(service, record)
        return record

    def log(self, service: str) -> Path:
        return self.state / "logs" / f"{service}.log"

    def volume(self, key: str) -> Path:
        return self.state / "volumes" / key

    # --------------------------------------------------------------------------------- changing

    def start(self, service: HostService) -> None:
        """Start the service, or continue it if it is paused."""
        running = self.find()[service.name]
        for live in running:
            if live.paused:
                procfs.unpause(live)
        if any(live.leads for live in running):
            return
        # The children of a killed process keep its port and its files.
        for live in running:
            procfs.end(live, signal.SIGTERM, service.stop_timeout, group=True)
        self._make_folders()
        launch = self._launch(service)
        self._require_free_port(service)
        self._rotate(service.name)
        live = procfs.begin(launch, self.log(service.name))
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write(service.name, Record(live.pid, live.started, procfs.boot_id(), now))

    def stop(self, unit: Unit, timeout: float) -> StopResult:
        """Stop one unit. Its timeout is the longer of `timeout` and its own.

        A unit that was restarted since it was observed is the same unit under another id.
        """
        begun = time.monotonic()
        live = self._current(unit)
        if live is None:
            return StopResult(unit, self._code(unit), time.monotonic() - begun)
        declared = self.services.get(unit.service)
        number, own = signal.SIGTERM, unit.stop_timeout or 0.0
        if declared is not None:
            number, own = signal.Signals[declared.stop_signal], declared.stop_timeout
        server = self.servers.get(unit.service)
        if server is not None:
            number = signal.SIGINT  # fast shutdown; SIGTERM waits for all clients
        # A signal has another meaning for the child processes of PostgreSQL than for itself.
        killed = procfs.end(live, number, max(timeout, own), group=server is None)
        code = KILLED if killed else procfs.exit_code(live.pid, live.started)
        if server is not None and not killed:
            code = 0 if server.shut_down_cleanly() else (code or KILLED)
        self._note_end(unit.service, live, code)
        return StopResult(unit, code, time.monotonic() - begun)

    def pause(self, service: str) -> None:
        """Pause the service, if it is running."""
        live = self.leader(service)
        if live is not None and not live.paused:
            procfs.pause(live)

    def forget(self, service: str) -> None:
        """Remove the record of the service; its log is kept."""
        self._record_file(service).unlink(missing_ok=True)

    def environment(self, service: HostService) -> dict[str, str]:
        """Return the environment of a service, without marks.

        Some inherited variables, then the env file's, then its own, then its volumes' folders.
        """
        inherited = {name: self._outer.get(name, other) for name, other in INHERITED.items()}
        folders = {name: str(self.volume(key)) for key, name in service.volumes.items()}
        return {**inherited, **self._variables, **service.environment, **folders}

    def located(self, argv: Sequence[str], service: HostService) -> tuple[str, ...]:
        """Return argv with the program's full path. Raise RequestError if it does not exist.

        `python` and `python3` are the interpreter that runs Quiesce.
        """
        program = argv[0]
        if program in INTERPRETERS and sys.executable:
            return (sys.executable, *argv[1:])
        if "/" in program:
            program = str(service.cwd / program)
        found = shutil.which(program, path=self.environment(service)["PATH"])
        if found is None:
            raise RequestError(
                f"service {service.name}: the program {argv[0]} is not on this machine",
                f"install it, or correct the service's command; its folder is {service.cwd}",
            )
        return (found, *argv[1:])

    # ------------------------------------------------------------------------------------ inside

    def _server(self, service: HostService, stack: Stack) -> EmbeddedServer:
        keys = tuple(service.volumes) or (service.name,)
        return EmbeddedServer(
            service,
            home=self.state / "postgres",
            data=self.volume(keys[0]),
            made=self.state / "services" / f"{service.name}.databases",
            databases=[entry.name for entry in stack.databases if entry.service == service.name],
        )

    def _launch(self, service: HostService) -> Launch:
        marks = {MARK_STATE: str(self.state), MARK_SERVICE: service.name}
        server = self.servers.get(service.name)
        if server is not None:
            return server.launch(marks)
        for key in service.volumes:
            self.volume(key).mkdir(mode=0o700, exist_ok=True)
        if not service.cwd.is_dir():
            raise RequestError(
                f"service {service.name}: there is no folder {service.cwd}", "correct its 'cwd'"
            )
        environment = {**self.environment(service), **marks}
        argv = self.located(service.command, service)
        return Launch(argv, {"env": environment, "cwd": service.cwd})

    def _require_free_port(self, service: HostService) -> None:
        """Raise QuiesceError if another program listens on the port: it would be mistaken for the
        service."""
        server = self.servers.get(service.name)
        port = service.port if server is None else server.port
        if port is None:
            return
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise QuiesceError(
                    f"service {service.name} cannot start: its port {port} is in use",
                    f"stop the program that listens on it ('ss -ltnp sport = :{port}'), or change "
                    "'port:'",
                )

    def _make_folders(self) -> None:
        # Root's PostgreSQL runs as another user, who must be able to pass through to its data.
        passage = 0o711 if os.geteuid() == 0 else 0o700
        for folder in (self.state.parent, self.state):
            if not folder.exists():
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(passage)
        for name, mode in (("volumes", passage), ("services", 0o700), ("logs", 0o700)):
            folder = self.state / name
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)

    def _rotate(self, service: str) -> None:
        log = self.log(service)
        with contextlib.suppress(OSError):
            if log.stat().st_size > LOG_BYTES:
                log.rename(log.with_name(f"{log.name}.1"))

    def _record_file(self, service: str) -> Path:
        return self.state / "services" / f"{service}.json"

    def _recorded(self, service: str) -> Live | None:
        """Return the recorded process if it is still running: same number, same start, same
        boot."""
        record = self.record(service)
        if record is None or record.boot != procfs.boot_id():
            return None
        live = procfs.look(record.pid)
        return live if live is not None and live.started == record.started else None

    def _current(self, unit: Unit) -> Live | None:
        found = self.find().get(unit.service, ())
        same = next((live for live in found if live.identity == unit.id), None)
        if same is not None:
            return same
        named = zip(self.units(unit.service, found), found, strict=False)
        return next((live for now, live in named if now.name == unit.name), None)

    def _code(self, unit: Unit) -> int | None:
        record = self.record(unit.service)
        return record.exit_code if record is not None and record.identity == unit.id else None

    def _note_end(self, service: str, live: Live, code: int | None) -> None:
        record = self.record(service)
        if record is None:
            # The process that started it was killed before it could write a record.
            record = Record(live.pid, live.started, procfs.boot_id(), "")
        if record.identity == live.identity:
            self._write(service, replace(record, exit_code=code))

    def _write(self, service: str, record: Record) -> None:
        # A full disk must not keep a service down; processes without a record are found by their
        # marks.
        with contextlib.suppress(OSError):
            write_record(self._record_file(service), record)
