"""What Quiesce needs from a runtime: services, the project, the clock and the user."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from quiesce.model import (
    Volume,
)
from quiesce.observed import (
    Engine,
    ProjectResources,
    Service,
    ShadowedFolder,
    Unit,
    VolumeState,
)

#: In the argv of a tool: replaced by where the tool sees the folder it was given.
DIRECTORY = "{directory}"
Progress = Callable[[str, int], None]


"""Called with a short text and a number of bytes done, at most a few times a second."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a TCP port is reached from this machine."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class StopResult:
    """How a unit ended. 137 means it was killed after its time was up: what it wrote is suspect."""

    unit: Unit
    exit_code: int | None
    seconds: float


class Runtime(Protocol):
    """Where services run: Docker Compose, or processes of this machine."""

    def engine(self) -> Engine:
        """Which engine this is. Raise RequestError when it cannot be reached."""
        ...

    def services(self) -> tuple[Service, ...]:
        """Every declared service with the units that exist now, in declaration order.

        Raise RequestError when the declaration itself is wrong (bad Compose file).
        """
        ...

    def volumes(self, declared: Sequence[Volume]) -> tuple[VolumeState, ...]:
        """Every declared volume as the engine has it, then the ones of the Compose model that
        nobody declared. A declared volume that the model does not know raises RequestError."""
        ...

    def up(self, services: Sequence[str], *, build: bool) -> None:
        """Containers of these services exist and run; nothing else is started or recreated.

        One that cannot be started keeps nothing down that does not need it; raise ServiceFailed
        naming every one that was not started. Nothing at all is started where a container outside
        of the project has something mounted writably that one of these services writes to
        (`Service.foreign_mounts`).
        """
        ...

    def remove(self, services: Sequence[str]) -> None:
        """No container of these services exists, nor a network only they used. Volumes stay."""
        ...

    def stop(self, units: Sequence[Unit], timeout: float) -> tuple[StopResult, ...]:
        """Stop these units one after the other, in the order given.

        Each gets the longer of `timeout` and its own stop timeout before it is killed. A unit
        that does not run, or no longer exists, is already stopped. One that is paused goes on for
        the time that it takes to end in order.
        """
        ...

    def hold_restart(self, units: Sequence[Unit]) -> None:
        """Whatever happens, the engine starts none of these by itself. One that no longer exists
        is as good as held."""
        ...

    def free_restart(self, units: Sequence[Unit]) -> None:
        """The engine restarts these as it did when they were observed."""
        ...

    def start(self, units: Sequence[Unit]) -> None:
        """Start these units in the order given. One that was removed since is made again as its
        service; one that was paused when observed is paused again.

        Raise ServiceFailed, and start none of them, where a container outside of the project has
        something mounted writably that one of these units writes to."""
        ...

    def wait_healthy(
        self, units: Sequence[Unit], timeout: float, waiting: Callable[[str], None]
    ) -> Mapping[str, float]:
        """Wait until each unit is as well as it was when observed.

        Calls `waiting` with the name of the service waited for. Returns, per service, the seconds
        until it was. Raise ServiceFailed naming every service, with its last log lines as details,
        for which `timeout` seconds did not suffice or of which a unit ended; the others were
        waited for all the same. A unit that was being restarted again and again is as well as it
        was.
        """
        ...

    def endpoint(self, service: str, port: int) -> Endpoint:
        """Where this machine reaches that port of a running service; needs no published port."""
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
        """Run a program of the service's own image beside the running service.

        The program reaches the service's server on `127.0.0.1` and sees `directory` (where
        `DIRECTORY` stands in argv), read-only unless `writable`. Files it writes belong to the
        caller. `environment` reaches the program without being in any argv. `label` (the run)
        marks it so that it can be found and swept. Returns only when the program itself ended
        with 0; otherwise raises QuiesceError with its last lines of stderr as details. When this
        method raises or the caller dies, the program does not go on.
        """
        ...

    def logs(self, service: str, lines: int) -> str:
        """The last lines the service logged."""
        ...

    def description(self) -> Mapping[str, bytes]:
        """Files that describe the stack (file name → content): the resolved model with every
        secret replaced. Nothing in it is a literal value of an environment variable."""
        ...

    def images(self) -> Mapping[str, str]:
        """The image (with digest or id) each service runs from."""
        ...

    def watch_starts(self) -> None:
        """From now on, whoever is started is noticed, for `seen_starting`."""
        ...

    def seen_starting(self, services: Sequence[str], volumes: Sequence[str]) -> tuple[str, ...]:
        """Who was started since `watch_starts`, and may be gone again: these services, and
        whoever mounted one of these volumes writably. Nobody without `watch_starts`. Raise
        QuiesceError when it cannot be known."""
        ...

    def lock_project(self, folder: Path, run: str, earlier: Collection[str]) -> None:
        """Whoever shares this engine sees that `run` changes the instance from `folder`.

        Raise Busy naming another place from where it is being changed, unless one of the
        `earlier` runs of this folder did that: then the place was only called otherwise. Claiming
        twice is as good as once.
        """
        ...

    def unlock_project(self, folder: Path, earlier: Collection[str]) -> None:
        """It is not being changed from `folder` any more. Another's claim stays."""
        ...

    def as_found(self) -> AbstractContextManager[None]:
        """Inside, what is declared is what exists: units and volumes that were made for this
        instance, no files read. For a recovery when somebody broke the files meanwhile."""
        ...

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        """Remove helpers that carry this run's label. Return what was removed."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A program that takes over this process's terminal: its arguments and its whole environment.

    Nothing secret is in `argv`.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    directory: Path


class Project(Protocol):
    """What belongs to an instance on its engine besides what its services do, and the ways in."""

    def resources(self) -> ProjectResources:
        """All that carries the project's label now."""
        ...

    def build(self, services: Sequence[str]) -> None:
        """Images of these services are built. Services that are not built are left alone."""
        ...

    def remove_project(self) -> None:
        """No container (running ones, strays and one-offs too) and no network of the project is
        left. Volumes stay."""
        ...

    def remove_volume(self, name: str) -> None:
        """No volume of this real name. Raise QuiesceError naming the containers that use it."""
        ...

    def shadowed_folders(self) -> tuple[ShadowedFolder, ...]:
        """Bind mounts over folders that are not empty in their service's image. Starts nothing;
        an image that is not there hides nothing."""
        ...

    def outdated(self, services: Sequence[str]) -> Mapping[str, str]:
        """Those of these services of which something runs that `up` would make anew, and why."""
        ...

    def services_ignoring_stop_signal(self) -> Mapping[str, str]:
        """Running services whose first process neither handles nor waits for its stop signal,
        with the signal's name: they can only be killed."""
        ...

    def bare_servers(self) -> Mapping[str, str]:
        """Services whose first process is a PostgreSQL server, which takes what an ended program
        leaves behind for a session that crashed. With what of their health check may do so, ""
        for nothing."""
        ...

    def tools(self) -> Mapping[str, str]:
        """The programs that this runtime needs on this machine, and their versions. Raise
        RequestError when one is missing."""
        ...

    def command_in_service(
        self, service: str, argv: Sequence[str], environment: Mapping[str, str], *, terminal: bool
    ) -> CommandLine:
        """How to run `argv` in the running service with our own input and output.

        `environment` is added there without being in any argv. Raise QuiesceError when the
        service does not run.
        """
        ...

    def beside(
        self, service: str, argv: Sequence[str], environment: Mapping[str, str], *, terminal: bool
    ) -> CommandLine:
        """How to run a program of the service's own image in the running service's network, but
        not among its processes, with our own input and output; as `inside` in all else."""
        ...

    def run_in_service(self, service: str, argv: Sequence[str], seconds: float) -> None:
        """Run `argv` in the running service to its end, with no input. Raise QuiesceError, with
        what it said last, when it fails or takes longer than `seconds`."""
        ...

    def following(self, services: Sequence[str], lines: int) -> CommandLine:
        """How to print the last lines of these services' logs, and then each new one."""
        ...


class EventSink(Protocol):
    """Who is told what happens. Never raises, never blocks a run."""

    def step_begins(self, position: str, sentence: str, why: str, depth: int) -> None: ...

    def step_ends(self, position: str, sentence: str, seconds: float, result: str) -> None: ...

    def step_fails(self, position: str, sentence: str, reason: str) -> None: ...

    def progress(self, text: str, done: int) -> None: ...

    def note(self, text: str) -> None:
        """Something a person should know that is not a step."""
        ...

    def warn(self, text: str) -> None: ...


class Clock(Protocol):
    """Time as an argument."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        ...

    def monotonic(self) -> float: ...
