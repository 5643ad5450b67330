"""Finds traces on an engine of the projects that a stack may belong to."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quiesce.adapters.compose.engine import LABEL_HELPER, EngineConnection, translate_engine_errors
from quiesce.adapters.compose.inspected import LABEL_PROJECT_NAME
from quiesce.model import Stack

_LABEL_FILES = "com.docker.compose.project.config_files"
_LABEL_FOLDER = "com.docker.compose.project.working_dir"
_LABEL_VOLUME = "com.docker.compose.volume"


@dataclass(frozen=True, slots=True)
class Traces:
    """Whether a project has containers of this stack's Compose files, other containers, and volumes
    with the keys of this stack."""

    containers: bool = False
    others: bool = False
    volumes: bool = False


def find_traces(
    connection: EngineConnection, stack: Stack, names: Collection[str]
) -> Mapping[str, Traces]:
    """Return the traces of each of these projects."""
    api: Any = connection.api
    keys = {volume.key for volume in stack.volumes if volume.folder is None}
    found: dict[str, Traces] = {}
    with translate_engine_errors("the projects on the engine cannot be listed"):
        for name in names:
            wanted = {"label": f"{LABEL_PROJECT_NAME}={name}"}
            labels = [
                entry.get("Labels") or {} for entry in api.containers(all=True, filters=wanted)
            ]
            ours = [_is_ours(stack, entry) for entry in labels if LABEL_HELPER not in entry]
            volumes = api.volumes(filters=wanted).get("Volumes") or []
            kept = {(entry.get("Labels") or {}).get(_LABEL_VOLUME) for entry in volumes}
            found[name] = Traces(any(ours), not all(ours), bool(kept & keys))
    return found


def _is_ours(stack: Stack, labels: Mapping[str, str]) -> bool:
    """Whether a container was created from the stack's Compose files."""
    made_from = {os.path.realpath(part) for part in labels.get(_LABEL_FILES, "").split(",") if part}
    files = {os.path.realpath(path) for path in stack.instance.files}
    if files:
        return bool(made_from & files)
    folder = labels.get(_LABEL_FOLDER, "")
    return bool(folder) and Path(os.path.realpath(folder)) == stack.directory.resolve()
