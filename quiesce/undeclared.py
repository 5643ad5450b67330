"""Finds data of the stack that stack.yaml neither names nor excludes, so that no set contains it.

`check` reports it, a backup ends with exit code 7 because of it, and a restore names it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from quiesce.model import PathEntry, Stack, Undeclared
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
                    state.noun,
                    state.key,
                    f"is marked 'backup: by-dump', but no database of {users[0]} is declared",
                    f"add the databases of {users[0]} to databases:, or mark {state.key} "
                    "'backup: never'",
                )


def _folders(stack: Stack, services: Sequence[Service]) -> Iterator[Undeclared]:
    """Yield folders that a service can write to and that contain data: files and read-only mounts
    come with the code."""
    taken = {entry.key for entry in stack.paths} | {volume.key for volume in stack.volumes}
    taken |= set(stack.excluded_volumes)
    taken |= {m.volume for service in services for m in service.mounts if m.volume is not None}
    for source, service in _writable_folders(services):
        if any(_lists(stack, entry, source) for entry in stack.paths) or not _has_data(source):
            continue
        key = _free_key(source, taken)
        taken.add(key)
        yield Undeclared(
            "path",
            str(source),
            f"is mounted into {service} and contains data, but stack.yaml does not list it",
            f"add to paths:  {key}: {{path: {_shown(stack, source)}, backup: files}}; or with "
            "'backup: never' if it need not be backed up",
        )


def _lists(stack: Stack, entry: PathEntry, source: Path) -> bool:
    """Whether an entry of `paths` covers a mounted folder. One that is never kept and contains the
    stack itself says nothing about the folders in it."""
    if entry.backup == "never" and stack.directory.is_relative_to(entry.path):
        return source == entry.path
    return source.is_relative_to(entry.path) or _real(source).is_relative_to(_real(entry.path))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _shown(stack: Stack, source: Path) -> str:
    """Return a folder as stack.yaml should name it: relative to its own folder if it is inside."""
    if source.is_relative_to(stack.directory):
        return f"./{source.relative_to(stack.directory)}"
    return str(_real(source))


def _free_key(source: Path, taken: Collection[str]) -> str:
    """Return a key for `paths` from the folder's name, which is not taken."""
    base = re.sub("[^a-z0-9_-]+", "-", source.name.lower()).strip("-_") or "root"
    key, number = base, 1
    while key in taken:
        number += 1
        key = f"{base}-{number}"
    return key


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
