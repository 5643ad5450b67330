"""Everything about a restore that can be checked before anything stops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from quiesce.app.immutable import refuse_immutable
from quiesce.app.restore_checks import made_roles, require_untied, resume_words, wanted_roles
from quiesce.app.surveying import lost_by_restore
from quiesce.commands.restore_rows import rows_targets
from quiesce.errors import RequestError
from quiesce.execute.run import Ports, Run
from quiesce.model import BackupSet, Database, DatabaseRecord, Stack
from quiesce.observed import Observed
from quiesce.plan.restore_request import Chosen, RestoreRequest, choose
from quiesce.plan.rows import RowsTarget
from quiesce.report import RestoredDatabase, RestoredVolume, RestoreOutcome

_ROOM = 1.2


@dataclass(frozen=True, slots=True)
class Prepared:
    """Input for the planner: the completed request, and database names in use. `afterwards` are
    messages to print when the restore worked."""

    request: RestoreRequest
    taken: tuple[str, ...]
    afterwards: tuple[str, ...] = ()


def complete_request(source: BackupSet, request: RestoreRequest) -> RestoreRequest:
    """Return the request completed for this set: a data set is always restored as rows only.

    Raise RequestError for options that contradict each other or the set.
    """
    if source.manifest.kind == "schema":
        raise RequestError(
            f"{source.name} contains no rows and cannot be restored",
            f"restore it by hand with {source.path / 'RESTORE.md'}, or choose a full set",
        )
    if source.manifest.kind == "data":
        request = replace(request, data_only=True)
    for option, given in (
        ("--in-place", request.in_place),
        ("--accept-lossy", request.accept_lossy),
        ("--assume-revision", bool(request.assume_revision)),
    ):
        if given and not request.data_only and not request.foreign:
            raise RequestError(
                f"{option} applies only when rows are restored without the schema",
                "add --data-only, or omit {option}",
            )
    if request.beside and request.data_only:
        raise RequestError(
            "--as restores whole databases, not rows only", "choose a full set, or omit --as"
        )
    if request.data_only and not source.manifest.databases:
        raise RequestError(f"{source.name} contains no database", "omit --data-only")
    return request


def readable(ports: Ports, run: str, source: BackupSet, identity: Path | None) -> BackupSet:
    """Verify the sums of the set, decrypt it into a folder of the run if necessary, and return it.

    Raise RequestError if it is damaged, or if there is no key for it.
    """
    if wrong := ports.store.verify(source, ports.sink.progress):
        raise RequestError(
            f"{source.name} is damaged: {wrong[0]}",
            "restore another set from 'inv backups'",
            # The first one is in the fact.
            details=wrong[1:],
        )
    return ports.store.decrypted(run, source, identity, ports.sink.progress)


def prepare_restore(
    stack: Stack, ports: Ports, observed: Observed, source: BackupSet, request: RestoreRequest
) -> Prepared:
    """Check space, loadability and revisions. Raise RequestError listing problems.

    The source was verified already.
    """
    chosen = choose(stack, source, request.only, data_only=request.data_only)
    problems: list[str] = []
    _require_allowed(chosen, source, request)
    migrations: list[tuple[str, str]] = []
    rows: tuple[RowsTarget, ...] = ()
    roles = wanted_roles(stack, ports, observed, source, chosen, request)
    if request.data_only:
        rows = rows_targets(ports, observed, source, chosen, request, problems)
    else:
        for database, record in chosen.databases:
            if observed.database(database.key).reachable and not request.foreign:
                made = made_roles(database, roles)
                problems += ports.databases.check_loadable(database, record, made)
            if request.foreign and not record.revision and request.assume_revision:
                record = replace(record, revision=(request.assume_revision,))  # noqa: PLW2901
            problems += _revision(ports, database, record, migrations)
        problems += _other_servers(stack, observed, source)
    if problems:
        lacks_roles = any("the server has no role" in problem for problem in problems)
        raise RequestError(
            f"{source.name} cannot be restored here: {problems[0]}",
            "add --create-roles, or correct that, then try again; nothing was changed"
            if lacks_roles and not request.create_roles
            else "correct that, then try again; nothing was changed",
            details=problems[1:],
        )
    ties = require_untied(ports, observed, chosen, request)
    afterwards = tuple(
        text
        for database, _ in chosen.databases
        if database.key in ties
        for text in resume_words(database, ties[database.key])
    )
    if chosen.volumes and not request.foreign and not request.beside:
        _require_room(observed, source)
    refuse_immutable(ports, [observed.volume(v.key) for v in chosen.volumes], request.path)
    lost = lost_by_restore(ports, observed, chosen.volumes, request.path)
    taken = (
        *(d.name for d in observed.databases),
        *observed.undeclared_databases,
        *(*stack.excluded_databases, "postgres", "template0", "template1"),
    )
    request = replace(request, migrations=tuple(migrations), rows=rows, roles=roles, lost=lost)
    return Prepared(request, taken, afterwards)


def _require_allowed(chosen: Chosen, source: BackupSet, request: RestoreRequest) -> None:
    """Raise RequestError if the set is known to need a flag. Not for rows only, which keep the
    constraints of the schema."""
    broken = [
        f"{database.key}: {obstacle.fact}"
        for database, record in chosen.databases
        for obstacle in record.obstacles
        if obstacle.kind != "names"
    ]
    if broken and not request.data_only and not request.not_valid:
        raise RequestError(
            f"{source.name} is complete, but cannot be restored unchanged: {broken[0]}",
            f"restore again with --not-valid{' --skip-broken' if request.skip_broken else ''}: "
            "these constraints are then restored as NOT VALID and checked for new rows only; "
            "nothing was changed",
            details=broken[1:],
        )


def _other_servers(stack: Stack, observed: Observed, source: BackupSet) -> list[str]:
    """Return data directories of other major versions, which the server cannot read."""
    majors = {
        state.server_version.partition(".")[0] for state in observed.databases if state.reachable
    }
    return [
        f"volume {cluster.volume} is a data directory of PostgreSQL {cluster.version}, but the "
        f"server is {major}: " + "start the server with an image of that version"
        for cluster in source.manifest.clusters
        for major in sorted(majors)
        if cluster.volume in {volume.key for volume in stack.volumes} and cluster.version != major
    ]


def _revision(
    ports: Ports, database: Database, record: DatabaseRecord, into: list[tuple[str, str]]
) -> list[str]:
    """Decide about the revision: a known older one is migrated, an unknown one is refused."""
    if database.migrations is None or not record.revision:
        return []
    unknown = [r for r in record.revision if not ports.migrator.known(database, r)]
    if unknown:
        where = database.migrations.name
        names = ", ".join(unknown)
        return [
            f"database {database.key} is at revision {names}, unknown to {where}: "
            + "check out the code that has it"
        ]
    heads = ports.migrator.heads(database)
    if set(heads) != set(record.revision):
        into.append((database.key, "head" if len(heads) == 1 else "heads"))
    return []


def _require_room(observed: Observed, source: BackupSet) -> None:
    """Raise RequestError if space is clearly insufficient for staged copies and the safety set."""
    if not observed.engine.local:
        return
    needed = int(sum(volume.bytes for volume in source.manifest.volumes) * _ROOM)
    if observed.free_bytes < needed:
        raise RequestError(
            f"unpacking {source.name} needs {needed} bytes, but only {observed.free_bytes} are "
            "free",
            "free some space, or restore less with --only",
        )


def restore_outcome(source: BackupSet, run: Run, seconds: float) -> RestoreOutcome:
    """Return the results of a restore, for the report."""
    safety = [published.name for published in run.published]
    return RestoreOutcome(
        source=source.name,
        databases=tuple(
            RestoredDatabase(
                key, tables, rows, found is run.compared, tuple(run.uncompared.get(key, ()))
            )
            for found in (run.compared, run.loaded)
            for key, (tables, rows) in found.items()
        ),
        volumes=tuple(RestoredVolume(key, *size) for key, size in run.staged.items()),
        seconds=seconds,
        downtime=run.downtime.result(),
        safety_set=safety[0] if safety else None,
        eased=tuple(f"{key}: {line}" for key, lines in run.eased.items() for line in lines),
    )
