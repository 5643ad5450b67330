"""Status and check: what is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

from quiesce.app.changing import runs_folder
from quiesce.errors import QuiesceError
from quiesce.execute import journal, lock
from quiesce.execute.run import Ports
from quiesce.findings import Finding
from quiesce.model import Stack
from quiesce.observed import Observed
from quiesce.plan.services import nearest, ordered
from quiesce.report import Reporter, UnfinishedRun


def show_status(stack: Stack, ports: Ports, observed: Observed, reporter: Reporter) -> None:
    """Report services, databases, volumes, sets and interrupted runs."""
    sets = tuple(s for s in ports.store.sets() if s.manifest.instance == stack.instance.name)
    reporter.status(
        observed,
        stack,
        sets,
        ports.clock.now(),
        interrupted(stack),
        _sizes(stack, ports, observed),
    )


def interrupted(stack: Stack) -> tuple[UnfinishedRun, ...]:
    """Return every run that died owing something."""
    folder = runs_folder(stack)
    if not folder.is_dir() or not lock.is_free(folder / "lock"):
        return ()
    return tuple(
        UnfinishedRun(dead.run, dead.plan.request if dead.plan else dead.problem)
        for dead in journal.unfinished(folder)
    )


def _sizes(stack: Stack, ports: Ports, observed: Observed) -> Mapping[str, tuple[int, int]]:
    sizes = {}
    for volume in stack.volumes:
        state = observed.volume(volume.key)
        if not state.exists:
            continue
        try:
            size = ports.volumes.measure(state)
        except QuiesceError as error:
            ports.sink.warn(f"volume {volume.key} cannot be measured: {error}")
            continue
        sizes[volume.key] = (size.files, size.bytes)
    return sizes


def find_findings(stack: Stack, ports: Ports, observed: Observed) -> tuple[Finding, ...]:
    """Return what `inv check` found: stack.yaml against the Compose model and the servers."""
    found = [*_services(stack, observed), *_volumes(stack, observed), *_databases(stack, observed)]
    found += [
        Finding("error", dead.run, f"{dead.verb} was interrupted", "run 'inv recover'")
        for dead in interrupted(stack)
    ]
    found += [
        Finding("warning", name, reason, "move it out of backups/, or remove it")
        for name, reason in ports.store.unreadable()
    ]
    if not any(finding.level == "error" for finding in found):
        found.append(Finding("ok", stack.file.name, "agrees with the stack", ""))
    return tuple(found)


def _services(stack: Stack, observed: Observed) -> list[Finding]:
    names = {service.name for service in observed.services}
    found = []
    try:
        ordered(stack, observed)
    except QuiesceError as error:
        found.append(Finding("error", "restart.order", error.fact, error.hint))
    for database in stack.databases:
        if database.service not in names:
            found.append(
                Finding(
                    "error",
                    f"databases.{database.key}.service",
                    f"there is no service {database.service}",
                    f"{nearest(database.service, names)}?",
                )
            )
    named = (
        ("writers.services", stack.writers),
        ("restart.keep_running", stack.restart.keep_running),
    )
    for path, listed in named:
        for name in set(listed) - names:
            found.append(
                Finding("error", path, f"there is no service {name}", f"{nearest(name, names)}?")
            )
    return found


def _volumes(stack: Stack, observed: Observed) -> list[Finding]:
    declared = {volume.key for volume in stack.volumes} | set(stack.excluded_volumes)
    found = [
        Finding(
            "error",
            volume.key,
            "is a volume of the stack that stack.yaml neither lists nor excludes",
            f"add to volumes:  {volume.key}: {{purpose: …, priority: critical}}",
        )
        for volume in observed.volumes
        if volume.key not in declared
    ]
    for volume in observed.volumes:
        if volume.outside and volume.key in declared:
            found.append(
                Finding(
                    "warning",
                    volume.key,
                    f"is also used outside the project by {', '.join(volume.outside)}",
                    "a backup cannot stop what it does not know",
                )
            )
    return found


def _databases(stack: Stack, observed: Observed) -> list[Finding]:
    return [
        Finding(
            "error",
            name,
            "is a database on the server that stack.yaml neither lists nor excludes",
            f"add it to databases, or to exclude_databases: [{name}]",
        )
        for name in observed.undeclared_databases
        if name not in stack.excluded_databases
    ]
