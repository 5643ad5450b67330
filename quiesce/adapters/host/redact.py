"""Describes the services of `runtime: host` for a set, without literals that could be secrets."""

from __future__ import annotations

import os
from typing import Any

from quiesce.adapters.redaction import WITHHELD, is_secret
from quiesce.model import HostService, Stack, without_query


def describe(stack: Stack) -> bytes:
    """Return the `services:` section as YAML.

    Of commands only the program is kept and of variables only the name: any other text may be a
    password, written there or taken from the env file.
    """
    import yaml

    model = {"services": {entry.name: _service(entry, stack) for entry in stack.host_services}}
    text = yaml.safe_dump(model, sort_keys=False, allow_unicode=True)
    for name, value in stack.instance.environment.items():
        if is_secret(name, value):
            text = text.replace(value, "***")
    return text.encode()


def _service(service: HostService, stack: Stack) -> dict[str, Any]:
    described: dict[str, Any] = {
        "command": _words(service.command),
        "postgres": service.postgres,
        "cwd": os.path.relpath(service.cwd, stack.directory),
        "environment": dict.fromkeys(service.environment, WITHHELD),
        "port": service.port,
        "volumes": dict(service.volumes),
        "health": _words(service.health),
        "health_http": service.health_http and without_query(service.health_http),
        "depends_on": list(service.depends_on),
        "stop_signal": service.stop_signal,
        "stop_timeout": service.stop_timeout,
    }
    return {key: value for key, value in described.items() if value not in (None, [], {})}


def _words(argv: tuple[str, ...]) -> list[str]:
    return [*argv[:1], *(WITHHELD for _ in argv[1:])]
