"""Finds data of the stack that stack.yaml neither names nor excludes, so that no set contains it.

`check` reports it, a backup ends with exit code 7 because of it, and a restore names it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from quiesce.model import Stack, Undeclared
from quiesce.observed import Mount, Service, VolumeState


def find_undeclared(
    stack: Stack,
    services: Sequence[Service],
    volumes: Iterable[VolumeState],
    databases: Iterable[str],
    *,
    local: bool,
) -> tuple[Undeclared, ...]:
    """Return the undeclared volumes, mounted folders with data, and databases.

    `databases` are the names of undeclared databases on the servers. Folders of an engine on
    another machine (not `local`) cannot be read, so they are not looked at.
    """
    return (
        *_volumes(stack, services, volumes),
        *(_folders(stack, services) if local else ()),
        *_databases(stack, databases),
    )


def _volumes(
    stack: Stack, services: Sequence[Service], volumes: Iterable[VolumeState]
) -> Iterator[Undeclared]:
    declared = {volume.key: volume for volume in stack.volumes}
    servers = {database.service for database in stack.databases}
    for state in volumes:
        if state.key in stack.excluded_volumes:
            continue
        if state.key not in declared:
            yield Undeclared(
                "volume",
                state.key,
                "exists in the Compose model, but stack.yaml neither lists nor excludes it",
                f"add to volumes:  {state.key}: {{purpose: …, priority: critical}}",
            )
        elif declared[state.key].backup == "by-dump":
            users = [s.name for s in services if any(m.volume == state.key for m in s.mounts)]
            if users and not servers.intersection(users):
                yield Undeclared(
                    "volume",
                    state.key,
                    f"is marked 'backup: by-dump', but no database of {users[0]} is declared",
                    f"add the databases of {users[0]} to databases:, or mark {state.key} "
                    "'backup: never'",
                )


def _folders(stack: Stack, services: Sequence[Service]) -> Iterator[Undeclared]:
    """Yield folders that a service can write to and that contain data: files and read-only mounts
    come with the code."""
    listed = [entry.path for entry in stack.paths]
    for source, service in _writable_folders(services):
        if any(source.is_relative_to(path) for path in listed) or not _has_data(source):
            continue
        shown = os.path.relpath(source, stack.directory)
        key = source.name.lower() or "root"
        yield Undeclared(
            "path",
            str(source),
            f"is mounted into {service} and contains data, but stack.yaml does not list it",
            f"add to paths:  {key}: {{path: {shown}, backup: never}}; sets contain named "
            "volumes only, so move data that must be backed up into a named volume",
        )


def _databases(stack: Stack, names: Iterable[str]) -> Iterator[Undeclared]:
    for name in names:
        if name not in stack.excluded_databases:
            yield Undeclared(
                "database",
                name,
                "exists on the server, but stack.yaml neither lists nor excludes it",
                f"add it to 'databases', or exclude it with exclude_databases: [{name}]",
            )


def _writable_folders(services: Sequence[Service]) -> Iterator[tuple[Path, str]]:
    seen: set[str] = set()
    for service in services:
        for mount in service.mounts:
            if _is_writable_bind(mount) and mount.source not in seen:
                seen.add(mount.source)
                yield Path(mount.source), service.name


def _is_writable_bind(mount: Mount) -> bool:
    return mount.volume is None and mount.writable and mount.source.startswith("/")


def _has_data(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except NotADirectoryError:
        return False
    except OSError:
        # Unreadable: assume that it contains data.
        return folder.is_dir()
