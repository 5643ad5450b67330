"""Finds data of the stack that stack.yaml neither names nor excludes, so that no set contains it.

`check` reports it, a backup ends with exit code 7 because of it, and a restore names it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from quiesce.errors import Busy, Interrupted, QuiesceError
from quiesce.model import PathEntry, Stack, StackFiles, Undeclared
from quiesce.observed import Mount, Service, VolumeState
from quiesce.plan.known_images import DATA_OF_MARIADB, DATA_OF_POSTGRES, is_system, why_never
from quiesce.ports import Runtime, VolumeIO

#: The engine's name of a volume that nobody named.
_ANONYMOUS = re.compile("[0-9a-f]{64}")
#: The reasons why sets never contain a file, whichever service mounts it. Each set names the file
#: with its reason.
_BY_RULE = ("a secret", "an env file")


@dataclass(frozen=True)
class Contents:
    """Reads the content of anonymous volumes, and the files of the stack that sets contain. Nothing
    is read before it is requested."""

    runtime: Runtime
    volumes: VolumeIO

    @cached_property
    def stack_files(self) -> StackFiles:
        """Return the files that every set contains below `stack/`."""
        return self.runtime.stack_files()

    def has_data(self, key: str, mount: Mount) -> bool:
        """Whether a volume contains a file that is not empty. A volume that cannot be read counts
        as containing one."""
        place = Path(mount.mountpoint) if mount.mountpoint else None
        state = VolumeState(key, mount.source, True, "local", {}, place, ())
        try:
            return self.volumes.measure(state).bytes > 0
        except (Busy, Interrupted):
            raise
        except QuiesceError:
            return True


def find_undeclared(
    stack: Stack,
    services: Sequence[Service],
    volumes: Iterable[VolumeState],
    databases: Iterable[str],
    *,
    local: bool,
    contents: Contents | None,
) -> tuple[Undeclared, ...]:
    """Return the undeclared volumes, mounted folders and files with data, and databases.

    `databases` are the names of undeclared databases on the servers. Folders and files of an engine
    on another machine (not `local`) cannot be read, so they are not checked. Without `contents`,
    anonymous volumes and single files are not checked either.
    """
    taken = _taken(stack, services)
    return (
        *_volumes(stack, services, volumes),
        *(_anonymous(stack, services, contents) if contents else ()),
        *(_folders(stack, services, taken) if local else ()),
        *(_files(stack, services, contents, taken) if local and contents else ()),
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


def anonymous_volumes(
    stack: Stack, services: Sequence[Service]
) -> Iterator[tuple[Service, Mount, str]]:
    """Yield each anonymous volume that a service can write to, with the name `SERVICE:/path`.
    stack.yaml uses this name to exclude it, because the volume's own name is random. Volumes of
    caches and logs are left out, and so is the data of a server whose databases are dumped.
    """
    servers = {database.service for database in stack.databases}
    for service in services:
        for mount in service.mounts:
            if mount.volume is None and mount.writable and _ANONYMOUS.fullmatch(mount.source):
                dumped = service.name in servers and is_data_of_server(mount.target)
                if not dumped and not why_never(mount.target):
                    yield service, mount, f"{service.name}:{mount.target.rstrip('/')}"


def is_data_of_server(target: str) -> bool:
    """Whether images of servers with a driver have their data at this path."""
    inner = PurePosixPath(target)
    return any(inner.is_relative_to(outer) for outer in (*DATA_OF_POSTGRES, *DATA_OF_MARIADB))


def _anonymous(
    stack: Stack, services: Sequence[Service], contents: Contents
) -> Iterator[Undeclared]:
    found: set[str] = set()
    for _, mount, key in anonymous_volumes(stack, services):
        # Each container of a service has a separate volume.
        if key in found or key in stack.excluded_volumes or not contents.has_data(key, mount):
            continue
        found.add(key)
        yield Undeclared(
            "volume",
            key,
            "is an anonymous volume and contains data, which no set can contain",
            f"if it need not be backed up, add to exclude_volumes:  {key}; otherwise, before the "
            "container is removed, copy it into a folder of 'paths' as docs/volumes.md says",
        )


def _files(
    stack: Stack, services: Sequence[Service], contents: Contents, taken: set[str]
) -> Iterator[Undeclared]:
    for source, service, reason in unkept_files(stack, services, contents):
        key = _free_key(source, taken)
        taken.add(key)
        yield Undeclared(
            "file",
            str(source),
            f"is mounted into {service}, which may write to it, and no set contains it"
            + (f": {reason}" if reason else ""),
            f"if it need not be backed up, add to paths:  {key}: {{path: {_shown(stack, source)}, "
            "backup: never}; otherwise move it into a folder of 'paths' as docs/volumes.md says",
        )


def unkept_files(
    stack: Stack, services: Sequence[Service], contents: Contents
) -> Iterator[tuple[Path, str, str]]:
    """Yield the single files that a service can write to and that no set contains: the file, the
    service, and why it is not among the stack's files in a set ("" if it is outside of the stack's
    folder)."""
    home = _real(stack.directory)
    for source, service in _writable_binds(services):
        if any(_lists(stack, entry, source) for entry in stack.paths):
            continue
        if is_system(str(source)) or not _is_file_with_data(source):
            continue
        real = _real(source)
        name = str(real.relative_to(home)) if real.is_relative_to(home) else str(source)
        if f"files/{name}" in contents.stack_files.kept:
            continue
        reasons = {one.file: one.reason for one in contents.stack_files.left_out}
        if (reason := reasons.get(name, "")) not in _BY_RULE:
            yield source, service, reason


def _taken(stack: Stack, services: Sequence[Service]) -> set[str]:
    """Return the keys that a new entry of `paths` cannot have."""
    taken = {entry.key for entry in stack.paths} | {volume.key for volume in stack.volumes}
    taken |= set(stack.excluded_volumes)
    return taken | {m.volume for s in services for m in s.mounts if m.volume is not None}


def _folders(stack: Stack, services: Sequence[Service], taken: set[str]) -> Iterator[Undeclared]:
    """Yield folders that a service can write to and that contain data: files and read-only mounts
    come with the code."""
    for source, service in _writable_binds(services):
        if any(_lists(stack, entry, source) for entry in stack.paths) or not _has_data(source):
            continue
        key = _free_key(source, taken)
        taken.add(key)
        line = f"add to paths:  {key}: {{path: {_shown(stack, source)}, backup: "
        inside = [e.key for e in stack.paths if source in e.path.parents and e.backup != "never"]
        if inside:
            # Of two kept folders, none may contain the other.
            rest = f", which contains path {inside[0]}, but stack.yaml does not list the rest of it"
            hint = f"list every other folder in it that you want to back up, then {line}never}}"
        else:
            rest = " and contains data, but stack.yaml does not list it"
            hint = f"{line}files}}; or with 'backup: never' if it need not be backed up"
        yield Undeclared("path", str(source), f"is mounted into {service}{rest}", hint)


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


def _writable_binds(services: Sequence[Service]) -> Iterator[tuple[Path, str]]:
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


def _is_file_with_data(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0
