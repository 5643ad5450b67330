"""The resources of one Compose project, and commands in its containers."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, cast

from quiesce.adapters.compose.cli import ComposeCommand
from quiesce.adapters.compose.containers import ComposeUnits
from quiesce.adapters.compose.engine import (
    EngineConnection,
    absent,
    helper_labels,
    translate_engine_errors,
)
from quiesce.adapters.compose.identity import user_namespaces
from quiesce.adapters.compose.inspected import LABEL_PROJECT_NAME, Inspected, service_of
from quiesce.adapters.compose.outdated import outdated
from quiesce.adapters.compose.server_containers import is_bare_server, orphaning_check
from quiesce.adapters.process.exec import run_in_service
from quiesce.adapters.process.signals import signal_number
from quiesce.errors import QuiesceError
from quiesce.model import Instance
from quiesce.observed import Mount, Platform, ProjectResources, Service, ShadowedFolder
from quiesce.ports import CommandLine

#: How many names of a shadowed folder are shown.
_NAMES = 3
_ALIVE = ("running", "paused", "restarting")
_PROC_STATUS = ("cat", "/proc/1/status")


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """Implements `Project` with the parts of a `ComposeRuntime`, which closes them."""

    connection: EngineConnection
    command: ComposeCommand
    units: ComposeUnits
    instance: Instance
    services: Callable[[], tuple[Service, ...]]
    servers: frozenset[str] = frozenset()
    run: str = "inspection"

    def resources(self) -> ProjectResources:
        filters = {"label": f"{LABEL_PROJECT_NAME}={self.instance.project}"}
        api: Any = self.connection.api
        with translate_engine_errors(f"the resources of {self.instance.project} cannot be listed"):
            containers = api.containers(all=True, filters=filters)
            networks = api.networks(filters=filters)
            volumes = api.volumes(filters=filters).get("Volumes") or []
        return ProjectResources(
            containers=tuple(sorted(_name_of(entry) for entry in containers)),
            networks=tuple(sorted(str(entry["Name"]) for entry in networks)),
            volumes=tuple(sorted(str(entry["Name"]) for entry in volumes)),
        )

    def build(self, services: Sequence[str]) -> None:
        self.connection.engine()
        self.command.run("build", *services, hint="see its output; nothing was replaced")

    def remove_project(self) -> None:
        self.connection.engine()
        self.units.release()
        self.command.run("down", "--remove-orphans", profiles=("*",))
        # Compose does not look for what only an older Compose file declared.
        left = self.resources()
        api: Any = self.connection.api
        for name in left.containers:
            self._gone(f"container {name}", partial(api.remove_container, name, force=True))
        for name in left.networks:
            self._gone(f"network {name}", partial(api.remove_network, name))

    def remove_volume(self, name: str) -> None:
        import docker

        api: Any = self.connection.api
        with translate_engine_errors(f"volume {name} cannot be removed"):
            try:
                api.remove_volume(name)
            except docker.errors.APIError as error:
                if absent(error):
                    return
                if error.status_code != 409:
                    raise
                users = api.containers(all=True, filters={"volume": name})
                named = ", ".join(sorted(map(_name_of, users))) or "another container"
                raise QuiesceError(
                    f"volume {name} is in use by {named}",
                    "if it is no longer needed, stop and remove it, then try again",
                ) from None

    def shadowed_folders(self) -> tuple[ShadowedFolder, ...]:
        found: list[ShadowedFolder] = []
        for service in self.services():
            binds = [m for m in service.mounts if m.volume is None and m.source.startswith("/")]
            if binds:
                found += self._shadowed_in(service, binds)
        return tuple(found)

    def outdated(self, services: Sequence[str]) -> Mapping[str, str]:
        return outdated(self.connection, self.command, self.units.containers(), services)

    def services_ignoring_stop_signal(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for container in self.units.containers():
            if container["State"]["Status"] != "running":
                continue
            if container["HostConfig"].get("Init"):
                # The engine's init process forwards signals, whatever its masks show.
                continue
            name = str(container["Config"].get("StopSignal") or "SIGTERM")
            status = self._status_of_first_process(container)
            if status and ignores_stop_signal(status, signal_number(name)):
                found[service_of(container)] = name
        return found

    def bare_servers(self) -> Mapping[str, str]:
        return {
            service_of(container): orphaning_check(container)
            for container in self.units.containers()
            if container["State"]["Status"] in _ALIVE and is_bare_server(container, self.servers)
        }

    def platform(self) -> Platform:
        engine, api = self.connection.engine(), cast(Any, self.connection.api)
        with translate_engine_errors("the engine's version cannot be read"):
            version = api.version(api_version=False)
        return Platform(
            kind=engine.kind,
            version=engine.version,
            api=(str(version.get("MinAPIVersion", "")), str(version.get("ApiVersion", ""))),
            compose=self.command.version(),
            storage=str(self.connection.info.get("Driver", "")),
            users=user_namespaces(self.connection.info),
        )

    def tools(self) -> Mapping[str, str]:
        client = self.command.docker("version", "--format", "{{.Client.Version}}", timeout=30)
        compose = self.command.docker("compose", "version", "--short", timeout=30)
        return {"docker": client, "docker compose": compose}

    def command_in_service(
        self, service: str, argv: Sequence[str], environment: Mapping[str, str], *, terminal: bool
    ) -> CommandLine:
        container = self._running(service)
        options = ["--interactive", *(["--tty"] if terminal else [])]
        # Only the name: the value is passed in the environment, not on the command line.
        options += [part for name in environment for part in ("--env", name)]
        command = self.command.docker_argv("exec", *options, str(container["Id"]), *argv)
        whole = {**self.command.environment(), **environment}
        return CommandLine(tuple(command), whole, self.instance.directory)

    def command_beside(
        self, service: str, argv: Sequence[str], environment: Mapping[str, str], *, terminal: bool
    ) -> CommandLine:
        container = self._running(service)
        options = ["--rm", "--init", "--interactive", *(["--tty"] if terminal else [])]
        options += ["--network", f"container:{container['Id']}", "--log-driver", "none"]
        options += ["--no-healthcheck", "--security-opt", "no-new-privileges"]
        marks = helper_labels(self.run, self.instance.project)
        options += [part for name, word in marks.items() for part in ("--label", f"{name}={word}")]
        options += [part for name in environment for part in ("--env", name)]
        options += ["--entrypoint", argv[0]]
        command = self.command.docker_argv("run", *options, str(container["Image"]), *argv[1:])
        whole = {**self.command.environment(), **environment}
        return CommandLine(tuple(command), whole, self.instance.directory)

    def run_in_service(self, service: str, argv: Sequence[str], seconds: float) -> None:
        run_in_service(
            self.command_in_service(service, argv, {}, terminal=False), service, argv, seconds
        )

    def follow_logs(self, services: Sequence[str], lines: int) -> CommandLine:
        self.connection.engine()
        argv = self.command.argv("logs", "--follow", "--tail", str(lines), *services)
        return CommandLine(tuple(argv), self.command.environment(), self.instance.directory)

    # ------------------------------------------------------------------------------------ inside

    def _gone(self, what: str, remove: Callable[[], object]) -> None:
        with translate_engine_errors(f"{what} cannot be removed"):
            try:
                remove()
            except Exception as error:
                if not absent(error):
                    raise

    def _shadowed_in(self, service: Service, binds: Sequence[Mount]) -> list[ShadowedFolder]:
        """Inspect the image through a container that is created but not started."""
        import docker

        api: Any = self.connection.api
        made = ""
        with translate_engine_errors(f"the image of {service.name} cannot be inspected"):
            try:
                made = api.create_container(
                    service.image,
                    entrypoint=["/quiesce/never-started"],
                    host_config=api.create_host_config(network_mode="none"),
                    labels=helper_labels("inspection"),
                )["Id"]
                seen = ((mount, self._entries(made, mount.target)) for mount in binds)
                return [
                    ShadowedFolder(service.name, mount.source, mount.target, entries)
                    for mount, entries in seen
                    if entries
                ]
            except docker.errors.ImageNotFound:
                return []
            finally:
                if made:
                    api.remove_container(made, v=True, force=True)

    def _entries(self, container: str, folder: str) -> tuple[str, ...]:
        """Return the first names in a folder of a container; none if it is not a folder."""
        api: Any = self.connection.api
        try:
            chunks, _ = api.get_archive(container, folder)
        except Exception as error:
            if absent(error):
                return ()
            raise
        names: list[str] = []
        # Only the beginning is read, whatever the size.
        with tarfile.open(fileobj=cast(IO[bytes], _Chunks(chunks)), mode="r|") as archive:
            for member in archive:
                inner = member.name.strip("/").partition("/")[2].partition("/")[0]
                if inner and inner not in names:
                    names.append(inner)
                if len(names) == _NAMES:
                    break
        getattr(chunks, "close", lambda: None)()
        return tuple(names)

    def _status_of_first_process(self, container: Inspected) -> str:
        api: Any = self.connection.api
        try:
            made = api.exec_create(container["Id"], list(_PROC_STATUS), stderr=False)
            output = api.exec_start(made["Id"])
        except Exception as error:  # noqa: BLE001  it ended meanwhile, or its image has no `cat`
            del error
            return ""
        return bytes(output).decode("ascii", "replace")

    def _running(self, service: str) -> Inspected:
        for container in self.units.containers():
            if service_of(container) == service and container["State"]["Status"] == "running":
                return container
        raise QuiesceError(
            f"service {service} is not running", f"start it with 'inv up --service {service}'"
        )


class _Chunks:
    """A stream over chunks of bytes."""

    def __init__(self, chunks: Any) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def ignores_stop_signal(status: str, number: int) -> bool:
    """Whether a container's first process ignores a signal, from its `/proc/<pid>/status`.

    The kernel delivers to the first process only signals that it handles (`SigCgt`). An init such
    as tini blocks its signals and waits for them (`SigBlk`).
    """
    masks = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    try:
        heard = int(masks["SigCgt"], 16) | int(masks["SigBlk"], 16)
    except (KeyError, ValueError):
        return False
    return not heard >> (number - 1) & 1


def _name_of(container: Mapping[str, Any]) -> str:
    return str((container.get("Names") or [container["Id"]])[0]).removeprefix("/")
