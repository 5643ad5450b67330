"""Operations for entries of `paths`, which are folders of the machine instead of volumes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiesce.adapters.compose.engine import helper_labels
from quiesce.adapters.compose.helper_container import remove_container, translate_helper_errors
from quiesce.adapters.volumes.location import Place
from quiesce.errors import QuiesceError
from quiesce.file_errors import hint_for, reason
from quiesce.observed import VolumeState

if TYPE_CHECKING:
    from quiesce.adapters.volumes.helper import HelperEngine

_ESCAPE = re.compile(rb"\\([0-7]{3})")


def require_unmoved(folder: str) -> None:
    """Raise QuiesceError if a component of the folder has become a symbolic link: a service that
    can write to a parent folder could redirect operations to another place."""
    if os.path.realpath(folder) != folder:
        raise QuiesceError(
            f"{folder} is reached through a symbolic link that was not there before",
            f"see 'namei -l {folder}', and remove the link or correct paths in stack.yaml",
        )


def create_here(folder: Path) -> bool:
    """Create a folder and its parents; return False if this user may not."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except PermissionError:
        return False
    except OSError as error:
        raise QuiesceError(
            f"folder {folder} cannot be created: {reason(error)}", hint_for(error, folder.parent)
        ) from error
    return True


def create_on_engine(engine: HelperEngine, run: str, volume: VolumeState) -> None:
    """Create a folder and its parents on the engine's machine, as the engine itself does when it
    starts a container with a mount in the short form."""
    api: Any = engine.api()
    image = engine.image(run)
    with translate_helper_errors(f"creating folder {volume.name}"):
        host = api.create_host_config(
            binds={volume.name: {"bind": "/quiesce/folder", "mode": "ro"}}, network_mode="none"
        )
        made = api.create_container(
            image,
            # Without an input it ends at once.
            entrypoint=["cat"],
            command=[],
            host_config=host,
            labels=helper_labels(run, engine.project),
        )["Id"]
        try:
            api.start(made)
        finally:
            remove_container(api, made)


def mounts_below(place: Place) -> tuple[bytes, ...]:
    """Return the mount points below the root of a place, as `./a/b`."""
    listed = place.run(
        ["cat", "/proc/self/mountinfo"], what=f"listing mount points below {place.root}"
    )
    root = os.fsencode(place.root)
    found = []
    for line in listed.output.read_bytes().splitlines():
        fields = line.split(b" ")
        if len(fields) > 4:
            point = _ESCAPE.sub(lambda octal: bytes([int(octal[1], 8)]), fields[4])
            if point.startswith(root + b"/"):
                found.append(b"." + point.removeprefix(root))
    return tuple(sorted(set(found)))
