"""Rules for `engine` in `databases`: a database must not declare what its engine cannot do."""

from __future__ import annotations

from quiesce.config.findings import Findings, YamlPath
from quiesce.config.scalars import Unresolved, show
from quiesce.config.schema import DatabaseSection, StackFile
from quiesce.model import Capability, engine_of, lacks


def check_engines(stack: StackFile, *, host: bool, findings: Findings) -> None:
    """Report databases that declare what their engine cannot do, and services with two engines.

    `host`: the chosen instance has `runtime: host`.
    """
    engines: dict[str, tuple[str, str]] = {}
    for key, entry in stack.databases.items():
        if isinstance(entry.engine, Unresolved):
            continue
        path: YamlPath = ("databases", key)
        engine, other = engines.setdefault(entry.service, (entry.engine, key))
        if entry.engine != engine:
            line = findings.line(("databases", other))
            fact = f"service {show(entry.service)} has engine {engine} for '{other}' in line {line}"
            findings.add((*path, "engine"), fact, "give all databases of a service one engine")
        for word, capability in _wanted(entry, host=host).items():
            if not engine_of(entry.engine).can(capability):
                fact = lacks(entry.engine, capability)
                findings.add((*path, word), fact, _HINTS[capability])


_HINTS: dict[Capability, str] = {
    "migrations": "remove 'migrations'; 'before:' can run a command in a service",
    "globals": "remove 'roles'",
    "embedded": "use 'runtime: compose' for this instance",
}


def _wanted(entry: DatabaseSection, *, host: bool) -> dict[str, Capability]:
    """Return the capabilities that these keys need."""
    wanted: dict[str, Capability] = {}
    if entry.migrations is not None:
        wanted["migrations"] = "migrations"
    if entry.roles == "with-passwords":
        wanted["roles"] = "globals"
    if host:
        wanted["engine"] = "embedded"
    return wanted
