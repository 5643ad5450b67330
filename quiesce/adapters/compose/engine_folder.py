"""Checks whether a folder exists on the machine of an engine, without creating anything there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quiesce.adapters.compose.engine import (
    EngineConnection,
    absent,
    create_probe_container,
    translate_engine_errors,
)


def exists_on_engine(connection: EngineConnection, folder: Path, images: Sequence[str]) -> bool:
    """Whether the folder exists on the engine's machine. It is not created if it is missing. A
    container that is never started mounts it. Docker refuses to mount a folder that does not exist.
    Podman creates it; with Podman, the container therefore mounts the root folder of that machine,
    and the engine is asked for a path in it. Without an image, the folder counts as existing: the
    step that needs it reports more.
    """
    import docker

    api: Any = connection.api
    makes_folders = connection.engine().kind == "podman"
    for image in images:
        try:
            made = create_probe_container(
                api, image, Path("/") if makes_folders else folder, "inspection"
            )
        except docker.errors.ImageNotFound:
            continue
        except docker.errors.APIError as error:
            if "does not exist" in str(error.explanation or error):
                return False
            continue
        try:
            return not makes_folders or _has(api, made, f"/quiesce{folder}")
        finally:
            with translate_engine_errors("a helper cannot be removed"):
                api.remove_container(made, v=True, force=True)
    return True


def _has(api: Any, container: str, path: str) -> bool:
    """Whether the container has something at this path. Nothing of it is read."""
    import docker

    with translate_engine_errors("a folder of the engine's machine cannot be looked for"):
        try:
            api.get_archive(container, path)
        except docker.errors.APIError as error:
            if absent(error):
                return False
            raise
    return True
