"""The variables of an instance, and replacing them in the document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quiesce.config.findings import (
    Findings,
    YamlPath,
    clip,
    is_there,
    read_bounded,
    shown,
)
from quiesce.config.scalars import Interpolated, Unresolved
from quiesce.config.yaml_nodes import Value
from quiesce.env_file import parse_env_file
from quiesce.file_errors import hint_for_reading
from quiesce.suggest import suggest
from quiesce.template import (
    Missing,
    Reference,
    Template,
    TemplateError,
    expand,
    is_only_references,
    parse_template,
)


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables for `${VAR}`. `values` come from `.env`, overridden by the env file. `complete`
    is false if one of the files could not be read, so a variable that seems undefined may be
    defined. `define_in` names the file in which to define a missing variable; `places` are the file
    and line of each variable.
    """

    values: Mapping[str, str]
    environ: Mapping[str, str]
    env_file: Path | None
    define_in: str
    complete: bool
    places: Mapping[str, str] = field(default_factory=dict)

    def advice(self, name: str) -> str:
        """Return where to give an empty variable a value."""
        if place := self.places.get(name):
            return f"give {name} a value in {place}"
        if name in self.environ:
            return (
                f"{name} is empty in the environment: give it a value there or in {self.define_in}"
            )
        return f"define {name} in {self.define_in}"

    def lookup(self, name: str) -> str | None:
        """Return a variable: from the files, or else from the environment."""
        return self.values.get(name, self.environ.get(name))


def read_variables(
    data: Mapping[str, Value],
    instance: str,
    directory: Path,
    environ: Mapping[str, str],
    findings: Findings,
) -> Variables:
    """Read `.env` beside the stack file, if it exists, and the instance's env file, which overrides
    it."""
    beside = directory / ".env"
    values: Mapping[str, str] | None = {}
    places: dict[str, str] = {}
    if is_there(beside.exists):
        try:
            values = read_env_file(beside, {}, environ, findings, places)
        except OSError as error:
            findings.add_elsewhere(shown(beside), 0, "", f"cannot be read: {error.strerror}")
            values = None
    base = Variables(values or {}, environ, None, shown(beside), values is not None, places)
    path: YamlPath = ("instances", instance, "env_file")
    named = _value_at(data, path)
    if named is None:
        return base
    written = _expand_quietly(named, base)
    if written is None:
        return Variables(base.values, environ, None, base.define_in, complete=False, places=places)
    file = directory / written
    try:
        over = read_env_file(file, base.values, environ, findings, places)
    except OSError as error:
        _note_unreadable(path, file, Interpolated(written, named), error, findings)
        over = None
    merged = {**base.values, **(over or {})}
    complete = base.complete and over is not None
    return Variables(merged, environ, file, shown(file), complete, places)


def read_env_file(
    file: Path,
    outer: Mapping[str, str],
    environ: Mapping[str, str],
    findings: Findings,
    places: dict[str, str] | None = None,
) -> Mapping[str, str] | None:
    """Return the variables of an env file and note its mistakes and the `places` of variables; None
    if it is not text.

    Raise OSError when the file cannot be opened.
    """
    parsed = parse_env_file(read_bounded(file), outer, environ)
    for mistake in parsed.mistakes:
        fact, hint = mistake.fact, mistake.hint
        if mistake.missing is not None:
            fact += f": {clip(mistake.missing.message)}" if mistake.missing.message else ""
            hint = suggest(mistake.missing.name, mistake.known, unlike=hint)
        findings.add_elsewhere(shown(file), mistake.line, mistake.name, fact, hint)
    if places is not None:
        places.update({name: f"{shown(file)}:{line}" for name, line in parsed.lines.items()})
    return parsed.values if parsed.is_text else None


def no_variables() -> Variables:
    """Return no variables, for when no instance is chosen."""
    return Variables({}, {}, None, "", complete=False)


def interpolate(
    data: Mapping[str, Value], instance: str | None, variables: Variables, findings: Findings
) -> dict[str, Value]:
    """Return the document with every `${VAR}` replaced, and report mistakes.

    Values of other instances become Unresolved, because their env files need not exist here.
    """
    runtime = _value_at(data, ("instances", instance, "runtime")) if instance else None
    is_host = runtime is not None and _expand_quietly(runtime, variables) == "host"
    return _Interpolation(instance, variables, findings, is_host=is_host).mapping(data, ())


class _Interpolation:
    def __init__(
        self, instance: str | None, variables: Variables, findings: Findings, *, is_host: bool
    ) -> None:
        self._instance = instance
        self._variables = variables
        self._findings = findings
        self._is_host = is_host

    def mapping(self, data: Mapping[str, Value], path: YamlPath) -> dict[str, Value]:
        return {key: self._value(value, (*path, key)) for key, value in data.items()}

    def _value(self, value: Value, path: YamlPath) -> Value:
        if isinstance(value, dict):
            return self.mapping(value, path)
        if isinstance(value, list):
            return [self._value(child, (*path, index)) for index, child in enumerate(value)]
        is_address = len(path) == 3 and path[0] in ("notify", "ping") and path[2] != "on"
        is_secret = is_address or (len(path) == 3 and path[-1] == "password")
        if is_secret and isinstance(value, bool):
            value = "literal"
        if not isinstance(value, str) or (path == ("default_instance",)):
            return value
        try:
            template = parse_template(value)
        except TemplateError as error:
            # A literal password is reported as such, whatever else is wrong with it.
            if not is_secret:
                self._findings.add(path, error.fact, error.hint)
                return Unresolved()
            template = ("",)
        if is_secret and not is_only_references(template):
            fact = "a password must not be in this file"
            hint = "write '${NAME}' and define NAME in the env file, or use password_file"
            if is_address:
                fact = "a URL that grants access must not be in this file"
                hint = "write '${NAME}' and define NAME in the env file"
            self._findings.add(path, fact, hint)
            return Unresolved()
        return self._fill(value, template, path)

    def _fill(self, value: str, template: Template, path: YamlPath) -> Value:
        if all(isinstance(part, str) for part in template):
            return "".join(part for part in template if isinstance(part, str))
        if not self._concerns_instance(path):
            return Unresolved()
        missing: list[Missing] = []
        text = expand(template, self._variables.lookup, missing)
        for entry in missing:
            self._note(entry, path)
        if missing:
            return Unresolved()
        named = next((part.name for part in template if isinstance(part, Reference)), "")
        return Interpolated(text, value, self._variables.advice(named) if named else "")

    def _concerns_instance(self, path: YamlPath) -> bool:
        if self._instance is None or (path[0] == "services" and not self._is_host):
            return False
        return path[0] != "instances" or path[1] == self._instance

    def _note(self, entry: Missing, path: YamlPath) -> None:
        """Report an undefined variable, unless it may be defined in a file that cannot be read."""
        variables = self._variables
        if not variables.complete and path[-1] != "env_file":
            return
        fact = f"variable '{entry.name}' is {'empty' if entry.empty else 'not defined'}"
        if entry.message:
            fact += f": {clip(entry.message)}"
        if entry.empty:
            self._findings.add(path, fact, variables.advice(entry.name))
            return
        define = f"define it in {variables.define_in}"
        meant = suggest(entry.name, variables.values, unlike="")
        self._findings.add(path, fact, "; ".join(filter(None, (define, meant))))


def _value_at(data: Mapping[str, Value], path: tuple[str | int | None, ...]) -> str | None:
    value: Value | Mapping[str, Value] = data
    for part in path:
        value = value.get(str(part)) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value else None


def _expand_quietly(text: str, variables: Variables) -> str | None:
    """Return a text with variables replaced, or None if mistakes are reported elsewhere."""
    missing: list[Missing] = []
    try:
        value = expand(parse_template(text), variables.lookup, missing)
    except TemplateError:
        return None
    return None if missing or "\0" in value else value


def _note_unreadable(
    path: YamlPath, file: Path, name: Interpolated, error: OSError, findings: Findings
) -> None:
    what = clip(name.source)
    example = file.with_name(f"{file.name}.example")
    if not isinstance(error, FileNotFoundError):
        hint = hint_for_reading(error, shown(file), "check the path")
        findings.add(path, f"cannot read '{what}': {error.strerror}", hint)
    elif is_there(example.is_file) and name == name.source:
        hint = f"run 'cp {shown(example)} {shown(file)}' and fill it in"
        findings.add(path, f"'{what}' does not exist", hint)
    else:
        hint = "create it, or remove 'env_file'"
        findings.add(path, f"'{what}' does not exist", hint)
