"""Refuses plans that entries of `paths` rule out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from quiesce.errors import RequestError
from quiesce.model import Stack, Volume
from quiesce.observed import Observed, Service


def require_folders(volumes: Sequence[Volume], observed: Observed) -> None:
    """Raise RequestError for a path whose folder does not exist: its disk may not be mounted."""
    for volume in volumes:
        if volume.folder is not None and not observed.volume(volume.key).exists:
            raise RequestError(
                f"path {volume.key} does not exist: there is no folder {volume.folder}",
                "if it is on a separate disk, mount that disk; otherwise create the folder, or "
                f"correct paths.{volume.key} in stack.yaml",
            )


def refuse_server(stack: Stack, service: Service, key: str) -> RequestError:
    """Return the error for files to archive that a server, which keeps running, may write to."""
    volume = stack.volume(key)
    noun = volume.noun
    fact = f"{service.name} is a database server and writes to {noun} {key}"
    inner = next(
        (
            mount.source
            for mount in service.mounts
            if mount.volume == key
            and mount.writable
            and volume.folder in PurePath(mount.source).parents
        ),
        None,
    )
    if inner is not None:
        return RequestError(
            f"{fact}: its folder {inner} is inside of {volume.folder}",
            f"replace {noun} {key} in stack.yaml by those folders in it that are to be backed "
            f"up, and mark {inner} 'backup: by-dump'",
        )
    hint = (
        f"mark {noun} {key} 'backup: by-dump' in stack.yaml if it contains only declared "
        "databases; 'backup: never' leaves it out of every set"
    )
    if noun == "path":
        hint += f"; if {service.name} only reads it, mount it read-only (':ro') in the Compose file"
    return RequestError(fact, hint)


def refuse_servers(stack: Stack, observed: Observed) -> tuple[RequestError, ...]:
    """Return an error for each kept volume or path that a database server may write to."""
    servers = {database.service for database in stack.databases}
    kept = {volume.key for volume in stack.volumes if volume.backup == "files"}
    return tuple(
        refuse_server(stack, service, key)
        for service in observed.services
        if service.name in servers
        for key in dict.fromkeys(m.volume for m in service.mounts if m.writable)
        if key in kept
    )
