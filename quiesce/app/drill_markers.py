"""Markers that a drill writes and checks: a row in every database, a file in every volume, and what
`drill: {writes: …}` of `stack.yaml` sends to the services' own APIs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from quiesce.adapters.process import program
from quiesce.app import probes
from quiesce.errors import QuiesceError
from quiesce.model import without_query

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.model import DrillWrite, Stack, Volume
    from quiesce.observed import Mount

FILE = "quiesce-drill.txt"
_WRITE = 'printf %s "$1" > "$2"'
SECONDS = 60.0


def write(stack: Stack, ports: Ports, word: str) -> list[str]:
    """Write the word to every place; return the places, as `database:key`, `volume:…` and
    `api:…`."""
    places = []
    for database in stack.databases:
        ports.databases.mark(database, word)
        places.append(f"database:{database.key}")
    for key, service, path in _writable(stack, ports):
        try:
            _in_service(ports, service, ["sh", "-c", _WRITE, "sh", word, path])
        except QuiesceError as error:
            ports.sink.note(f"no marker in volume {key}: {error.fact}")
            continue
        places.append(f"volume:{key}:{service}:{path}")
    for number, what in enumerate(stack.drill_writes):
        said = probes.write(ports, what, word)
        places.append(f"api:{number}:{json.dumps(said)}")
    return places


def missing(stack: Stack, ports: Ports, word: str, places: Sequence[str]) -> list[str]:
    """Describe every place where the word is missing."""
    found = []
    for place in places:
        kind, _, rest = place.partition(":")
        if kind == "database":
            if word not in ports.databases.marks(stack.database(rest)):
                found.append(f"the marker in database {rest} is missing")
            continue
        if kind == "api":
            what, said = _written(stack, rest)
            if not probes.still_there(ports, what, said):
                asked = without_query(what.path)
                found.append(f"what {what.method} {asked} wrote to {what.service} is missing")
            continue
        key, service, path = rest.split(":", 2)
        try:
            there = _in_service(ports, service, ["cat", path])
        except QuiesceError:
            there = ""
        if there != word:
            found.append(f"the marker in volume {key} is missing")
    return found


def erase(stack: Stack, ports: Ports, places: Sequence[str]) -> None:
    """Remove all markers."""
    for place in places:
        kind, _, rest = place.partition(":")
        if kind == "database":
            ports.databases.unmark(stack.database(rest))
        elif kind == "api":
            probes.remove(ports, *_written(stack, rest))
        else:
            _, service, path = rest.split(":", 2)
            _in_service(ports, service, ["rm", "-f", path])


def _written(stack: Stack, place: str) -> tuple[DrillWrite, dict[str, str]]:
    number, _, said = place.partition(":")
    return stack.drill_writes[int(number)], json.loads(said)


def _writable(stack: Stack, ports: Ports) -> list[tuple[str, str, str]]:
    kept = {volume.key for volume in stack.volumes if volume.backup == "files"}
    found: dict[str, tuple[str, str, str]] = {}
    for service in ports.runtime.services():
        for mount in service.mounts:
            if mount.volume in kept and mount.writable and service.running:
                key = str(mount.volume)
                folder = _inside(stack.volume(key), mount)
                found.setdefault(key, (key, service.name, f"{folder}/{FILE}"))
    return list(found.values())


def _inside(volume: Volume, mount: Mount) -> str:
    """Return where a service sees the volume or, of a folder, the part of it that is mounted."""
    if volume.folder is None:
        return mount.target
    folder, source = Path(os.path.realpath(volume.folder)), Path(os.path.realpath(mount.source))
    if folder.is_relative_to(source):
        return str(PurePosixPath(mount.target) / folder.relative_to(source))
    return mount.target


def _in_service(ports: Ports, service: str, argv: Sequence[str]) -> str:
    line = ports.project.command_in_service(service, argv, {}, terminal=False)
    done = program.run(
        line.argv,
        environment=line.environment,
        cwd=line.directory,
        timeout=SECONDS,
        what=f"{argv[0]} in {service}",
    )
    return done.stdout.decode("utf-8", "replace")
