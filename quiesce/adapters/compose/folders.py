"""Entries of `paths` on an engine: their folders, and which services and containers mount them.

A service reaches such a folder through a bind mount of it, of a folder in it or of one that
contains it, or through a volume that is such a bind.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quiesce.adapters.compose.engine import (
    LABEL_HELPER,
    LABEL_PROJECT,
    EngineConnection,
    translate_engine_errors,
)
from quiesce.adapters.compose.engine_folder import exists_on_engine
from quiesce.adapters.compose.external_users import device_of
from quiesce.adapters.compose.inspected import LABEL_ONEOFF, LABEL_PROJECT_NAME
from quiesce.adapters.compose.model import ComposeModel
from quiesce.errors import RequestError
from quiesce.model import Volume
from quiesce.observed import Mount, Service, VolumeState

_AWAKE = ("running", "restarting")


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of declared paths, on the engine of one project. `images` returns images that
    are on that engine."""

    declared: tuple[Volume, ...]
    connection: EngineConnection
    project: str
    images: Callable[[], Sequence[str]]

    @property
    def local(self) -> bool:
        """Whether the engine may share this machine's files: then links are followed here."""
        return self.connection.engine().local

    def real(self, path: str) -> Path:
        """Return a folder without links."""
        return Path(os.path.realpath(path) if self.local else os.path.normpath(path))

    def reached(self, source: str) -> list[str]:
        """Return the keys of the paths that a mount of this folder reaches."""
        if not source.startswith("/") or not self.declared:
            return []
        mounted = self.real(source)
        return [
            entry.key for entry in self.declared if overlap(mounted, self.real(str(entry.folder)))
        ]

    def with_mounts(
        self, services: Iterable[Service], model: ComposeModel | None
    ) -> tuple[Service, ...]:
        """Return the services with an additional mount for each path that they reach."""
        devices = _devices(model)
        return tuple(
            replace(service, mounts=(*service.mounts, *self._more(service.mounts, devices)))
            for service in services
        )

    def _more(self, mounts: Sequence[Mount], devices: Mapping[str, str]) -> list[Mount]:
        found: dict[Mount, None] = {}
        for mount in mounts:
            source = mount.source if mount.volume is None else devices.get(mount.volume, "")
            for key in self.reached(source):
                found[Mount(key, source, mount.target, mount.writable)] = None
        return list(found)

    def states(
        self, sources: Sequence[Volume], model: ComposeModel | None
    ) -> tuple[VolumeState, ...]:
        """Return the state of the folders among these sources, with the external containers that
        use them. Raise RequestError for one that is not a folder or, with `model`, that shares
        files with another source."""
        wanted = [volume for volume in sources if volume.folder is not None]
        if not wanted:
            return ()
        if model is not None:
            self.refuse_overlaps(model)
        with translate_engine_errors("the containers that use folders cannot be listed"):
            everyone = self.connection.api.containers(all=True)
        others = [entry for entry in everyone if not _is_own(entry, self.project)]
        return tuple(self._state(entry, others) for entry in wanted)

    def _state(self, entry: Volume, others: Sequence[Mapping[str, Any]]) -> VolumeState:
        folder = self.real(str(entry.folder))
        there = _is_there(entry.key, folder) if self.local else None
        if there is None:
            there = exists_on_engine(self.connection, folder, self.images())
        uses = [
            (str((other.get("Names") or [other["Id"]])[0]).removeprefix("/"), other, mount)
            for other in others
            for mount in other.get("Mounts") or ()
            if self._counts(mount, folder)
        ]
        return VolumeState(
            key=entry.key,
            name=str(folder),
            exists=there,
            driver="bind",
            options={},
            mountpoint=folder if self.local else None,
            outside=tuple(sorted({name for name, _, _ in uses})),
            outside_writers=tuple(
                sorted({name for name, o, m in uses if m.get("RW") and o.get("State") in _AWAKE})
            ),
        )

    def _counts(self, mount: Mapping[str, Any], folder: Path) -> bool:
        """Whether an external container uses the folder through this mount. A container that only
        reads a parent folder, as monitors do, does not count as a user."""
        source = str(mount.get("Source") or "")
        if not source.startswith("/"):
            return False
        mounted = self.real(source)
        return mounted.is_relative_to(folder) or (
            folder.is_relative_to(mounted) and bool(mount.get("RW"))
        )

    def refuse_overlaps(self, model: ComposeModel) -> None:
        """Raise RequestError for paths that share files with each other or with a volume, or have
        the key of a volume."""
        devices = _devices(model)
        docker = Path(str(self.connection.info.get("DockerRootDir") or "/var/lib/docker"))
        seen: dict[Path, str] = {}
        for entry in self.declared:
            folder = self.real(str(entry.folder))
            if entry.key in model.volumes:
                raise RequestError(
                    f"path {entry.key} has the same key as a volume of the Compose file",
                    f"give it another key in paths, such as {entry.key}-folder",
                )
            if overlap(folder, docker):
                raise RequestError(
                    f"path {entry.key} ({folder}) shares files with the engine's own folder "
                    f"{docker}",
                    "declare named volumes under volumes, and remove this path from stack.yaml",
                )
            for key, device in devices.items():
                if overlap(folder, self.real(device)):
                    raise RequestError(
                        f"path {entry.key} ({folder}) shares files with volume {key}, which is "
                        f"the folder {device}",
                        f"keep one of them: remove path {entry.key} from stack.yaml, and declare "
                        f"{key} under volumes",
                    )
            for other, key in seen.items():
                if overlap(folder, other):
                    raise RequestError(
                        f"path {entry.key} ({folder}) shares files with path {key} ({other})",
                        "keep the outer folder only, or move one of them beside the other",
                    )
            seen[folder] = entry.key


def overlap(one: Path, other: Path) -> bool:
    """Whether one folder is the other, or contains it."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def _devices(model: ComposeModel | None) -> dict[str, str]:
    """Return the folders behind volumes that are binds, by key."""
    every = model.volumes.values() if model is not None else ()
    found = {volume.key: device_of(volume.driver, volume.options) for volume in every}
    return {key: device for key, device in found.items() if device}


def _is_own(entry: Mapping[str, Any], project: str) -> bool:
    """Whether a container is a unit of the project, or one of its helpers."""
    labels = entry.get("Labels") or {}
    ours = labels.get(LABEL_PROJECT_NAME) == project and labels.get(LABEL_ONEOFF) != "True"
    return ours or (LABEL_HELPER in labels and labels.get(LABEL_PROJECT) == project)


def _is_there(key: str, folder: Path) -> bool | None:
    """Whether the folder exists here; None if this user cannot tell."""
    try:
        mode = folder.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    if not stat.S_ISDIR(mode):
        raise RequestError(
            f"path {key} is not a folder: {folder}",
            f"remove {key} from paths in stack.yaml; single files cannot be backed up",
        )
    return True
