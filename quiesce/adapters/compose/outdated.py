"""Determines which running containers `docker compose up` would recreate, and why.

Compose itself is asked, by a dry run of `create`. Its hashes are not reliable: from 2.22 until 5.5,
`config --hash` leaves out what `env_file:` adds to a service, but the container's label
`config-hash` includes it; the label also includes the containers behind `network_mode:
service:NAME`. If the hashes are equal, the configuration is the same, so they are compared if the
dry run says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from quiesce.adapters.compose.cli import ComposeCommand
from quiesce.adapters.compose.engine import EngineConnection, absent, translate_engine_errors
from quiesce.adapters.compose.inspected import Inspected, labels_of, service_of
from quiesce.errors import QuiesceError, RequestError

CONFIGURATION = "its configuration differs"
IMAGE = "its image tag refers to another image"
UNKNOWN = "Compose may recreate it: it is unknown whether its configuration differs"

#: The label that Compose compares before it recreates a container.
LABEL_HASH = "com.docker.compose.config-hash"

#: Lines of the dry run that are read: a few for each container.
_LINES = 10_000
_ALIVE = ("running", "paused", "restarting")
#: A line of the dry run: ` DRY-RUN MODE -  Container core-web-1  Recreate`.
_LINE = re.compile(r"\bContainer (\S+) +(Running|Recreated?)\s*$", re.MULTILINE)


def outdated(
    connection: EngineConnection,
    command: ComposeCommand,
    containers: Iterable[Inspected],
    services: Collection[str],
) -> dict[str, str]:
    """Return which of these services have containers that `up` would recreate, and why.

    If this is unknown for a service, the service is included: nothing is recreated without a
    question.
    """
    own = [
        container
        for container in containers
        if service_of(container) in services and container["State"]["Status"] in _ALIVE
    ]
    if not own:
        return {}
    told = _dry_run(command, dict.fromkeys(map(service_of, own)))
    wanted: dict[str, str] | None = None
    found: dict[str, str] = {}
    for container in own:
        name, recreated = service_of(container), told.get(container["Name"].removeprefix("/"))
        if recreated is False:
            continue
        if wanted is None:
            wanted = _hashes(command)
        why = _why(connection, container, wanted.get(name))
        if recreated:
            found[name] = why or CONFIGURATION
        elif why:
            found[name] = UNKNOWN if why == CONFIGURATION else why
    return found


def read_dry_run(output: str) -> dict[str, bool]:
    """Return which containers Compose would recreate, by name, from what its dry run printed.

    A container is left out if nothing is said about it: it is restarting, for example.
    """
    found: dict[str, bool] = {}
    for name, word in _LINE.findall(output):
        found[name] = found.get(name, False) or word != "Running"
    return found


def same_image(container: Inspected, image: Mapping[str, Any]) -> bool:
    """Whether a container was created from this image.

    The containerd image store has several ids for an image with several platforms: one for the
    index, and one for each platform. A container may name another one than its image does.
    """
    own = {container["Image"], _digest(container.get("ImageManifestDescriptor"))}
    every = {image["Id"], _digest(image.get("Descriptor"))}
    for entry in image.get("Manifests") or ():
        every |= {entry.get("ID"), _digest(entry.get("Descriptor"))}
    return not own.isdisjoint(every - {None, ""})


def _digest(descriptor: Any) -> str:
    return str((descriptor or {}).get("digest") or "")


def _dry_run(command: ComposeCommand, services: Iterable[str]) -> dict[str, bool]:
    """Return what the dry run says, nothing if Compose has no dry run or an image is missing."""
    arguments = ("--dry-run", "create", "--no-build", "--pull", "never")
    try:
        done = command.run(*arguments, *services, lines=_LINES)
    except RequestError:
        raise
    except QuiesceError as error:
        if error.lost_engine:
            raise
        return {}
    return read_dry_run("\n".join((done.stdout.decode("utf-8", "replace"), *done.stderr)))


def _hashes(command: ComposeCommand) -> dict[str, str]:
    done = command.run("config", "--hash", "*")
    return dict(line.split() for line in done.stdout.decode().splitlines())


def _why(connection: EngineConnection, container: Inspected, wanted: str | None) -> str:
    """Return the difference, "" if there is none."""
    image = _image(connection, container["Config"]["Image"])
    if image is None or not same_image(container, image):
        return IMAGE
    same = labels_of(container).get(LABEL_HASH) == wanted
    return "" if same else CONFIGURATION


def _image(connection: EngineConnection, name: str) -> Mapping[str, Any] | None:
    """Return the image that currently has this name."""
    api: Any = connection.api
    with translate_engine_errors(f"image {name} cannot be inspected"):
        try:
            found: Mapping[str, Any] = api.inspect_image(name)
        except Exception as error:
            if absent(error):
                return None
            raise
    return found
