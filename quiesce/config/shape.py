"""Checks a document against the schema, with Quiesce's messages, and keeps the valid parts."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from quiesce.config.findings import Findings, YamlPath, clip
from quiesce.config.scalars import Unresolved, describe
from quiesce.config.schema import StackFile
from quiesce.config.yaml_nodes import Value
from quiesce.suggest import nearest, suggest

#: Reserved words of the format that this version does not implement. They are refused, so that
#: nobody relies on them.
RESERVED = frozenset({"dump", "profiles"})
_KEY = "[key]"


def validate_shape(data: dict[str, Value], findings: Findings) -> StackFile | None:
    """Return the document as typed sections, and report every mistake of shape.

    Invalid values are left out of the result, so that the rest can be checked. None if too little
    is left.
    """
    rest = {key: _copy(value) for key, value in data.items()}
    noted = False
    while True:
        try:
            return StackFile.model_validate(rest)
        except ValidationError as error:
            details = error.errors(include_url=False)
        if not noted:
            _note(details, findings)
        # Leaving out a value can make its parent incomplete. That is not another mistake.
        noted = True
        if not all(_leave_out(rest, detail["loc"], detail["type"]) for detail in details):
            return None


def _note(details: list[ErrorDetails], findings: Findings) -> None:
    meant = {
        (*detail["loc"][:-1], nearest(str(detail["loc"][-1]), _fields(detail["loc"][:-1])))
        for detail in details
        if detail["type"] == "extra_forbidden"
    }
    for detail in details:
        path = tuple(part for part in detail["loc"] if part != _KEY)
        # A key that is misspelt is not missing as well.
        if path in findings.spoiled or (detail["type"] == "missing" and path in meant):
            continue
        fact, hint = _explain(detail["type"], path, detail["input"], detail.get("ctx", {}))
        findings.add(path, fact, hint)


def _explain(error: str, path: YamlPath, found: object, context: dict[str, Any]) -> tuple[str, str]:
    if error == "quiesce":
        return context["fact"], context["hint"]
    if error == "missing":
        return "is missing", f"add '{path[-1]}:'"
    if error == "extra_forbidden":
        return _explain_unknown(str(path[-1]), path)
    if error == "too_short":
        return "has no entry", "add one"
    wanted = "a list" if error == "list_type" else "a mapping"
    hint = "write [one, two], or one line '- one' for each" if error == "list_type" else ""
    return f"expected {wanted}, found {describe(found)}", hint or "write 'key: value' below it"


def _explain_unknown(word: str, path: YamlPath) -> tuple[str, str]:
    known = _fields(path[:-1])
    if word in RESERVED:
        return f"'{word}' is not supported by this version", "remove it"
    fact = f"unknown key '{clip(word)}'"
    for section, field in StackFile.model_fields.items():
        model = _model_in(field.annotation)
        if model and word in model.model_fields:
            return fact, suggest(word, known, unlike=f"it belongs to '{section}'")
    return fact, suggest(word, known)


def _fields(path: YamlPath) -> tuple[str, ...]:
    """The known keys at a path: those of its section, regardless of the entry's name."""
    model: type[BaseModel] = StackFile
    for part in path:
        if part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation) or model
    return tuple(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)


def _copy(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _copy(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_copy(child) for child in value]
    return value


def _leave_out(rest: dict[str, Value], location: YamlPath, error: str) -> bool:
    """Remove an invalid value from the document; return whether enough is left to continue."""
    if error == "missing" and len(location) == 1:
        rest["version"] = "1"
        return location == ("version",)
    path = tuple(part for part in location if part != _KEY)
    around: Value = rest
    for part in path[:-1]:
        if isinstance(around, dict):
            around = around.get(str(part))
        elif isinstance(around, list):
            around = around[int(part)]
    last = path[-1]
    if isinstance(around, list):
        if isinstance(around[int(last)], Unresolved):
            # Nothing stands in for a mapping in a list: then the list is left out.
            return _leave_out(rest, path[:-1], error)
        # What comes after it keeps its position.
        around[int(last)] = Unresolved()
    elif isinstance(around, dict) and path == location and error in {"quiesce", "missing"}:
        # What it belongs to can still be checked.
        around[str(last)] = Unresolved()
    elif isinstance(around, dict):
        around.pop(str(last), None)
    return True
