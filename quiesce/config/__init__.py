"""Loads `stack.yaml` as a typed `Stack`, resolved for one instance; reports all mistakes at once.

Text becomes values with lines (`yaml_nodes`), variables are replaced (`variables`, with the env
file and the templates), the shape is checked (`shape` against `schema`), then rules that concern
more than one value (`checks`, `host_checks`). Only a file without mistakes becomes a `Stack`
(`build`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from quiesce.config.build import build_stack
from quiesce.config.checks import Subject, check_stack, check_timezone
from quiesce.config.findings import Findings, read_bounded, shown
from quiesce.config.json_schema import json_schema
from quiesce.config.scalars import Unresolved, show
from quiesce.config.shape import validate_shape
from quiesce.config.variables import Variables, interpolate, no_variables, read_variables
from quiesce.config.yaml_nodes import Value, read_document
from quiesce.errors import RequestError
from quiesce.file_errors import hint_for_reading
from quiesce.model import Stack
from quiesce.suggest import suggest

__all__ = ["json_schema", "load_stack", "read_engines"]


def load_stack(
    file: Path,
    instance: str | None,
    environ: Mapping[str, str],
    *,
    content: bytes | None = None,
) -> Stack:
    """Return what `file` declares, resolved for `instance`, or for its default instance.

    `${VAR}` is looked up in the instance's env file, then in `.env` beside the file, then in
    `environ`. Only files are read. If `content` is given, it is used instead of the file's content.
    Raise ConfigError with all mistakes at once, or RequestError for an instance that does not
    exist.
    """
    file = Path(os.path.abspath(file))  # noqa: PTH100 - resolve() would leave a link's folder
    findings = Findings(shown(file))
    if content is None:
        content = _read(file, findings)
    data = read_document(content, findings)
    chosen = _choose_instance(data, instance, findings)
    variables = no_variables()
    if chosen is not None:
        variables = read_variables(data, chosen, file.parent, environ, findings)
    resolved = interpolate(data, chosen, variables, findings)
    sections = validate_shape(resolved, findings)
    timezone = _timezone(resolved, variables, findings)
    if sections is not None:
        subject = Subject(sections, resolved, chosen, file, variables.env_file, findings)
        check_stack(subject)
    findings.raise_if_any()
    if sections is None or chosen is None:
        raise AssertionError("a document without errors has sections and an instance")
    return build_stack(
        sections,
        instance=chosen,
        file=file,
        digest=hashlib.sha256(content).hexdigest(),
        timezone=timezone,
        variables=variables,
        secrets=subject.secrets,
    )


def read_engines(file: Path) -> Mapping[str, tuple[str, str]]:
    """Return the identity of each instance's engine: runtime and context.

    Nothing else in the file is checked. Raise ConfigError if it has no instances.
    """
    findings = Findings(shown(file))
    data = read_document(_read(file, findings), findings)
    findings.raise_if_any()
    instances = data.get("instances")
    if not isinstance(instances, dict) or not instances:
        findings.add(("instances",), "has no entry", "add one")
        findings.raise_if_any()
        return {}
    return {
        name: tuple(  # type: ignore[misc]
            str(entry.get(key) or "") if isinstance(entry, dict) else ""
            for key in ("runtime", "context")
        )
        for name, entry in instances.items()
    }


def _read(file: Path, findings: Findings) -> bytes:
    try:
        return read_bounded(file)
    except FileNotFoundError:
        findings.add((), "does not exist", "create it, or give another with --stack")
    except OSError as error:
        hint = hint_for_reading(error, file)
        findings.add((), f"cannot be read: {error.strerror}", hint)
    findings.raise_if_any()
    return b""


def _choose_instance(
    data: Mapping[str, Value], requested: str | None, findings: Findings
) -> str | None:
    """Return the requested or default instance, or None if the file does not tell."""
    instances = data.get("instances")
    if not isinstance(instances, dict) or not instances:
        return None
    known = list(instances)
    default = data.get("default_instance")
    if isinstance(default, str) and default not in known:
        fact = f"there is no instance {show(default)}"
        findings.add(("default_instance",), fact, suggest(default, known))
    elif "default_instance" not in data and len(known) > 1:
        hint = f"add 'default_instance: {known[0]}'"
        findings.add((), "default_instance is missing", hint, line=findings.line(("instances",)))
    if requested is not None:
        if requested in known:
            return requested
        raise RequestError(
            f"there is no instance {show(requested)} in {findings.file}",
            suggest(requested, known),
        )
    if isinstance(default, str):
        return default if default in known else None
    return known[0] if len(known) == 1 and "default_instance" not in data else None


def _timezone(resolved: Mapping[str, Value], variables: Variables, findings: Findings) -> str:
    """Return the declared time zone, or the one of TZ, or UTC."""
    if isinstance(declared := resolved.get("timezone"), str):
        if not isinstance(declared, Unresolved) and declared:
            check_timezone(declared, findings)
        return str(declared)
    # A colon before the name is POSIX for "look it up".
    zone = (variables.lookup("TZ") or "UTC").removeprefix(":")
    check_timezone(zone, findings, of_environment=True)
    return zone
