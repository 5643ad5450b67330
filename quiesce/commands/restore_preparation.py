"""Everything about a restore that can be checked before anything stops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quiesce.app.excluded import lost_by_restore
from quiesce.app.immutable import refuse_immutable, refuse_mount_points
from quiesce.app.restore_checks import made_roles, require_untied, resume_words, wanted_roles
from quiesce.commands.restore_rows import rows_targets
from quiesce.errors import RequestError
from quiesce.execute.run import Ports, Run
from quiesce.model import BackupSet, Database, ImportSource, RestoreSource, Stack, engine_of
from quiesce.observe import free_bytes
from quiesce.observed import Observed
from quiesce.obstacles import NOT_VALID, SKIP_BROKEN, flag_for
from quiesce.plan.capabilities import with_capability
from quiesce.plan.expected import ROOM
from quiesce.plan.restore_request import (
    Chosen,
    RestoreInputs,
    RestoreRequest,
    choose,
    rows_alone,
)
from quiesce.plan.room import refuse_short
from quiesce.plan.rows import RowsTarget
from quiesce.report import RestoredDatabase, RestoredVolume, RestoreOutcome


@dataclass(frozen=True, slots=True)
class Prepared:
    """Input for the planner: the completed request, and database names in use. `afterwards` are
    messages to print when the restore worked."""

    inputs: RestoreInputs
    afterwards: tuple[str, ...] = ()


def check_request(source: RestoreSource, request: RestoreRequest) -> None:
    """Return the request completed for this set: a data set is always restored as rows only.

    Raise RequestError for options that contradict each other or the set.
    """
    if isinstance(source, BackupSet) and source.manifest.kind == "schema":
        raise RequestError(
            f"{source.name} contains no rows and cannot be restored",
            f"restore it by hand with {source.path / 'RESTORE.md'}, or choose a full set",
        )
    if request.safety_first and not request.safety:
        raise RequestError("--safety-first and --no-safety are opposites", "give one of them")
    only_rows = rows_alone(source, request)
    for option, given in (
        ("--in-place", request.in_place),
        ("--accept-lossy", request.accept_lossy),
        ("--assume-revision", bool(request.assume_revision)),
    ):
        # A single file may contain a whole database, at a revision that only the user knows.
        is_for_files = isinstance(source, ImportSource) and option != "--in-place"
        if given and not only_rows and not is_for_files:
            raise RequestError(
                f"{option} applies only when rows are restored without the schema",
                f"add --data-only, or omit {option}",
            )
    if request.beside and only_rows:
        raise RequestError(
            "--as restores whole databases, not rows only", "choose a full set, or omit --as"
        )
    if only_rows and not source.database_keys:
        raise RequestError(f"{source.name} contains no database", "omit --data-only")


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
    stack: Stack, ports: Ports, observed: Observed, source: RestoreSource, request: RestoreRequest
) -> Prepared:
    """Check space, loadability and revisions. Raise RequestError listing problems.

    The source was verified already.
    """
    chosen = choose(stack, source, request)
    problems: list[str] = []
    if isinstance(source, BackupSet):
        _require_allowed(observed, chosen, source, request)
    migrations: list[tuple[str, str]] = []
    rows: tuple[RowsTarget, ...] = ()
    roles = wanted_roles(stack, ports, observed, source, chosen, request)
    if rows_alone(source, request):
        rows = rows_targets(ports, observed, source, chosen, request, problems)
    else:
        for database in chosen.databases:
            if isinstance(source, BackupSet) and observed.database(database.key).reachable:
                made, record = made_roles(database, roles), source.database(database.key)
                problems += ports.databases.check_loadable(database, record, made)
            revision = _revision_of(source, database, request)
            problems += _migration(ports, database, revision, migrations)
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
        for database in chosen.databases
        if database.key in ties
        for text in resume_words(database, ties[database.key])
    )
    if chosen.volumes and isinstance(source, BackupSet) and not request.beside:
        _require_room(observed, source)
        _require_room_in_folders(observed, source, chosen)
    states = [observed.volume(volume.key) for volume in chosen.volumes]
    refuse_immutable(ports, states, request.path)
    refuse_mount_points(ports, states, request.path)
    lost = lost_by_restore(ports, observed, chosen.volumes, request.path)
    taken = (
        *(d.name for d in observed.databases),
        *observed.undeclared_databases,
        *stack.excluded_databases,
        *(name for database in chosen.databases for name in engine_of(database.engine).own),
    )
    return Prepared(RestoreInputs(tuple(migrations), rows, roles, lost, taken), afterwards)


def _require_allowed(
    observed: Observed, chosen: Chosen, source: BackupSet, request: RestoreRequest
) -> None:
    """Raise RequestError if the set is known to need a flag. Not for rows only, which keep the
    constraints of the schema."""
    broken, needed = [], set()
    for database in chosen.databases:
        record, state = source.database(database.key), observed.database(database.key)
        version = state.server_version if state.reachable else record.server_version
        for obstacle in record.obstacles:
            if flag := flag_for(obstacle, version):
                broken.append(f"{database.key}: {obstacle.fact}")
                needed.add(flag)
    given = {NOT_VALID} if request.not_valid else set()
    given |= {SKIP_BROKEN} if request.skip_broken else set()
    if needed <= given or rows_alone(source, request):
        return
    meanings = {
        NOT_VALID: "constraints that rows violate are restored as NOT VALID and checked for new "
        "rows only",
        SKIP_BROKEN: "constraints that cannot be restored are left out and named",
    }
    flags = sorted(needed | given)
    raise RequestError(
        f"{source.name} is complete, but cannot be restored unchanged: {broken[0]}",
        f"restore again with {' '.join(flags)}: {', and '.join(meanings[f] for f in flags)}; "
        "nothing was changed",
        details=broken[1:],
    )


def _other_servers(stack: Stack, observed: Observed, source: RestoreSource) -> list[str]:
    """Return data directories of other major versions, which the server cannot read."""
    states = (observed.database(one.key) for one in with_capability(stack.databases, "clusters"))
    majors = {state.server_version.partition(".")[0] for state in states if state.reachable}
    return [
        f"volume {cluster.volume} is a data directory of PostgreSQL {cluster.version}, but the "
        f"server is {major}: start the server with an image of that version"
        for cluster in source.clusters
        for major in sorted(majors)
        if cluster.volume in {volume.key for volume in stack.volumes} and cluster.version != major
    ]


def _revision_of(
    source: RestoreSource, database: Database, request: RestoreRequest
) -> tuple[str, ...]:
    """Return the revision of the source. For a file without one, return the assumed one. A set
    without a revision was made of a database that was not migrated."""
    revision = source.database(database.key).revision
    if isinstance(source, ImportSource) and not revision and request.assume_revision:
        return (request.assume_revision,)
    return revision


def _migration(
    ports: Ports, database: Database, revision: tuple[str, ...], into: list[tuple[str, str]]
) -> list[str]:
    """Decide about the revision: a known older one is migrated, an unknown one is refused."""
    if database.migrations is None or not revision:
        return []
    unknown = [r for r in revision if not ports.migrator.known(database, r)]
    if unknown:
        where = database.migrations.name
        names = ", ".join(unknown)
        return [
            f"database {database.key} is at revision {names}, unknown to {where}: "
            + "check out the code that has it"
        ]
    heads = ports.migrator.heads(database)
    if set(heads) != set(revision):
        into.append((database.key, "head" if len(heads) == 1 else "heads"))
    return []


def _require_room(observed: Observed, source: BackupSet) -> None:
    """Raise RequestError if space is clearly insufficient for staged copies and the safety set."""
    if not observed.engine.local:
        return
    volumes = (record for record in source.manifest.volumes if record.noun == "volume")
    needed = int(sum(record.bytes for record in volumes) * ROOM)
    hint = "free some space, or restore less with --only"
    refuse_short(f"unpacking {source.name}", needed, observed.free_bytes, "", hint)


def _require_room_in_folders(observed: Observed, source: BackupSet, chosen: Chosen) -> None:
    """Raise RequestError if a folder's own disk clearly lacks the space for a staged copy."""
    for volume in chosen.volumes:
        state = observed.volume(volume.key)
        if state.is_folder and state.mountpoint is not None:
            refuse_short(
                f"unpacking path {volume.key}",
                source.volume(volume.key).bytes,
                free_bytes(state.mountpoint),
                f"in {state.name}",
                "free some space there, or restore a part of it with --path",
            )


def restore_outcome(source: RestoreSource, run: Run, seconds: float) -> RestoreOutcome:
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
        volumes=tuple(
            RestoredVolume(key, *size, run.stack.volume(key).noun)
            for key, size in run.staged.items()
        ),
        seconds=seconds,
        downtime=run.downtime.result(),
        safety_set=safety[0] if safety else None,
        deviations=tuple(
            f"{key}: {line}" for key, lines in run.deviations.items() for line in lines
        ),
    )
