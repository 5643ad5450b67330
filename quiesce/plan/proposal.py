"""Turns what was found in a folder into entries of `stack.yaml`. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import PurePosixPath

from quiesce.model import engine_of, is_default, title_of
from quiesce.observed import Mount
from quiesce.plan.found import FoundFolder, FoundProbe, FoundServer, FoundService, FoundStack
from quiesce.plan.known_images import is_system, why_never

#: What cannot be a key is replaced by a dash.
_NOT_A_KEY = re.compile(r"[^A-Za-z0-9._-]+")
#: Without a named volume, they are used as caches: `docker compose down` already empties them.
_STORES_OF_CACHES = ("Redis", "memcached")
_REASONS = {
    "cache": "a cache: it is filled again",
    "logs": "logs",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a section. `comments` are lines above it. `fields` are keys and their texts."""

    section: str
    key: str
    fields: tuple[tuple[str, str], ...]
    comments: tuple[str, ...] = ()

    def field(self, name: str) -> str:
        """Return the text of a field, "" if it is not there."""
        return dict(self.fields).get(name, "")


@dataclass(frozen=True, slots=True)
class Proposal:
    """What stack.yaml should say. `asides` are comments about what no section lists, by section.
    `excluded` are anonymous volumes for `exclude_volumes`."""

    found: FoundStack
    databases: tuple[Entry, ...]
    volumes: tuple[Entry, ...]
    paths: tuple[Entry, ...]
    order: tuple[str, ...]
    probes: tuple[FoundProbe, ...]
    asides: tuple[tuple[str, str], ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        return (*self.databases, *self.volumes, *self.paths)


def propose(found: FoundStack) -> Proposal:
    """Return the entries for everything that was found, each with its reason."""
    paths, asides = _paths(found)
    excluded, unnamed = _anonymous(found)
    return Proposal(
        found=found,
        databases=tuple(_databases(found)),
        volumes=tuple(_volumes(found)),
        paths=tuple(paths),
        order=_order(found.services),
        probes=tuple(probe for service in found.services for probe in service.probes),
        asides=(*_idle_servers(found), *unnamed, *asides),
        excluded=excluded,
    )


# ------------------------------------------------------------------------------------- databases


def _databases(found: FoundStack) -> Iterator[Entry]:
    taken: set[str] = set()
    for server in _servers(found):
        for name in server.databases:
            key = _unique(_key(name, server.service), server.service, taken)
            values = [] if is_default(server.engine) else [("engine", server.engine)]
            values += [("service", server.service)]
            values += [("name", name)] if key != name else []
            values += (
                [("user", server.user)] if server.user != engine_of(server.engine).user else []
            )
            values += [server.password] if server.password else []
            yield Entry("databases", key, tuple(values), _about_server(server, name))


def _servers(found: FoundStack) -> list[FoundServer]:
    """Return the servers whose databases can be dumped: those that run when the stack does."""
    return [s.server for s in found.services if s.server and (s.active or s.running)]


def _about_server(server: FoundServer, name: str) -> tuple[str, ...]:
    if name != server.databases[0]:
        return ()
    if server.asked:
        return (f"{server.service}: these are the databases of the running server",)
    why = f": {server.problem}" if server.problem else ", because it does not run"
    return (
        f"{server.service}: from the service's environment; the server was not asked{why}.",
        "Run 'init' again when the server runs, to see the databases that are missing here.",
    )


def _idle_servers(found: FoundStack) -> Iterator[tuple[str, str]]:
    for service in found.services:
        if service.server and not service.active and not service.running:
            yield (
                "databases",
                f"{service.name} is a {title_of(service.server.engine)} server of the profile "
                f"{', '.join(service.profiles)}, which is not active: add its databases here, and "
                "the profile to the instance, if you use it",
            )


# --------------------------------------------------------------------------------------- volumes


def _volumes(found: FoundStack) -> Iterator[Entry]:
    for volume in found.volumes:
        users = [
            (service, mount)
            for service in found.services
            for mount in service.mounts
            if mount.volume == volume
        ]
        way, about = _kind(users)
        values = [("purpose", about.purpose), ("priority", about.priority)]
        values += [("backup", way)] if way != "files" else []
        comments = [*about.comments]
        if volume in found.external:
            comments.append("declared as external in the Compose file; other stacks may use it")
        yield Entry("volumes", volume, tuple(values), tuple(comments))


@dataclass(frozen=True, slots=True)
class _About:
    purpose: str
    priority: str
    comments: tuple[str, ...] = ()


def _kind(users: Collection[tuple[FoundService, Mount]]) -> tuple[str, _About]:
    """Return how something that is mounted like this is backed up, and what it is."""
    for service, mount in users:
        if service.server and _is_data(service.server, mount.target):
            return _kind_of_data(service, title_of(service.server.engine))
    if not users:
        return "files", _About("mounted by no service", "important")
    names = ", ".join(dict.fromkeys(service.name for service, _ in users))
    reasons = {why_never(mount.target) for _, mount in users}
    if len(reasons) == 1 and (reason := reasons.pop()):
        target = main_target(users)
        comment = f"not backed up: {target} of {names} is {_REASONS[reason]}"
        priority = "regenerable" if reason == "cache" else "optional"
        return "never", _About(f"{reason.capitalize()} of {names}", priority, (comment,))
    store = next((service.stores for service, _ in users if service.stores), "")
    if store == "memcached":
        return "never", _About(f"memcached of {names}", "regenerable", ("not backed up: a cache",))
    if store:
        comment = (
            f"{store} has no dump here: its files are archived while {names} is stopped; "
            "a backup with --mode live may be unusable"
        )
        return "files", _About(f"{store} data of {names}", "important", (comment,))
    return "files", _About(f"{main_target(users)} of {names}", "important")


def _kind_of_data(service: FoundService, title: str) -> tuple[str, _About]:
    purpose = f"{title} data of {service.name}"
    if service.active or service.running:
        return "by-dump", _About(purpose, "critical")
    comment = f"{service.name} does not run: its profile is not active"
    return "files", _About(purpose, "important", (comment,))


def _is_data(server: FoundServer, target: str) -> bool:
    inner, outer = PurePosixPath(target), PurePosixPath(server.data)
    return inner == outer or outer in inner.parents or inner in outer.parents


def main_target(users: Collection[tuple[FoundService, Mount]]) -> str:
    """Return the mount path that most of the users have."""
    targets = [mount.target for _, mount in users]
    return max(targets, key=targets.count)


def _anonymous(found: FoundStack) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return the anonymous volumes that need not be kept, and comments about the others."""
    every = [(service, target) for service in found.services for target in service.anonymous]
    caches = tuple(f"{s.name}:{target}" for s, target in every if s.stores in _STORES_OF_CACHES)
    others = tuple(
        (
            "volumes",
            f"{service.name}:{target} is an anonymous volume, which no set contains. If it need "
            "not be backed up, add it to exclude_volumes; otherwise see docs/volumes.md",
        )
        for service, target in every
        if service.stores not in _STORES_OF_CACHES
    )
    return caches, others


# ----------------------------------------------------------------------------------------- paths

_Users = list[tuple[FoundService, Mount]]


def _paths(found: FoundStack) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Return the entries for mounted folders, and comments about what is mounted besides."""
    mounted: dict[str, _Users] = {}
    for service in found.services:
        for mount in service.mounts:
            if mount.source in found.folders:
                mounted.setdefault(mount.source, []).append((service, mount))
    # Volumes and paths share one namespace.
    taken = {volume.lower() for volume in found.volumes}
    kept: dict[str, str] = {}
    entries: list[Entry] = []
    asides: list[tuple[str, str]] = []
    servers = [one for one, users in mounted.items() if _kind(users)[0] == "by-dump"]
    # An outer folder comes before those inside of it.
    for source, users in sorted(mounted.items()):
        folder = found.folders[source]
        names = ", ".join(dict.fromkeys(service.name for service, _ in users))
        aside = _not_listed(source, folder, users, found)
        way, about = _kind_of_path(folder, users, names)
        outer = next((one for one in kept if _is_inside(source, one)), None)
        server = next((one for one in servers if _is_inside(one, source)), None)
        if aside is None and way == "files" and server is not None:
            aside = (
                f"contains {found.folders[server].shown}, which a database server writes to. List "
                "the other folders in it that are to be backed up, then "
                f"{folder.shown} with 'backup: never'"
            )
        if aside is None and outer is not None:
            aside = f"inside of {kept[outer]}"
        if aside is not None:
            asides += [("paths", f"{folder.shown} of {names}: {aside}")] if aside else []
            continue
        if way != "never":
            kept[source] = folder.shown
        key = _unique(_key(PurePosixPath(source).name, "path"), users[0][0].name, taken)
        entries.append(_path_entry(key, folder, way, about, f"{main_target(users)} of {names}"))
    return entries, asides


def _kind_of_path(folder: FoundFolder, users: _Users, names: str) -> tuple[str, _About]:
    if folder.kind != "file":
        return _kind(users)
    comment = f"a single file: {folder.unkept}; keep a copy of it elsewhere"
    return "never", _About(f"{main_target(users)} of {names}", "important", (comment,))


def _path_entry(key: str, folder: FoundFolder, way: str, about: _About, where: str) -> Entry:
    comments = [f"{where}{_size(folder)}", *about.comments]
    values = [("path", folder.shown), ("purpose", about.purpose), ("priority", about.priority)]
    return Entry("paths", key, (*values, ("backup", way)), tuple(comments))


def _is_inside(source: str, outer: str) -> bool:
    return PurePosixPath(outer) in PurePosixPath(source).parents


def _not_listed(source: str, folder: FoundFolder, users: _Users, found: FoundStack) -> str | None:
    """Return why a mounted path is not listed, "" if nobody needs to know, None if it is listed."""
    if folder.kind == "special" or is_system(source):
        return ""
    if folder.unkept:
        return None if "secret" in folder.unkept else _lacking(folder, users)
    if folder.kind == "file":
        return "a single file, which sets contain under stack/files"
    if not any(mount.writable for _, mount in users):
        return "mounted read-only, so it is not data of this stack"
    if source in found.reserved:
        return (
            "contains the files of the stack itself; list only the folders in it that contain data"
        )
    return None


def _lacking(folder: FoundFolder, users: _Users) -> str:
    return (
        f"a single file that no set contains ({folder.unkept}). Move it into a folder that "
        f"{users[0][0].name} mounts, as docs/volumes.md says, or list it with 'backup: never'"
    )


def _size(folder: FoundFolder) -> str:
    if folder.kind == "file":
        return ""
    if folder.kind == "missing":
        return ": does not exist yet"
    if folder.files is None or folder.bytes is None:
        return ": size unknown"
    over = "more than " if folder.more else ""
    files = "1 file" if folder.files == 1 else f"{folder.files:,} files"
    return f": {over}{human_bytes(folder.bytes)} in {files}"


def human_bytes(number: int) -> str:
    """Return a number of bytes in decimal units."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


# ------------------------------------------------------------------------------------------ names


def _key(name: str, otherwise: str) -> str:
    key = _NOT_A_KEY.sub("-", name).strip("-.")[:60]
    return key or otherwise


def _unique(key: str, owner: str, taken: set[str]) -> str:
    """Return the key, or one that names its owner, or one with a number. Case does not count."""
    numbered = (f"{owner}-{key}-{number}" for number in count(2))
    candidates = chain((key, f"{owner}-{key}"), numbered)
    chosen = next(one for one in candidates if one.lower() not in taken)
    taken.add(chosen.lower())
    return chosen


def _order(services: Iterable[FoundService]) -> tuple[str, ...]:
    """Return the active services, each after those that it depends on, else as declared.

    Nothing if no service depends on another.
    """
    there = {service.name: service for service in services if service.active or service.running}
    if not any(set(service.depends_on) & set(there) for service in there.values()):
        return ()
    done: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in done or name in path or name not in there:
            return
        for other in there[name].depends_on:
            visit(other, (*path, name))
        done[name] = None

    for name in there:
        visit(name, ())
    return tuple(done)


# -------------------------------------------------------------------------------- what is missing


def missing(
    proposal: Proposal,
    databases: Collection[tuple[str, str]],
    volumes: Collection[str],
    paths: Collection[str],
    excluded: Collection[str] = (),
) -> Proposal:
    """Return the entries that are missing from a stack.yaml. It has these databases (service and
    name), volumes and absolute paths."""
    shown = {folder.shown: source for source, folder in proposal.found.folders.items()}

    def is_listed(entry: Entry) -> bool:
        source = PurePosixPath(shown[entry.field("path")])
        return any(source == PurePosixPath(p) or PurePosixPath(p) in source.parents for p in paths)

    return replace(
        proposal,
        databases=tuple(
            entry
            for entry in proposal.databases
            if (entry.field("service"), entry.field("name") or entry.key) not in databases
        ),
        volumes=tuple(entry for entry in proposal.volumes if entry.key not in volumes),
        paths=tuple(entry for entry in proposal.paths if not is_listed(entry)),
        excluded=tuple(key for key in proposal.excluded if key not in excluded),
    )
