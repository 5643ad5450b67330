"""Refuses plans that entries of `paths` rule out. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.errors import RequestError
from quiesce.model import Stack, Volume
from quiesce.observed import Observed


def require_folders(volumes: Sequence[Volume], observed: Observed) -> None:
    """Raise RequestError for a path whose folder does not exist: its disk may not be mounted."""
    for volume in volumes:
        if volume.folder is not None and not observed.volume(volume.key).exists:
            raise RequestError(
                f"path {volume.key} does not exist: there is no folder {volume.folder}",
                "if it is on a disk of its own, mount that; otherwise create the folder, or "
                f"correct paths.{volume.key} in stack.yaml",
            )


def refuse_server(stack: Stack, service: str, key: str) -> RequestError:
    """Return the error for files that a database server may write: it keeps running."""
    noun = stack.volume(key).noun
    hint = (
        f"mark {noun} {key} 'backup: by-dump' in stack.yaml if it contains only declared "
        "databases; 'backup: never' leaves it out of every set"
    )
    if noun == "path":
        hint += f"; if {service} only reads it, mount it read-only (':ro') in the Compose file"
    return RequestError(f"{service} is a database server and writes to {noun} {key}", hint)
