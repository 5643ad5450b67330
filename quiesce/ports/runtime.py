"""What Quiesce needs from a runtime: services, the project, the clock and the user."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from quiesce.model import (
    StackFiles,
    Volume,
)
from quiesce.observed import (
    Engine,
    OtherProject,
    Platform,
    ProjectResources,
    Service,
    ShadowedFolder,
    Unit,
    VolumeState,
)

#: In the argv of a tool: replaced by the path under which the tool sees its folder.
DIRECTORY = "{directory}"
Progress = Callable[[str, int], None]


"""Called with a short text and a number of bytes done, at most a few times a second."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address at which this machine reaches a TCP port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class StopResult:
    """How a unit ended. 137 means that it was killed after the grace period: do not trust its
    files."""

    unit: Unit
    exit_code: int | None
    seconds: float


class Runtime(Protocol):
    """Where services run: in Docker Compose, or as processes on this machine."""

    def engine(self) -> Engine:
        """Return the engine. Raise RequestError when it cannot be reached."""
        ...

    def services(self) -> tuple[Service, ...]:
        """Every declared service with the units that exist now, in declaration order.

        Raise RequestError when the declaration itself is wrong (bad Compose file).
        """
        ...

    def other_projects(self) -> tuple[OtherProject, ...]:
        """Return the projects that run from this stack's Compose files, except this one and the
        projects of other instances."""
        ...

    def volumes(self, declared: Sequence[Volume]) -> tuple[VolumeState, ...]:
        """Return every declared volume with its state on the engine, then undeclared volumes of
        the Compose model, then the declared paths. Raise RequestError for a declared volume that
        is not in the model, and for a path that is not a folder or shares files with another
        source."""
        ...

    def up(self, services: Sequence[str], *, build: bool) -> None:
        """Create and start containers of these services, and of no others.

        If one cannot be started, services that do not need it still start; ServiceFailed names
        every one that was not started. Nothing is started if a container outside of the project
        has write access to something that one of these services writes to
        (`Service.foreign_mounts`).
        """
        ...

    def remove(self, services: Sequence[str]) -> None:
        """Remove the containers of these services and networks that only they used, no volumes."""
        ...

    def stop(
        self, units: Sequence[Unit], timeout: float, *, together: bool = False
    ) -> tuple[StopResult, ...]:
        """Stop these units one after the other, in the given order. With `together`, it may stop
        them at the same time; it tries all of them, and raises if one cannot be stopped.

        Each gets the longer of `timeout` and its own stop timeout before it is killed. A unit
        that is not running, or no longer exists, counts as stopped. A paused unit is resumed so
        that it can shut down cleanly.
        """
        ...

    def hold_restart(self, units: Sequence[Unit]) -> None:
        """Set the restart policy of these units to `no`, so that the engine does not start them.
        Ignores units that no longer exist."""
        ...

    def free_restart(self, units: Sequence[Unit]) -> None:
        """Restore the restart policy that these units had when they were observed."""
        ...

    def start(self, units: Sequence[Unit], *, together: bool = False) -> None:
        """Start these units in the given order. A unit that was removed since is created again
        from its service; one that was paused when observed is paused again. With `together`, it may
        start them at the same time.

        Raise ServiceFailed, and start none of them, if a container outside of the project has
        write access to something that one of these units writes to."""
        ...

    def wait_healthy(
        self, units: Sequence[Unit], timeout: float, waiting: Callable[[str], None]
    ) -> Mapping[str, float]:
        """Wait until each unit is as healthy as it was when observed.

        Calls `waiting` with the name of the service it waits for. Returns the seconds per service.
        Raise ServiceFailed naming every service that did not become healthy within `timeout`
        seconds, or whose unit ended, with its last log lines as details. A failure of one does not
        end the wait for the others. The wait leaves out units that kept restarting when observed.
        """
        ...

    def await_entry_point(self, service: str, seconds: float) -> str | None:
        """Wait until the entry point of this service's image has prepared its data, after which it
        starts its final server. Return None if there was nothing to wait for, and "" if the
        entry point has ended. If it still runs a program after `seconds`, return that program."""
        ...

    def endpoint(self, service: str, port: int) -> Endpoint:
        """Return the address at which this machine reaches that port of a running service. The
        port need not be published."""
        ...

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
        """Run a program of the service's image in a container beside the running service.

        The program reaches the service's server on `127.0.0.1`. It sees `directory` (`DIRECTORY`
        in argv is replaced by its path there), read-only unless `writable`. Files that it writes
        belong to the caller. `environment` is passed without being in any argv. `label` (the run)
        marks the container, so that `remove_orphans` finds it. Returns only if the program exited
        with 0; otherwise raises QuiesceError with its last lines of stderr as details. If this
        method raises or the caller dies, the program ends.
        """
        ...

    def logs(self, service: str, lines: int) -> str:
        """The last lines the service logged."""
        ...

    def description(self) -> Mapping[str, bytes]:
        """Return files that describe the stack (file name → content): the resolved model with
        every secret replaced. It contains no value of an environment variable."""
        ...

    def stack_files(self) -> StackFiles:
        """Return the files that define the stack. Files that may contain a secret are left out and
        named. Only files of this machine are read."""
        ...

    def images(self) -> Mapping[str, str]:
        """The image (with digest or id) each service runs from."""
        ...

    def watch_starts(self) -> None:
        """Begin to record containers that are started, for `seen_starting`."""
        ...

    def seen_starting(self, services: Sequence[str], volumes: Sequence[str]) -> tuple[str, ...]:
        """Return which of these services, and which containers with write access to one of these
        volumes, were started since `watch_starts`, even if they have ended. Empty without
        `watch_starts`. Raise QuiesceError if it cannot be determined."""
        ...

    def lock_project(self, folder: Path, run: str, earlier: Collection[str]) -> None:
        """Take the project lock: all users of this engine see that `run` changes the instance
        from `folder`. Idempotent.

        Raise Busy naming the other place if the instance is being changed from there, unless the
        lock belongs to one of the `earlier` runs of this folder, which was renamed since.
        """
        ...

    def unlock_project(self, folder: Path, earlier: Collection[str]) -> None:
        """Release the project lock of `folder`. Locks of other folders stay."""
        ...

    def as_found(self) -> AbstractContextManager[None]:
        """While this context is open, the units and volumes that exist for this instance count as
        declared, and no Compose file is read. For a recovery when these files are broken."""
        ...

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        """Remove the helpers with this run's label, and return their names."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A program that takes over this process's terminal, with its complete environment.

    `argv` contains no secret.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    directory: Path


class Project(Protocol):
    """The resources of an instance on its engine, and programs that run in its services."""

    def resources(self) -> ProjectResources:
        """Return everything that has the project's label now."""
        ...

    def build(self, services: Sequence[str]) -> None:
        """Build the images of these services. Services without a build section are skipped."""
        ...

    def remove_project(self) -> None:
        """Remove all containers (also orphans and one-off containers) and networks of the project.
        Volumes are kept."""
        ...

    def remove_volume(self, name: str) -> None:
        """Remove the volume of this real name. Raise QuiesceError naming containers that use it."""
        ...

    def shadowed_folders(self) -> tuple[ShadowedFolder, ...]:
        """Return bind mounts over folders that are not empty in their service's image. Starts
        nothing and skips images that are not present."""
        ...

    def outdated(self, services: Sequence[str]) -> Mapping[str, str]:
        """Return which of these running services `up` would recreate, or may recreate, and why."""
        ...

    def services_ignoring_stop_signal(self) -> Mapping[str, str]:
        """Return running services whose main process ignores its stop signal, with the signal's
        name: they can only be killed."""
        ...

    def bare_servers(self) -> Mapping[str, str]:
        """Return the services whose PID 1 is a PostgreSQL server, each with the part of its health
        check that may leave orphaned child processes, "" for none. Such a server mistakes an
        orphan that exits for a crashed session."""
        ...

    def platform(self) -> Platform | None:
        """Return what runs the containers, None for a runtime without containers."""
        ...

    def tools(self) -> Mapping[str, str]:
        """Return the programs that this runtime needs on this machine, with their versions. Raise
        RequestError if one is missing."""
        ...

    def command_in_service(
        self, service: str, argv: Sequence[str], environment: Mapping[str, str], *, terminal: bool
    ) -> CommandLine:
        """Return how to run `argv` in the running service, connected to our terminal.

        `environment` is added without being in any argv. Raise QuiesceError if the service is not
        running.
        """
        ...

    def command_beside(
        self, service: str, argv: Sequence[str], environment: Mapping[str, str], *, terminal: bool
    ) -> CommandLine:
        """Return how to run a program of the service's own image in the running service's network,
        but not as one of its processes, connected to our input and output. Otherwise as
        `command_in_service`."""
        ...

    def run_in_service(self, service: str, argv: Sequence[str], seconds: float) -> None:
        """Run `argv` in the running service until it ends, without input. Raise QuiesceError with
        its last output if it fails or takes longer than `seconds`."""
        ...

    def follow_logs(self, services: Sequence[str], lines: int) -> CommandLine:
        """Return how to print the last lines of these services' logs, and then each new one."""
        ...


class EventSink(Protocol):
    """Receives the events of a run. Never raises, never blocks a run."""

    def step_begins(
        self, position: str, sentence: str, why: str, depth: int, phase: str = ""
    ) -> None:
        """A step begins; `phase` is the part of the run that it belongs to, "" for none."""
        ...

    def step_ends(self, position: str, sentence: str, seconds: float, result: str) -> None: ...

    def step_fails(self, position: str, sentence: str, reason: str) -> None: ...

    def progress(self, text: str, done: int) -> None: ...

    def note(self, text: str) -> None:
        """Report something that the user should know and that is not a step."""
        ...

    def warn(self, text: str) -> None: ...


class Clock(Protocol):
    """Time as an argument."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        ...

    def monotonic(self) -> float: ...
