"""Finds volumes that `stack.yaml` backs up and no service mounts: Compose leaves them out of its
model.

A volume that the Compose file declares at top level is found by resolving the model again with an
added service that mounts it, so that Compose fills in names and variables. One that exists only on
the engine (its service was removed, or it is mounted by hand) is found by its labels, or by the
name that Compose would give it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from quiesce.adapters.compose.cli import ComposeCommand
from quiesce.adapters.compose.engine import EngineConnection, absent, translate_engine_errors
from quiesce.adapters.compose.inspected import LABEL_PROJECT_NAME
from quiesce.errors import QuiesceError

_LABEL_VOLUME = "com.docker.compose.volume"
_SERVICE = "quiesce-unused-volumes"


def with_unused(
    compose: ComposeCommand,
    connection: EngineConnection,
    project: str,
    config: Mapping[str, Any],
    keys: Collection[str],
) -> dict[str, Any]:
    """Return the resolved model with the missing volumes of these keys, as far as they exist."""
    volumes: dict[str, Any] = dict(config.get("volumes") or {})
    missing = [key for key in keys if key not in volumes]
    if missing:
        declared = _declared(compose, missing)
        for key in missing:
            entry = declared.get(key) or _on_engine(connection, project, key)
            if entry is not None:
                volumes[key] = entry
    return {**config, "volumes": volumes} if volumes else dict(config)


def _declared(compose: ComposeCommand, keys: Collection[str]) -> Mapping[str, Any]:
    """Return those of these volumes that the Compose files declare, resolved by Compose."""
    try:
        done = compose.run("config", "--no-interpolate", "--format", "json", profiles=("*",))
        known = json.loads(done.stdout).get("volumes") or {}
        wanted = [key for key in keys if key in known]
        if not wanted:
            return {}
        mounts = [f"{key}:/{number}" for number, key in enumerate(wanted)]
        override = {"services": {_SERVICE: {"image": _SERVICE, "volumes": mounts}}}
        with tempfile.TemporaryDirectory(prefix="quiesce-") as folder:
            file = Path(folder, "unused.json")
            file.write_text(json.dumps(override))
            done = compose.run(
                "config", "--format", "json", profiles=("*",), more_files=(os.fspath(file),)
            )
    except (QuiesceError, ValueError):
        # Errors in the files are reported when they are read normally.
        return {}
    found: Mapping[str, Any] = json.loads(done.stdout).get("volumes") or {}
    return {key: found[key] or {} for key in wanted if key in found}


def _on_engine(connection: EngineConnection, project: str, key: str) -> Mapping[str, Any] | None:
    """Return the volume of this key on the engine."""
    wanted = {"label": [f"{LABEL_PROJECT_NAME}={project}", f"{_LABEL_VOLUME}={key}"]}
    with translate_engine_errors("the volumes of the project cannot be listed"):
        found = connection.api.volumes(filters=wanted)["Volumes"] or []
        name = str(found[0]["Name"]) if found else f"{project}_{key}"
        try:
            volume = connection.api.inspect_volume(name)
        except Exception as error:
            if absent(error):
                return None
            raise
    return {
        "name": name,
        "driver": str(volume["Driver"]),
        "driver_opts": dict(volume.get("Options") or {}),
    }
