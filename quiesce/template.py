"""`${VAR}` in text, with Compose's syntax: parsed once, replaced with a lookup.

`${V}`, `${V:-default}`, `${V-default}`, `${V:?message}`, `${V?message}`, `${V:+other}`,
`${V+other}`, and `$$` for a dollar sign. With a colon an empty variable counts as undefined.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Lookup = Callable[[str], "str | None"]

_START = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<operator>:?[-?+]|)")
_BARE = re.compile(r"\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class Reference:
    """A `${name}`; `argument` is the text after the operator."""

    name: str
    operator: str
    argument: Template


Template: TypeAlias = "tuple[str | Reference, ...]"


@dataclass(frozen=True, slots=True)
class Missing:
    """A required variable that is undefined, and the message for it in the template."""

    name: str
    message: str
    empty: bool


class TemplateError(ValueError):
    """The text is not a valid template. `fact` and `hint` do not quote it (secrets)."""

    def __init__(self, fact: str, hint: str) -> None:
        super().__init__(fact)
        self.fact = fact
        self.hint = hint


def parse_template(text: str, *, bare: bool = False) -> Template:
    """Return the parts of a text.

    With `bare`, as in env files, `$NAME` without braces is a reference too, and a dollar sign
    before anything else is literal. Raise TemplateError for an invalid reference.
    """
    parts, end = _parse(text, 0, bare=bare, depth=0)
    if end < len(text):
        raise AssertionError(end)
    return parts


def expand(template: Template, lookup: Lookup, missing: list[Missing]) -> str:
    """Return the text with every reference replaced; undefined ones are added to `missing`."""
    return "".join(
        part if isinstance(part, str) else _fill(part, lookup, missing) for part in template
    )


def is_only_references(template: Template) -> bool:
    """Whether the value consists of references only, without literal text or defaults."""
    return bool(template) and all(
        isinstance(part, Reference)
        and (not part.argument or "?" in part.operator or is_only_references(part.argument))
        for part in template
    )


def _fill(reference: Reference, lookup: Lookup, missing: list[Missing]) -> str:
    value = lookup(reference.name)
    operator = reference.operator
    counts = value is not None and not (operator.startswith(":") and value == "")
    if operator.endswith("+"):
        return expand(reference.argument, lookup, missing) if counts else ""
    if counts and value is not None:
        return value
    if operator.endswith("-"):
        return expand(reference.argument, lookup, missing)
    # The message is shown without replacing variables, so that it shows no value.
    message = "".join(part for part in reference.argument if isinstance(part, str))
    missing.append(Missing(reference.name, message.strip(), empty=value == ""))
    return ""


def _parse(text: str, start: int, *, bare: bool, depth: int) -> tuple[Template, int]:
    """Parse up to the end, or inside a reference up to its closing brace."""
    parts: list[str | Reference] = []
    at = start
    braces = 0
    while at < len(text):
        if text[at] != "$":
            # A default may be JSON: nested braces do not end the reference.
            braces += {"{": 1, "}": -1}.get(text[at], 0)
            if depth and braces < 0:
                break
            parts.append(text[at])
            at += 1
        elif text.startswith("$$", at):
            parts.append("$")
            at += 2
        else:
            part, at = _parse_dollar(text, at, bare=bare, depth=depth)
            parts.append(part)
    return tuple(parts), at


def _parse_dollar(text: str, at: int, *, bare: bool, depth: int) -> tuple[str | Reference, int]:
    if found := _START.match(text, at):
        if depth == _DEEPEST:
            raise TemplateError("'${' nested too deeply", "use fewer defaults of defaults")
        argument: Template = ()
        end = found.end()
        if found["operator"]:
            argument, end = _parse(text, end, bare=bare, depth=depth + 1)
        if end == len(text):
            raise TemplateError("a '${' is not closed", "write '${NAME}'")
        if text[end] != "}":
            fact = f"unexpected character after the name in '${{{found['name']}'"
            raise TemplateError(fact, "write '${NAME}' or '${NAME:-default}'")
        return Reference(found["name"], found["operator"], argument), end + 1
    if bare and (found := _BARE.match(text, at)):
        return Reference(found["name"], "", ()), found.end()
    if bare and not text.startswith("${", at):
        return "$", at + 1
    hint = "write '${NAME}' for a variable, or '$$' for a dollar sign"
    raise TemplateError("a '$' that does not start a variable", hint)
