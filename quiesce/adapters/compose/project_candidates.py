"""Finds traces on an engine of the projects that a stack may belong to."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from quiesce.adapters.compose.engine import LABEL_HELPER, EngineConnection, translate_engine_errors
from quiesce.adapters.compose.inspected import LABEL_PROJECT_NAME
from quiesce.model import is_sibling
from quiesce.observed import OtherProject, Traces

_LABEL_FILES = "com.docker.compose.project.config_files"
_LABEL_FOLDER = "com.docker.compose.project.working_dir"
#: The states in which a container may write now or soon; one that was only created, has exited or
#: died cannot.
_RUNNING = frozenset({"running", "paused", "restarting"})
_LABEL_VOLUME = "com.docker.compose.volume"


def find_traces(
    connection: EngineConnection,
    directory: Path,
    files: Sequence[Path],
    names: Collection[str],
    keys: Collection[str],
) -> Mapping[str, Traces]:
    """Return the traces of these projects, and of every other project with containers of `files`.
    `files` are the stack's Compose files, `keys` the keys of its volumes.
    """
    api: Any = connection.api
    with translate_engine_errors("the projects on the engine cannot be listed"):
        everyone = api.containers(all=True, filters={"label": LABEL_PROJECT_NAME})
        volumes = api.volumes(filters={"label": LABEL_PROJECT_NAME}).get("Volumes") or []
    kept = {
        labels[LABEL_PROJECT_NAME]
        for labels in (entry.get("Labels") or {} for entry in volumes)
        if labels.get(_LABEL_VOLUME) in keys
    }
    ours: dict[str, bool] = {}
    others: dict[str, list[str]] = {}
    for entry in everyone:
        labels = entry.get("Labels") or {}
        if LABEL_HELPER in labels:
            continue
        project = labels[LABEL_PROJECT_NAME]
        if _is_ours(directory, files, labels):
            ours[project] = ours.get(project, False) or entry.get("State") in _RUNNING
        else:
            others.setdefault(project, []).extend(_files_here(labels))
    return {
        name: Traces(
            name in ours,
            ours.get(name, False),
            tuple(sorted(set(others.get(name, ())))),
            name in kept,
        )
        for name in {*names, *ours}
    }


def other_projects(
    traces: Mapping[str, Traces], own: str, siblings: Sequence[str]
) -> tuple[OtherProject, ...]:
    """Return the running projects of these traces that are neither `own` nor another instance's."""
    alone = not traces[own].containers
    return tuple(
        OtherProject(name, alone)
        for name in sorted(traces)
        if name != own and traces[name].running and not is_sibling(name, siblings)
    )


def _is_ours(directory: Path, files: Sequence[Path], labels: Mapping[str, str]) -> bool:
    """Whether a container was created from the stack's Compose files, or some of them, or these and
    more. One common file does not suffice: stacks may share one."""
    made_from = {os.path.realpath(part) for part in labels.get(_LABEL_FILES, "").split(",") if part}
    own = {os.path.realpath(path) for path in files}
    if own and made_from:
        return own <= made_from or made_from <= own
    folder = labels.get(_LABEL_FOLDER, "")
    return bool(folder) and Path(os.path.realpath(folder)) == directory.resolve()


def _files_here(labels: Mapping[str, str]) -> list[str]:
    """Return the files that a container was created from, if they exist: a stack may have moved."""
    return [part for part in labels.get(_LABEL_FILES, "").split(",") if part and _is_file(part)]


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:
        return False
