"""What Compose itself would call the project, where stack.yaml gives it no name.

Compose takes COMPOSE_PROJECT_NAME, else `name:` of its files, else the folder's name. The file is
only read here; what it says counts once it is known what runs, see `app/project.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from quiesce.template import Missing, TemplateError, expand, parse_template

#: Compose's own lookup: the first of these, and its override.
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
    """Return the name that an env file or the Compose files give, "" for none.

    A shell's own COMPOSE_PROJECT_NAME does not decide what a stack is: cron has none of it.
    """
    if name := normalised(variables.get("COMPOSE_PROJECT_NAME", "")):
        return name
    found = ""
    for path in files or _looked_up(directory, variables, environ):
        found = _name_in(path, variables) or found
    return found


def normalised(name: str) -> str:
    """Return a name as Compose makes a project's name of it, "" where nothing is left."""
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
    """Return `name:` of a Compose file with its variables filled in.

    What cannot be read or filled in is no name: saying what is wrong is Compose's own business.
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
