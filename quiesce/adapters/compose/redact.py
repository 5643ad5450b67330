"""Redacts the Compose model for storage in a set: literals that could be secrets are replaced.

Pure. `docker compose config --no-interpolate` leaves `${NAME}` where a value comes from outside; a
literal (also a default after `:-`) may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from quiesce.adapters.redaction import WITHHELD

#: Keys below which no literal is kept, anywhere in the model.
CLOSED = frozenset(
    {
        "annotations",
        "args",
        "cache_from",
        "cache_to",
        "command",
        "content",
        "credential_spec",
        "dockerfile_inline",
        "driver_opts",
        "entrypoint",
        "environment",
        "extra_hosts",
        "healthcheck",
        "label_file",
        "labels",
        "options",
        "post_start",
        "pre_stop",
        "ssh",
        "storage_opt",
        "sysctls",
    }
)
#: Keys below a closed key that contain no secrets and describe the stack.
OPEN = frozenset({"disable", "interval", "retries", "start_interval", "start_period", "timeout"})

_REFERENCE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_]\w*)|(?P<bare>[A-Za-z_]\w*))")
_ONLY_REFERENCE = re.compile(r"\$(?:\{[A-Za-z_]\w*(?::?\?[^{}]*)?\}|[A-Za-z_]\w*)")
_DEFAULTED = re.compile(r"\$\{([A-Za-z_]\w*):?[-+]")


def redact(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model without literals below closed keys and without defaults."""
    return {key: _value(key, value, closed=_closes(key)) for key, value in model.items()}


def _value(key: str, value: Any, *, closed: bool) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _value(str(name), inner, closed=_below(str(name), closed=closed))
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_item(key, item, closed=closed) for item in value]
    return _text(value, closed=closed)


def _item(key: str, item: Any, *, closed: bool) -> Any:
    if closed and key != "command" and isinstance(item, str) and "=" in item:
        name, _, rest = item.partition("=")
        if re.fullmatch(r"[A-Za-z_][\w.-]*", name):
            return f"{name}={_text(rest, closed=True)}"
    return _value(key, item, closed=closed)


def _text(value: Any, *, closed: bool) -> Any:
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    if closed and not _ONLY_REFERENCE.fullmatch(text):
        return _withheld(text)
    if not closed and isinstance(value, str) and _holds_credentials(text):
        return _withheld(text)
    if isinstance(value, str) and _DEFAULTED.search(text) and _looks_secret(text):
        return _withheld(text)
    return value


def _withheld(text: str) -> str:
    names = sorted({m["braced"] or m["bare"] for m in _REFERENCE.finditer(text)})
    return f"{WITHHELD} with {', '.join(names)}" if names else WITHHELD


def _holds_credentials(text: str) -> bool:
    """Whether a text contains `user:password@host/`, or an address with a user or a query."""
    found = re.search(r"://([^/@\s]+@|[^\s$]*\?\S)|(^|[\s=])[^/@\s:]+:[^/@\s]+@[^/@\s]+/", text)
    return found is not None


def _looks_secret(text: str) -> bool:
    names = [m["braced"] or m["bare"] for m in _REFERENCE.finditer(text)]
    return any(re.search(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL", n, re.IGNORECASE) for n in names)


def _closes(key: str) -> bool:
    return key in CLOSED or key.startswith("x-")


def _below(key: str, *, closed: bool) -> bool:
    return (closed and key not in OPEN) or _closes(key)
