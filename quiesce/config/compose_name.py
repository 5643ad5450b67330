"""The project name that Compose itself would use, if stack.yaml sets none.

Compose uses COMPOSE_PROJECT_NAME, else `name:` of its files, else the name of the folder that
contains them. Which name is used also depends on what exists on the engine; see `app/project.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from quiesce.template import Missing, TemplateError, expand, parse_template

_VARIABLE = "COMPOSE_PROJECT_NAME"
#: The files that Compose looks for: the first of these, and its override.
_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)


@dataclass(frozen=True, slots=True)
class ProjectName:
    """A project name, and where it is set."""

    name: str
    source: str


def names_of_compose(
    directory: Path, files: Sequence[Path], variables: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[ProjectName, ...]:
    """Return the names that Compose would use, in its own precedence; the last is the folder's.

    A variable of the environment precedes an env file, as in Compose. cron has no such variable:
    `check` reports a name that comes from there.
    """
    paths = files or _looked_up(directory, variables, environ)
    named = ""
    for path in paths:
        named = _name_in(path, variables) or named
    # Compose uses the folder of the first file.
    folder = Path(os.path.abspath(paths[0])).parent if paths else directory  # noqa: PTH100
    found = (
        ProjectName(normalised(environ.get(_VARIABLE, "")), "environment"),
        ProjectName(normalised(variables.get(_VARIABLE, "")), "env file"),
        ProjectName(named, "Compose file"),
        ProjectName(normalised(folder.name), "folder"),
    )
    return tuple(entry for entry in found if entry.name)


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
