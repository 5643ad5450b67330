"""Rules for `services:`, which `runtime: host` starts; Compose checks its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from quiesce.config.findings import Findings, YamlPath, is_there
from quiesce.config.scalars import Unresolved, show
from quiesce.config.schema import ServiceSection, StackFile
from quiesce.suggest import suggest


def check_host_services(
    stack: StackFile,
    known: Sequence[str],
    volumes: Sequence[str],
    directory: Path,
    findings: Findings,
) -> None:
    """Report every mistake in the services. `known` and `volumes` are all names in the file."""
    for name, service in stack.services.items():
        _check_service(service, ("services", name), known, volumes, directory, findings)
    _check_databases(stack, known, findings)
    # With Compose instances in the same file, these may be services of Compose.
    if all(instance.runtime == "host" for instance in stack.instances.values()):
        _check_names(stack, known, findings)
    needs = {name: service.depends_on for name, service in stack.services.items()}
    if cycle := _cycle(needs):
        path = ("services", cycle[0], "depends_on")
        fact = f"services depend on each other in a cycle: {' → '.join(cycle)}"
        findings.add(path, fact, "break the cycle in one 'depends_on'")
    else:
        _check_order(stack.restart.order, needs, findings)


def _check_service(
    service: ServiceSection,
    path: YamlPath,
    known: Sequence[str],
    volumes: Sequence[str],
    directory: Path,
    findings: Findings,
) -> None:
    if (service.command is None) == (service.postgres is None):
        fact = "needs either 'command' or 'postgres'"
        findings.add(path, fact, "write 'command: [program, argument]' or 'postgres: embedded'")
    if service.postgres is None:
        for key in ("user", "password", "password_file"):
            if key in service.model_fields_set:
                fact = "applies to 'postgres: embedded' only"
                findings.add((*path, key), fact, "use 'environment:' for a program")
    if service.health is not None and service.health_http is not None:
        fact = "a 'health' command is also given"
        findings.add((*path, "health_http"), fact, "keep one of them")
    if service.health_http is not None and service.port is None:
        findings.add((*path, "health_http"), "needs 'port'", "add 'port:'")
    for key in service.volumes:
        if key not in volumes:
            fact = f"there is no volume {show(key)}"
            hint = suggest(key, volumes, none="add it to 'volumes:'")
            findings.add((*path, "volumes", key), fact, hint)
    for index, other in enumerate(service.depends_on):
        if other not in known and not isinstance(other, Unresolved):
            fact = f"there is no service {show(other)}"
            findings.add((*path, "depends_on", index), fact, suggest(other, known))
    if (
        service.cwd is not None
        and not isinstance(service.cwd, Unresolved)
        and not is_there((directory / service.cwd).is_dir)
    ):
        fact = f"the folder {show(service.cwd)} does not exist"
        findings.add((*path, "cwd"), fact, f"paths are relative to {directory.name}/")


def _check_databases(stack: StackFile, known: Sequence[str], findings: Findings) -> None:
    for key, database in stack.databases.items():
        if isinstance(database.service, Unresolved):
            continue
        path = ("databases", key, "service")
        if database.service not in known:
            fact = f"there is no service {show(database.service)}"
            findings.add(path, fact, suggest(database.service, known, none="add it to 'services:'"))
            continue
        service = stack.services.get(database.service)
        if service and service.postgres is None:
            fact = f"the service {show(database.service)} is not a database server"
            findings.add(path, fact, "give it 'postgres: embedded' instead of a command")


def _check_names(stack: StackFile, known: Sequence[str], findings: Findings) -> None:
    lists = {
        ("restart", "order"): stack.restart.order,
        ("restart", "keep_running"): stack.restart.keep_running,
        ("writers", "services"): stack.writers.services,
    }
    for path, names in lists.items():
        for index, name in enumerate(names):
            if name not in known and not isinstance(name, Unresolved):
                fact = f"there is no service {show(name)}"
                findings.add((*path, index), fact, suggest(name, known))


def _check_order(
    order: Sequence[str], needs: Mapping[str, Sequence[str]], findings: Findings
) -> None:
    place = {name: index for index, name in reversed(list(enumerate(order)))}
    for name, required in needs.items():
        for index, other in enumerate(required):
            if name in place and place.get(other, -1) > place[name]:
                line = findings.line(("services", name, "depends_on", index))
                fact = f"'{name}' starts before '{other}', but depends on it in line {line}"
                path = ("restart", "order", place[name])
                findings.add(path, fact, f"move '{other}' before '{name}'")


def _cycle(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a dependency cycle, with its first service repeated at its end, or nothing."""
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        waiting = [iter([start])]
        while waiting:
            name = next(waiting[-1], None)
            if name is None:
                waiting.pop()
                done.update(path[-1:])
                path[-1:] = []
            elif name in path:
                return [*path[path.index(name) :], name]
            elif name not in done:
                path.append(name)
                waiting.append(iter(needs.get(name, ())))
    return []
