"""The project name that Compose itself would use, if stack.yaml sets none.

Compose uses COMPOSE_PROJECT_NAME, else `name:` of its files, else the folder's name. Which name is
used also depends on what exists on the engine; see `app/project.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from quiesce.template import Missing, TemplateError, expand, parse_template

#: The files that Compose looks for: the first of these, and its override.
_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)


def declared_name(
    directory: Path, files: Sequence[Path], variables: Mapping[str, str], environ: Mapping[str, str]
) -> str:
    """Return the name set by an env file or the Compose files, "" for none.

    COMPOSE_PROJECT_NAME of a shell is ignored, because cron does not have it.
    """
    if name := normalised(variables.get("COMPOSE_PROJECT_NAME", "")):
        return name
    found = ""
    for path in files or _looked_up(directory, variables, environ):
        found = _name_in(path, variables) or found
    return found


def normalised(name: str) -> str:
    """Return a name normalized as Compose does for projects, "" if nothing remains."""
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")


def _looked_up(
    directory: Path, variables: Mapping[str, str], environ: Mapping[str, str]
) -> list[Path]:
    named = variables.get("COMPOSE_FILE") or environ.get("COMPOSE_FILE", "")
    if named:
        separator = variables.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        return [directory / part for part in named.split(separator) if part]
    there = [directory / name for name in _FILES if (directory / name).is_file()]
    over = [directory / name for name in _OVERRIDES if (directory / name).is_file()]
    return [*there[:1], *over[:1]] if there else []


def _name_in(path: Path, variables: Mapping[str, str]) -> str:
    """Return `name:` of a Compose file with its variables replaced.

    "" if it cannot be read or replaced; Compose itself reports such errors.
    """
    try:
        root: Any = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    pairs = root.value if isinstance(root, yaml.MappingNode) else ()
    value = next((child for key, child in pairs if key.value == "name"), None)
    if not isinstance(value, yaml.ScalarNode):
        return ""
    missing: list[Missing] = []
    try:
        text = expand(parse_template(str(value.value), bare=True), variables.get, missing)
    except TemplateError:
        return ""
    return "" if missing else normalised(text)
