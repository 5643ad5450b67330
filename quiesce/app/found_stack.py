"""Reads the facts for `init` from the Compose model, this machine's folders and the servers."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiesce.errors import QuiesceError
from quiesce.plan.found import FoundFolder, FoundProbe, FoundService, FoundStack
from quiesce.plan.found_servers import find_server
from quiesce.plan.known_images import NOT_HTTP, is_system, stores, url_of, why_never
from quiesce.undeclared import is_data_of_server

if TYPE_CHECKING:
    from quiesce.adapters.compose.discovery import ComposeDiscovery, Container, Discovered
    from quiesce.model import Instance

#: At most so many entries of a folder are counted: its size is only a comment.
MOST_ENTRIES = 200_000


def find_stack(
    instance: Instance,
    discovery: ComposeDiscovery,
    environ: Mapping[str, str],
    warn: Callable[[str], None],
) -> FoundStack:
    """Return what the Compose files say, which services run, and how large folders are.

    `instance` has the variables of the env files. Raise RequestError if Compose cannot be used; an
    engine that does not answer is a warning. No server is asked.
    """
    seen = discovery.discover()
    try:
        containers: tuple[Container, ...] = discovery.containers()
    except QuiesceError as error:
        warn(f"cannot ask the engine which services run: {error.fact}")
        containers = ()
    project, notes = _project(seen.project, containers)
    running = {one.service for one in containers if one.project == project}
    folder = instance.directory
    defined = {name for name, value in instance.environment.items() if value}
    services = tuple(
        _service(one.name, seen, running, defined, lambda path: _shown(path, folder))
        for one in seen.model.services
    )
    found = FoundStack(
        project=project,
        compose_file=", ".join(_shown(str(path), folder) for path in seen.files),
        services=services,
        volumes=tuple(seen.model.volumes),
        external=frozenset(key for key, one in seen.model.volumes.items() if one.external),
        files=tuple(map(str, instance.files)),
        context=instance.context or "",
        profiles=_profiles(services, seen.profiles) or instance.profiles,
        timezone="" if "TZ" in instance.environment else _timezone(environ),
        notes=notes,
    )
    found = replace(
        found,
        services=tuple(
            replace(s, anonymous=_anonymous(s, seen, discovery))
            if s.active and not s.running
            else s
            for s in services
        ),
    )
    sources = dict.fromkeys(
        mount.source for s in services for mount in s.mounts if mount.volume is None
    )
    kept = [folder, folder / "backups", *seen.files, *seen.env_files, folder / "stack.yaml"]
    return replace(
        found,
        folders={source: _folder(source, folder) for source in sources if source},
        reserved=frozenset(s for s in sources if s and any(_contains(s, path) for path in kept)),
    )


def _project(declared: str, containers: Collection[Container]) -> tuple[str, tuple[str, ...]]:
    """Return the project of the containers that run from this folder, else Compose's own name."""
    names = sorted({one.project for one in containers if one.project})
    if not names or declared in names:
        others = [name for name in names if name != declared]
        more = f"containers of project {', '.join(others)} run from this folder too"
        return declared, (more,) if others else ()
    if len(names) > 1:
        return declared, (f"containers run from this folder as projects {', '.join(names)}",)
    return names[0], (f"Compose would call the project {declared}; it runs as {names[0]}",)


def _service(
    name: str,
    seen: Discovered,
    running: Collection[str],
    defined: Collection[str],
    shown: Callable[[str], str],
) -> FoundService:
    declared = next(one for one in seen.model.services if one.name == name)
    resolved = seen.services[name]
    mounts = tuple(
        replace(m, source=m.source.replace("$$", "$"), target=m.target.replace("$$", "$"))
        for m in declared.mounts
    )
    server = find_server(
        name,
        declared.image,
        mounts,
        service=resolved,
        written=seen.written.get(name) or {},
        secrets=seen.secrets,
        defined=defined,
        shown=shown,
    )
    kind = stores(declared.image)
    return FoundService(
        name=name,
        image=declared.image,
        depends_on=tuple(need.service for need in declared.depends_on),
        mounts=mounts,
        profiles=tuple(resolved.get("profiles") or ()),
        active=declared.active,
        running=name in running,
        stores=kind,
        server=server,
        probes=()
        if server or kind or not declared.active
        else tuple(_probes(name, resolved, seen.written.get(name) or {})),
    )


def _anonymous(
    service: FoundService, seen: Discovered, discovery: ComposeDiscovery
) -> tuple[str, ...]:
    """Return where containers of a service will have anonymous volumes that may need a backup:
    from its Compose file, and from its image if that is on the engine."""
    entry = seen.services[service.name]
    own = [mount.target for mount in service.mounts if mount.volume is None and not mount.source]
    tmpfs = [str(path).partition(":")[0] for path in entry.get("tmpfs") or ()]
    tmpfs += [str(v.get("target")) for v in entry.get("volumes") or () if v.get("type") == "tmpfs"]
    taken = {mount.target.rstrip("/") for mount in service.mounts} | set(tmpfs)
    own += [
        target
        for target in discovery.image_volumes(service.image)
        if target.rstrip("/") not in taken
    ]
    data = service.server is not None
    return tuple(
        dict.fromkeys(
            target.rstrip("/")
            for target in own
            if not why_never(target) and not (data and is_data_of_server(target))
        )
    )


def _probes(
    name: str, service: Mapping[str, Any], written: Mapping[str, Any]
) -> Iterable[FoundProbe]:
    """Return the URL of the health check, else the first published port that may speak HTTP.

    The health check is read as it is `written`: the value of a variable in it may be a secret.
    """
    test = (written.get("healthcheck") or {}).get("test") or []
    command = " ".join(map(str, test)) if isinstance(test, list) else str(test)
    if (url := url_of(command)) is not None:
        yield FoundProbe(name, *url, f"{name}: from its health check")
        return
    ports = [entry for entry in service.get("ports") or () if isinstance(entry, Mapping)]
    for entry in ports:
        target = int(entry.get("target") or 0)
        if entry.get("protocol", "tcp") == "tcp" and target and target not in NOT_HTTP:
            yield FoundProbe(name, target, "/", f"{name}: from its published port")
            return


def _profiles(services: Iterable[FoundService], active: Collection[str]) -> tuple[str, ...]:
    """Return profiles of services that run although no env file activates them."""
    started = [s for s in services if s.running and not s.active and s.profiles]
    names = dict.fromkeys(s.profiles[0] for s in started)
    return (*sorted(set(active)), *names) if names else ()


# ----------------------------------------------------------------------------------------- folders


def _shown(path: str, folder: Path) -> str:
    """Return a path as stack.yaml names it: relative inside of its folder, and without links."""
    real, home = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    return f"./{real.relative_to(home)}" if real.is_relative_to(home) else os.fspath(real)


def _contains(source: str, path: Path) -> bool:
    return Path(source) == path or Path(source) in path.parents


def _folder(source: str, folder: Path) -> FoundFolder:
    shown, path = _shown(source, folder), Path(source)
    inside = path.is_relative_to(folder)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return FoundFolder(shown, "missing", inside)
    except OSError:
        return FoundFolder(shown, "folder", inside)
    if stat.S_ISREG(mode):
        return FoundFolder(shown, "file", inside)
    if not stat.S_ISDIR(mode):
        return FoundFolder(shown, "special", inside)
    if is_system(source):
        return FoundFolder(shown, "folder", inside)
    try:
        files, size, more = _measured(path)
    except OSError:
        return FoundFolder(shown, "folder", inside)
    return FoundFolder(shown, "folder", inside, files, size, more)


def _measured(path: Path) -> tuple[int, int, bool]:
    """Return number and bytes of the files, and whether counting ended early.

    Raise OSError for a folder that cannot be read.
    """
    files = size = entries = 0
    waiting = [os.fspath(path)]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            for entry in found:
                entries += 1
                if entries > MOST_ENTRIES:
                    return files, size, True
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                files += 1
                size += entry.stat(follow_symlinks=False).st_size
    return files, size, False


def _timezone(environ: Mapping[str, str]) -> str:
    """Return this machine's time zone, "" where TZ names one or it is UTC."""
    if environ.get("TZ"):
        return ""
    zone = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    name = zone.removeprefix("posix/").removeprefix("right/")
    return "" if name in ("", "UTC", "Etc/UTC", "Universal", "Zulu", "UCT", "Etc/UCT") else name
