"""Reads the Compose files of a folder, whether or not it has a `stack.yaml` yet."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from quiesce.adapters.compose.address import Address, find_address
from quiesce.adapters.compose.cli import ComposeCommand
from quiesce.adapters.compose.model import ComposeModel, declaration_order, parse_model
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Instance

_LABEL = "com.docker.compose"


@dataclass(frozen=True, slots=True)
class Discovered:
    """A Compose model, resolved with every profile. It contains secrets.

    `written` are the services with references to variables, as they are written. `profiles` are the
    active profiles.
    """

    project: str
    files: tuple[Path, ...]
    env_files: tuple[Path, ...]
    profiles: frozenset[str]
    model: ComposeModel
    services: Mapping[str, Mapping[str, Any]] = field(repr=False)
    written: Mapping[str, Mapping[str, Any]] = field(repr=False)
    secrets: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def environments(self) -> Mapping[str, Mapping[str, str]]:
        """Return the environment of each service. Compose prints `$` as `$$`."""
        return {
            name: {
                key: str(value).replace("$$", "$")
                for key, value in (entry.get("environment") or {}).items()
                if value is not None
            }
            for name, entry in self.services.items()
        }


@dataclass(frozen=True, slots=True)
class Container:
    """A running container that was created from a folder's Compose files."""

    project: str
    service: str
    name: str


class ComposeDiscovery:
    """Reads the Compose files of an instance and finds the containers made from its folder."""

    def __init__(self, instance: Instance, environment: Mapping[str, str] | None = None) -> None:
        self._instance = instance
        self._outer = dict(os.environ if environment is None else environment)

    def discover(self) -> Discovered:
        """Return the model. Raise RequestError if there is no Compose file or it is wrong."""
        files = self._compose.files()
        if not files:
            raise RequestError(
                f"there is no Compose file in {self._instance.directory}",
                "run this in the folder of the Compose file, or name it with --files",
            )
        try:
            done = self._compose.run("config", "--format", "json", profiles=("*",))
            config = json.loads(done.stdout)
        except RequestError:
            raise
        except QuiesceError as error:
            raise RequestError(
                f"{files[0].name} cannot be used",
                "correct it until 'docker compose config' succeeds",
                details=error.details,
            ) from None
        profiles = self._compose.profiles()
        return Discovered(
            project=str(config.get("name") or ""),
            files=files,
            env_files=self._compose.env_files(),
            profiles=profiles,
            model=parse_model(config, declaration_order(files), profiles),
            services=config.get("services") or {},
            written=self._written(str(config.get("name") or "")),
            secrets=config.get("secrets") or {},
        )

    def containers(self) -> tuple[Container, ...]:
        """Return the running containers of this folder's Compose files, in any project."""
        folder = os.path.realpath(self._instance.directory)
        form = "\t".join(
            f'{{{{.Label "{_LABEL}.{name}"}}}}' for name in ("project", "service", "oneoff")
        )
        output = self._compose.docker(
            "ps",
            "--filter",
            f"label={_LABEL}.project.working_dir={folder}",
            "--format",
            form + "\t{{.Names}}",
            timeout=30,
        )
        rows = [line.split("\t") for line in output.splitlines()]
        return tuple(
            Container(project, service, name)
            for project, service, once, name in rows
            if once != "True"
        )

    def image_volumes(self, image: str) -> tuple[str, ...]:
        """Return the paths at which a container of this image gets an anonymous volume, if nothing
        else is mounted there; none if the image is not on the engine."""
        form = "{{json .Config.Volumes}}"
        try:
            output = self._compose.docker("image", "inspect", "--format", form, image, timeout=30)
        except QuiesceError:
            return ()
        return tuple(json.loads(output or "null") or ())

    def _written(self, project: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the services with their variables unresolved; nothing if Compose cannot."""
        # Unresolved, `name:` of a file may be no valid name.
        named = ComposeCommand(replace(self._instance, project=project), self._address, self._outer)
        try:
            done = named.run("config", "--no-interpolate", profiles=("*",))
            found = yaml.safe_load(done.stdout) or {}
        except (QuiesceError, yaml.YAMLError):
            return {}
        services = found.get("services")
        return services if isinstance(services, dict) else {}

    @cached_property
    def _address(self) -> Address:
        return find_address(self._instance.context, self._outer, Path.home())

    @cached_property
    def _compose(self) -> ComposeCommand:
        return ComposeCommand(self._instance, self._address, self._outer)
