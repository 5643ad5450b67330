"""Finds containers outside of the project that may write to what its services write to.

Docker can mount a volume into any number of containers. Two database servers on one data directory
destroy it, and neither notices the other: the lock file of a server in another container names a
process that does not exist here. So no service is started beside such a container.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quiesce.adapters.compose.engine import (
    LABEL_HELPER,
    LABEL_PROJECT,
    EngineConnection,
    absent,
    translate_engine_errors,
)
from quiesce.adapters.compose.inspected import LABEL_ONEOFF, LABEL_PROJECT_NAME, Inspected
from quiesce.adapters.compose.model import ComposeModel
from quiesce.model import Stack
from quiesce.observed import ForeignMount, Mount

#: Where PostgreSQL images keep their data, unless PGDATA is set.
_DATA_FOLDERS = (
    "/var/lib/postgresql",
    "/var/lib/pgsql",
    "/bitnami/postgresql",
    "/home/postgres",
)


#: Data folders of database servers that no image uses for anything else. They count for services
#: without a declared database, too.
_ONLY_SERVERS = (
    "/var/lib/postgresql",
    "/var/lib/pgsql",
    "/var/lib/mysql",
    "/data/db",
    "/bitnami/postgresql",
    "/bitnami/mariadb",
    "/bitnami/mysql",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Something that a service writes to: a volume by its real name, or a folder by its path.

    `device` is the folder behind a volume, if it is a bind.
    """

    shown: str
    name: str
    device: str = ""
    server: bool = False


@dataclass(frozen=True, slots=True)
class _Writer:
    container: str
    project: str
    own: bool
    mounts: tuple[Mapping[str, Any], ...]


class ForeignWriters:
    """The external containers that can write, on one engine at one time."""

    def __init__(self, connection: EngineConnection, stack: Stack) -> None:
        self._connection = connection
        self._project = stack.instance.project
        self._ignored = frozenset(stack.ignored_writers)
        self._servers = frozenset(database.service for database in stack.databases)
        self._by_dump = frozenset(v.key for v in stack.volumes if v.backup == "by-dump")
        self._writers = self._list()
        self._devices: dict[str, str] = {}

    @property
    def any_writable(self) -> bool:
        """Whether any container outside of the project has a writable mount."""
        return bool(self._writers)

    def places(
        self,
        service: str,
        mounts: Sequence[Mount],
        model: ComposeModel | None,
        data_folder: str = "",
    ) -> tuple[Place, ...]:
        """Return where a service writes. Among folders, only the data directory of a database
        server counts: source code and sockets are shared on purpose."""
        found = []
        for mount in mounts:
            if not mount.writable:
                continue
            server = _is_in(mount.target, _ONLY_SERVERS) or (
                service in self._servers
                and (mount.volume in self._by_dump or _holds_data(mount.target, data_folder))
            )
            declared = model.volumes.get(mount.volume) if model and mount.volume else None
            if declared is not None:
                device = device_of(declared.driver, declared.options)
                found.append(Place(declared.key, declared.name, device, server))
            elif mount.source.startswith("/"):
                if server:
                    found.append(Place(mount.source, mount.source, mount.source, server))
            elif mount.source:
                found.append(Place(mount.volume or mount.source, mount.source, "", server))
        return tuple(found)

    def at(self, places: Sequence[Place]) -> tuple[ForeignMount, ...]:
        """Return the external containers that may write to these places now."""
        found: dict[ForeignMount, None] = {}
        for writer in self._writers:
            for place in places:
                # One-offs of the project and ignored containers are harmless, except beside a
                # database server.
                harmless = writer.own or writer.container in self._ignored
                if harmless and not place.server:
                    continue
                if any(self._is_there(mount, place) for mount in writer.mounts):
                    project = writer.project
                    found[ForeignMount(writer.container, project, place.shown, place.server)] = None
        return tuple(found)

    def _list(self) -> tuple[_Writer, ...]:
        with translate_engine_errors("the running containers cannot be listed"):
            running = self._connection.api.containers()
        found = []
        for entry in running:
            labels = entry.get("Labels") or {}
            project = str(labels.get(LABEL_PROJECT_NAME, ""))
            own = project == self._project
            helper = LABEL_HELPER in labels and labels.get(LABEL_PROJECT) == self._project
            if helper or (own and labels.get(LABEL_ONEOFF) != "True"):
                continue
            mounts = tuple(mount for mount in entry.get("Mounts") or () if mount.get("RW"))
            if mounts:
                name = str((entry.get("Names") or [entry["Id"]])[0]).removeprefix("/")
                found.append(_Writer(name, project, own, mounts))
        return tuple(found)

    def _is_there(self, mount: Mapping[str, Any], place: Place) -> bool:
        source = str(mount.get("Source") or "").rstrip("/")
        if mount.get("Type") == "bind":
            inside_volume = not place.name.startswith("/") and source.endswith(
                f"/volumes/{place.name}/_data"
            )
            return inside_volume or (place.device != "" and _is_same(mount, source, place))
        name = str(mount.get("Name") or "")
        if mount.get("Type") != "volume" or not name:
            return False
        return name == place.name or (place.device != "" and self._device_of(name) == place.device)

    def _device_of(self, volume: str) -> str:
        if volume not in self._devices:
            self._devices[volume] = ""
            with translate_engine_errors(f"volume {volume} cannot be inspected"):
                try:
                    found: Any = self._connection.api.inspect_volume(volume)
                except Exception as error:
                    if not absent(error):
                        raise
                else:
                    self._devices[volume] = device_of(
                        found.get("Driver"), found.get("Options") or {}
                    )
        return self._devices[volume]


def data_folder_of(containers: Collection[Inspected]) -> str:
    """Return PGDATA of these containers of one service, "" if none sets it."""
    for container in containers:
        for line in container["Config"].get("Env") or ():
            name, _, value = str(line).partition("=")
            if name == "PGDATA":
                return value
    return ""


def _holds_data(target: str, data_folder: str) -> bool:
    """Whether a mount at `target` contains a server's data directory, or is inside it."""
    folders = (data_folder,) if data_folder else _DATA_FOLDERS
    inner = f"{target.rstrip('/')}/"
    return any(
        inner.startswith(f"{folder.rstrip('/')}/") or f"{folder.rstrip('/')}/".startswith(inner)
        for folder in folders
    )


def _is_in(target: str, folders: Collection[str]) -> bool:
    """Whether a path in a container is one of these folders, or below it."""
    return any(f"{target.rstrip('/')}/".startswith(f"{folder}/") for folder in folders)


def _is_same(mount: Mapping[str, Any], source: str, place: Place) -> bool:
    """Whether a mounted folder is the place. For a database server, a folder inside it counts too,
    and so does one around it that another server uses as its data directory. Other programs, such
    as file managers, are given whole trees on purpose."""
    theirs, own = Path(os.path.realpath(source)), Path(os.path.realpath(place.device))
    if theirs == own or not place.server:
        return theirs == own
    around = own.is_relative_to(theirs) and _is_in(str(mount.get("Destination")), _ONLY_SERVERS)
    return theirs.is_relative_to(own) or around


def device_of(driver: object, options: Mapping[str, str]) -> str:
    """Return the folder behind a bind volume of the local driver."""
    device = str(options.get("device", "")).rstrip("/")
    plain = driver == "local" and device.startswith("/") and "bind" in str(options.get("o", ""))
    return device if plain else ""
