"""The verb `check`: compares stack.yaml with the Compose model and the servers."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from quiesce.errors import CheckFailed

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.observed import Observed

from quiesce.app.leftovers import leftovers
from quiesce.app.outlook import room_for_next
from quiesce.app.restore_findings import restore_findings
from quiesce.app.session import Session
from quiesce.commands.recover import interrupted
from quiesce.errors import QuiesceError
from quiesce.execute.run import Ports
from quiesce.findings import Finding
from quiesce.model import DatabaseRecord, Stack
from quiesce.observed import Observed
from quiesce.obstacles import Obstacle, flag_for
from quiesce.plan.folders import refuse_servers
from quiesce.plan.foreign_mounts import foreign_hint
from quiesce.plan.live_servers import live_server_findings
from quiesce.plan.project_name import other_project_findings
from quiesce.plan.services import ordered
from quiesce.report import words
from quiesce.suggest import suggest
from quiesce.undeclared import Contents, find_undeclared


def find_findings(stack: Stack, ports: Ports, observed: Observed) -> tuple[Finding, ...]:
    """Compare stack.yaml with the Compose model and the servers, and return the findings."""
    left = leftovers(stack, ports)
    found = [*other_project_findings(stack, observed), *_services(stack, observed)]
    found += _volumes(stack, observed)
    found += live_server_findings(stack, observed.services)
    found += _databases(observed)
    found += _undeclared(stack, ports, observed, {one.database for one in left})
    found += restore_findings(stack, ports, observed)
    found += [
        Finding("error", stack.file.name, error.fact, error.hint)
        for error in refuse_servers(stack, observed)
    ]
    found += _foreign_mounts(observed)
    found += _obstacles(stack, ports, observed)
    found += [
        Finding("error", dead.run, f"{dead.verb} was interrupted", "run 'inv recover'")
        for dead in interrupted(stack)
    ]
    found += [
        Finding("error" if one.service else "warning", one.run, one.fact, one.hint) for one in left
    ]
    found += [
        Finding(
            "warning",
            name,
            reason,
            "correct the cause, or move it out of backups/; another version may be able to read it",
        )
        for name, reason in ports.store.unreadable()
    ]
    if not any(finding.level == "error" for finding in found):
        found.append(Finding("ok", stack.file.name, "matches the stack", ""))
    found.append(room_for_next(stack, ports, observed))
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
                    suggest(database.service, names),
                )
            )
    named = (
        ("writers.services", stack.writers),
        ("restart.keep_running", stack.restart.keep_running),
    )
    for path, listed in named:
        for name in set(listed) - names:
            found.append(
                Finding("error", path, f"there is no service {name}", suggest(name, names))
            )
    return found


def _volumes(stack: Stack, observed: Observed) -> list[Finding]:
    declared = {volume.key for volume in stack.volumes} | set(stack.excluded_volumes)
    found = []
    writing = {m.container for s in observed.services for m in s.foreign_mounts}
    used = {mount.volume for service in observed.services for mount in service.mounts}
    kept = {volume.key for volume in stack.volumes if volume.backup == "files"}
    for volume in observed.volumes:
        if volume.key in kept - used:
            found.append(
                Finding(
                    "warning",
                    volume.key,
                    "is not mounted by any service; it is still backed up and restored",
                    "mount it, or remove it from stack.yaml if it is no longer needed",
                )
            )
        if set(volume.outside) - writing and volume.key in declared:
            found.append(
                Finding(
                    "warning",
                    volume.key,
                    f"is also used outside the project by {', '.join(volume.outside)}",
                    "a backup cannot stop that container: stop it yourself during backups",
                )
            )
    return found


def _obstacles(stack: Stack, ports: Ports, observed: Observed) -> list[Finding]:
    """Return what would make a restore of a database fail: according to its current catalogs, and
    constraints that rows violated when the newest set was made."""
    found = []
    for database in stack.databases:
        state = observed.database(database.key)
        if state.reachable and state.exists:
            facts = [obstacle.fact for obstacle in ports.databases.obstacles(database)]
            hint = "qualify the name with its schema, or run ALTER FUNCTION … SET search_path"
            found += [Finding("warning", database.key, fact, hint) for fact in facts]
        found += [
            Finding(
                "warning",
                database.key,
                f"{obstacle.fact} (in {name})",
                _remedy(name, obstacle, record),
            )
            for name, record in _newest(stack, ports, database.key)
            for obstacle in record.obstacles
            if obstacle.kind != "names"
        ]
    return found


def _remedy(name: str, obstacle: Obstacle, record: DatabaseRecord) -> str:
    if flag := flag_for(obstacle, record.server_version):
        return (
            "correct the rows, or drop the constraint and add it again as NOT VALID; a full "
            f"restore of {name} needs {flag}"
        )
    return "change the column to DOUBLE before the next backup"


def _newest(stack: Stack, ports: Ports, key: str) -> list[tuple[str, DatabaseRecord]]:
    """Name and record of the newest set of this instance that contains the database, if any."""
    found = [
        (backup.manifest.created_at, backup.name, record)
        for backup in ports.store.sets()
        if backup.manifest.instance == stack.instance.name
        for record in backup.manifest.databases
        if record.key == key
    ]
    return [max(found, key=lambda one: one[0])[1:]] if found else []


def _databases(observed: Observed) -> list[Finding]:
    """Return findings about unreachable databases."""
    return [
        Finding("error", state.key, f"cannot be reached: {state.problem}", state.remedy)
        for state in observed.databases
        if state.remedy
    ]


def _undeclared(
    stack: Stack, ports: Ports, observed: Observed, left: Collection[str]
) -> list[Finding]:
    """Return findings about data that no set contains; `left` are databases that a run could not
    drop."""
    names = [name for name in observed.undeclared_databases if name not in left]
    found = find_undeclared(
        stack,
        observed.services,
        observed.volumes,
        names,
        local=observed.engine.local,
        contents=Contents(ports.runtime, ports.volumes),
    )
    return [Finding("error", one.name, one.fact, one.hint) for one in found]


def _foreign_mounts(observed: Observed) -> list[Finding]:
    """Return the containers that prevent services from being started, each once."""
    named = {mount: s.name for s in observed.services for mount in s.foreign_mounts}
    return [
        Finding(
            "error",
            service,
            f"cannot be started: {mount.fact}",
            foreign_hint(mount, observed.services),
        )
        for mount, service in named.items()
    ]


def run_check(
    session: Session,
) -> None:
    """Compare stack.yaml with the Compose model and the servers; exit 7 for any error."""
    from quiesce.commands.check import find_findings

    with session.observed() as (ports, seen):
        findings = find_findings(session.stack, ports, seen)
    session.reporter.findings(findings)
    if any(finding.level == "error" for finding in findings):
        count = sum(finding.level == "error" for finding in findings)
        raise CheckFailed(
            f"check found {words.counted(count, 'error')}", "see the hint next to each of them"
        )
