"""The Compose runtime: services are containers of one Compose project on one Docker Engine.

Compose resolves the model, creates containers and removes them. Starting and stopping goes through
the Engine API, container by container, because `docker compose start` would also start services
that were down before.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiesce.adapters.compose import inventory
from quiesce.adapters.compose.address import find_address
from quiesce.adapters.compose.cli import ComposeCommand
from quiesce.adapters.compose.containers import ComposeUnits
from quiesce.adapters.compose.endpoint import WAYS, ComposeReach, Relay, Way
from quiesce.adapters.compose.engine import EngineConnection
from quiesce.adapters.compose.entry_point import await_entry_point
from quiesce.adapters.compose.events import StartsListener, who_started
from quiesce.adapters.compose.folders import Folders
from quiesce.adapters.compose.inspected import Inspected, service_of
from quiesce.adapters.compose.model import ComposeModel
from quiesce.adapters.compose.model_cache import ModelReader
from quiesce.adapters.compose.parallel import with_each
from quiesce.adapters.compose.project import ComposeProject
from quiesce.adapters.compose.project_candidates import find_traces, other_projects
from quiesce.adapters.compose.project_lock import lock_project, make_place, unlock_project
from quiesce.adapters.compose.relay import RelayHelpers
from quiesce.adapters.compose.server_containers import probe_command, sensitive_servers
from quiesce.adapters.compose.stack_files import collect
from quiesce.adapters.compose.start import ComposeStarter
from quiesce.adapters.compose.tool_container import Tool, remove_orphan_helpers, run_beside
from quiesce.errors import QuiesceError
from quiesce.model import Stack, StackFiles, Volume
from quiesce.observed import Engine, OtherProject, Service, Traces, Unit, VolumeState
from quiesce.ports import Endpoint, StopResult

if TYPE_CHECKING:
    from docker import APIClient


class ComposeRuntime:
    """Implements `Runtime` for one instance of a stack. The connection is opened on first use.

    `ways` are the methods that `endpoint` may use, in order; tests force each of them. `run` labels
    the helpers that it creates.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        environment: Mapping[str, str] | None = None,
        ways: Sequence[Way] = WAYS,
        run: str = "inspection",
    ) -> None:
        self._run = run
        self._servers = sensitive_servers(stack.databases)
        self._stack = stack
        self._instance = stack.instance
        self._keys = tuple(volume.key for volume in stack.volumes if volume.folder is None)
        self._outer = dict(os.environ if environment is None else environment)
        self._ways = tuple(ways)
        self._found: ComposeModel | None = None
        self._tunnel: Relay | None = None
        self._listener: StartsListener | None = None

    # ------------------------------------------------------------------------------------ asking

    def engine(self) -> Engine:
        """Return the engine; `local` means that the engine seems to be local, and `is_local` proves
        it."""
        return self._connection.engine()

    def is_local(self) -> bool:
        """Whether the engine sees this machine's file systems; see `EngineConnection.is_local`."""
        return self._connection.is_local(next(iter(self.image_ids()), None))

    def services(self) -> tuple[Service, ...]:
        """Return the services of the active profiles in declaration order, then strays: containers
        of this project whose service is not among them. The actual mounts of a container are added
        to the mounts of its service."""
        model = self._model()
        found = inventory.services_of(model, self._units.containers())
        return self._starter.with_foreign_mounts(self._folders.with_mounts(found, model))

    def api(self) -> APIClient:
        """Return the SDK's client; it is closed with the runtime."""
        return self._connection.api

    def project_traces(self, names: Collection[str]) -> Mapping[str, Traces]:
        """Return the engine's traces of these projects; see `project_candidates`."""
        files, directory = self._compose.files(), self._instance.directory
        return find_traces(self._connection, directory, files, names, self._keys)

    def other_projects(self) -> tuple[OtherProject, ...]:
        """Return the undeclared projects that run from this stack's Compose files."""
        own = self._instance.project
        return other_projects(self.project_traces([own]), own, self._instance.siblings)

    def image_ids(self) -> tuple[str, ...]:
        """Return images of the project that are on the engine, of its containers if it has any."""
        found, model = self._units.containers(), self._model_if_readable
        return inventory.images_there(self._connection, found, model)

    def volumes(self, declared: Sequence[Volume]) -> tuple[VolumeState, ...]:
        """Return the volumes of the Compose model, declared ones first, then the declared paths.

        `mountpoint` is None unless the engine may be local.
        """
        model, project = self._model(), self._instance.project
        found = inventory.volume_states(self._connection, project, model, declared)
        return (*found, *self._folders.states(declared, None if self._found else model))

    def volume_labels(self, key: str) -> Mapping[str, str]:
        """Return the labels that Compose gives to this volume when it makes it."""
        version, project = self._compose.version(), self._instance.project
        return inventory.volume_labels(self._model_if_readable(), project, key, version)

    def endpoint(self, service: str, port: int) -> Endpoint:
        """Return the address at which this machine reaches that port: directly, published, or
        through a relay."""
        return self._reach.endpoint(service, self._running(service), port)

    def logs(self, service: str, lines: int) -> str:
        """Return the last lines of each of the service's containers."""
        self._require([service])
        return "".join(
            self._units.logs(entry["Id"], lines).decode("utf-8", "replace")
            for entry in self._units.containers()
            if service_of(entry) == service
        )

    def images(self) -> Mapping[str, str]:
        """Return the image of each service's container, by digest or id."""
        found: dict[str, str] = {}
        for entry in self._units.containers():
            found.setdefault(service_of(entry), inventory.image_name(self._connection, entry))
        return found

    def resolved_model(self) -> dict[str, Any]:
        """Return the model with variables replaced, secrets included: never for storage."""
        done = self._compose.run("config", "--format", "json")
        return self._reader.with_unused(json.loads(done.stdout))

    def image_names(self) -> Mapping[str, str]:
        """Return the image name that each service's container was created from."""
        every = reversed(self._units.containers())
        return {service_of(entry): str(entry["Config"]["Image"]) for entry in every}

    def description(self) -> Mapping[str, bytes]:
        """Return `compose.yaml`: the model before interpolation, with its literals redacted."""
        return self._reader.description()

    def stack_files(self) -> StackFiles:
        """Return the files that define the stack; see `stack_files`."""
        return collect(self._compose, self._stack, self._model(), local=self.engine().local)

    # ---------------------------------------------------------------------------------- changing

    def up(self, services: Sequence[str], *, build: bool) -> None:
        """Create and start these services (all active ones if none is named).

        Compose recreates a container when its configuration or image changed; it must not when a
        dependency was not named, as it does before 2.30.
        """
        self._require(services)
        self.engine()
        found = {service.name: service for service in self.services()}
        active = [one.name for one in self._model().services if one.active and one.name in found]
        chosen = [found[name] for name in (services or active) if name in found]
        self._starter.up(chosen, build=build, everything=not services)

    def remove(self, services: Sequence[str]) -> None:
        """Remove these services' containers and, if that is all of them, the project's networks."""
        self._require(services)
        self.engine()
        self._units.release(services)
        if services and not {service.name for service in self.services()} <= set(services):
            self._compose.run("rm", "--stop", "--force", *services, profiles=("*",))
        else:
            self._compose.run("down", "--remove-orphans", profiles=("*",))

    def stop(
        self, units: Sequence[Unit], timeout: float, *, together: bool = False
    ) -> tuple[StopResult, ...]:
        """Stop these units, each with its own timeout if that is longer."""
        stop = partial(self._units.stop, timeout=timeout)
        return with_each(stop, units) if together else tuple(map(stop, units))

    def start(self, units: Sequence[Unit], *, together: bool = False) -> None:
        """Start these units; see `ComposeStarter.start`."""
        self._starter.start(units, together=together)

    def hold_restart(self, units: Sequence[Unit]) -> None:
        """Set the restart policy to `no`, until `free_restart`."""
        for unit in units:
            self._units.set_restart(unit, "no")

    def free_restart(self, units: Sequence[Unit]) -> None:
        """Restore the observed restart policies."""
        for unit in units:
            self._units.set_restart(unit, unit.restart_policy)

    def wait_healthy(
        self, units: Sequence[Unit], timeout: float, waiting: Callable[[str], None]
    ) -> Mapping[str, float]:
        """Wait until each unit is as healthy as it was when observed.

        Healthy means that the engine says so or, while it says `starting`, that the container's
        health command succeeds. A unit without one, or one that was not healthy, is accepted after
        it ran for a second. A one-shot (others wait for its end) may have exited with 0.
        """
        model = self._model_if_readable()
        one_shots = model.completing if model else frozenset[str]()
        return self._units.wait(units, timeout, waiting, one_shots)

    def await_entry_point(self, service: str, seconds: float) -> str | None:
        """Wait for the entry points of this service's containers; see `entry_point`."""
        return await_entry_point(self._connection, self._units.containers(), service, seconds)

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
        """Run a program in a helper container beside the service; see `tool_container`."""
        container = self._running(service)
        tool = Tool(
            service=service,
            argv=tuple(argv),
            directory=directory,
            writable=writable,
            run=label,
            project=self._instance.project,
            environment=dict(environment),
        )
        run_beside(self._connection, container["Id"], container["Image"], tool)

    @contextlib.contextmanager
    def as_found(self) -> Iterator[None]:
        """Within this context, the model is built from the labels that Compose gave to volumes and
        containers."""
        self._found = inventory.found_model(self._connection, self._instance.project, self._keys)
        try:
            yield
        finally:
            self._found = None

    def watch_starts(self) -> None:
        """Record the engine's container starts from now on."""
        self._stop_listening()
        self._listener = StartsListener(self._connection)

    def seen_starting(self, services: Sequence[str], volumes: Sequence[str]) -> tuple[str, ...]:
        """Return the writers that were started since `watch_starts`; see `events`."""
        if self._listener is None:
            return ()
        events, model = self._listener.events(), self._model()
        names = {model.volume(key).name for key in volumes if key in model.volumes}
        return who_started(events, self._instance.project, services, names)

    def lock_project(self, folder: Path, run: str, earlier: Collection[str]) -> None:
        """Lock the project for `folder`; see `project_lock`."""
        lock_project(self._connection, self._instance.project, make_place(folder), run, earlier)

    def unlock_project(self, folder: Path, earlier: Collection[str]) -> None:
        """Remove the project lock of this folder."""
        unlock_project(self._connection, self._instance.project, make_place(folder), earlier)

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        """Remove the helpers of this run."""
        return remove_orphan_helpers(self._connection, run)

    def project(self) -> ComposeProject:
        """Return the project's resources and commands in its containers; closed with the
        runtime."""
        return ComposeProject(
            self._connection,
            self._compose,
            self._units,
            self._instance,
            self.services,
            self._servers,
            self._run,
        )

    def close(self) -> None:
        """Close relays and connections."""
        self._stop_listening()
        if "_reach" in self.__dict__:
            self._reach.close()
        if "_connection" in self.__dict__:
            self._connection.close()
        if self._tunnel is not None:
            self._tunnel.close()
            self._tunnel = None

    # ------------------------------------------------------------------------------------- inside

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    @cached_property
    def _connection(self) -> EngineConnection:
        address = find_address(self._instance.context, self._outer, Path.home())
        return EngineConnection(address, self._open_tunnel, self._ask_command_line)

    @cached_property
    def _folders(self) -> Folders:
        folders, project = self._stack.folders, self._instance.project
        return Folders(folders, self._connection, project, self.image_ids)

    @cached_property
    def _compose(self) -> ComposeCommand:
        return ComposeCommand(self._instance, self._connection.address, self._outer)

    @cached_property
    def _reader(self) -> ModelReader:
        return ModelReader(self._compose, self._connection, self._instance.project, self._keys)

    @cached_property
    def _units(self) -> ComposeUnits:
        return ComposeUnits(
            self._connection,
            self._instance.project,
            lambda container: probe_command(container, self._servers),
        )

    @cached_property
    def _starter(self) -> ComposeStarter:
        return ComposeStarter(
            self._connection,
            self._compose,
            self._units,
            self._stack,
            self._model,
            self._model_if_readable,
        )

    @cached_property
    def _reach(self) -> ComposeReach:
        helpers = RelayHelpers(
            self._connection,
            self.image_ids,
            self._stack.helper_image,
            self._instance.project,
            self._run,
        )
        return ComposeReach(self._connection, self._units, self._relay, helpers, self._ways)

    def _relay(self, arguments: Sequence[str]) -> Relay:
        return Relay(self._compose.docker_argv(*arguments), self._compose.environment())

    def _open_tunnel(self) -> Path:
        """Connect over ssh like the CLI, with the user's own ssh settings."""
        self._tunnel = self._relay(["system", "dial-stdio"])
        return self._tunnel.listen_on_socket()

    def _ask_command_line(self, *arguments: str) -> str:
        return self._compose.docker(*arguments, timeout=60)

    def _model(self) -> ComposeModel:
        if self._found is not None:
            return self._found
        return self._reader.model()

    def _model_if_readable(self) -> ComposeModel | None:
        """Return the model, None if there is none: a recovery needs no Compose file."""
        try:
            return self._model()
        except QuiesceError:
            return None

    def _require(self, services: Sequence[str]) -> None:
        if services:
            self._model().require(services)

    def _running(self, service: str) -> Inspected:
        containers = [e for e in self._units.containers() if service_of(e) == service]
        for entry in containers:
            if entry["State"]["Status"] == "running":
                return entry
        self._require([service])
        raise QuiesceError(
            f"service {service} is not running", f"start it with 'inv up --service {service}'"
        )
