"""Frozen dataclasses to JSON values and back, for plans, journals and manifests. Pure.

A field's declared type decides how it is decoded, so the JSON stays plain. Members of a union of
dataclasses (the steps of a plan) have their class name under `step`. Unknown keys are ignored,
missing ones take the field's default, so that newer versions read what older ones wrote. A field
with `SPARSE` as its metadata is left out while it has its default.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Hashable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

TAG = "step"
#: The metadata of a field that is written only if it differs from its default.
SPARSE: Mapping[str, bool] = types.MappingProxyType({"sparse": True})


class NotDecodable(ValueError):
    """The JSON value does not match the expected type; the text says where and why."""


def encode(value: Any) -> Any:
    """Return `value` as plain JSON values. Raise TypeError for unsupported types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        body = {
            f.name: encode(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not (f.metadata.get("sparse") and getattr(value, f.name) == _default(f))
        }
        return {TAG: type(value).__name__, **body}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} cannot be stored in a record")


def _default(f: dataclasses.Field[Any]) -> Any:
    return f.default if f.default_factory is dataclasses.MISSING else f.default_factory()


def decode(kind: Any, value: Any, at: str = "") -> Any:
    """Return the value of type `kind` that `encode` made `value` from.

    Raise NotDecodable with the position of the first thing that does not fit.
    """
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(kind), value, at)
    if origin is Literal:
        if value not in get_args(kind):
            raise NotDecodable(f"{at or '/'}: {value!r} is not one of {get_args(kind)}")
        return value
    if origin is tuple:
        return _decode_tuple(get_args(kind), value, at)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        _expect(dict, value, at)
        item = get_args(kind)[1]
        return {key: decode(item, entry, f"{at}/{key}") for key, entry in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, at)
    return _decode_plain(kind, value, at)


def _decode_plain(kind: Any, value: Any, at: str) -> Any:
    if kind is datetime or kind is Path:
        _expect(str, value, at)
        try:
            return datetime.fromisoformat(value) if kind is datetime else Path(value)
        except ValueError as error:
            raise NotDecodable(f"{at or '/'}: {error}") from error
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is types.NoneType:
        kind = type(None)
    if kind in (int, float) and isinstance(value, bool):
        raise NotDecodable(f"{at or '/'}: expected {kind.__name__}, not {value!r}")
    _expect(kind, value, at)
    return value


def _decode_union(kinds: tuple[Any, ...], value: Any, at: str) -> Any:
    if isinstance(value, dict) and TAG in value:
        for kind in kinds:
            # The base class knows its kinds, also by their former names.
            known = getattr(kind, "kinds", None) or {getattr(kind, "__name__", ""): kind}
            if value[TAG] in known:
                return decode(known[value[TAG]], value, at)
        raise NotDecodable(f"{at or '/'}: unknown {TAG} {value[TAG]!r}")
    for kind in kinds:
        try:
            return decode(kind, value, at)
        except NotDecodable:
            continue
    raise NotDecodable(f"{at or '/'}: {value!r} fits none of the expected types")


def _decode_tuple(kinds: tuple[Any, ...], value: Any, at: str) -> tuple[Any, ...]:
    _expect(list, value, at)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(decode(kinds[0], item, f"{at}/{i}") for i, item in enumerate(value))
    if len(kinds) != len(value):
        raise NotDecodable(f"{at or '/'}: expected {len(kinds)} values, got {len(value)}")
    return tuple(decode(kind, item, at) for kind, item in zip(kinds, value, strict=True))


def _decode_dataclass(kind: type[Any], value: Any, at: str) -> Any:
    _expect(dict, value, at)
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    given = {}
    for f in dataclasses.fields(kind):
        if f.name in value:
            given[f.name] = decode(hints[f.name], value[f.name], f"{at}/{f.name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise NotDecodable(f"{at or '/'}: {f.name} is missing")
    return kind(**given)


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _expect(kind: type[Any], value: Any, at: str) -> None:
    if not isinstance(value, kind):
        raise NotDecodable(f"{at or '/'}: expected {kind.__name__}, not {type(value).__name__}")
