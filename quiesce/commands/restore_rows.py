"""Prepares and checks a restore of rows only."""

from __future__ import annotations

from quiesce.errors import RequestError
from quiesce.execute.comparison import rows_misfit
from quiesce.execute.run import Ports
from quiesce.model import Database, RestoreSource, RowsRecord, rows_record
from quiesce.observed import Observed
from quiesce.plan.restore_request import Chosen, RestoreRequest
from quiesce.plan.rows import RowsTarget
from quiesce.ports import Drift


def rows_targets(
    ports: Ports,
    observed: Observed,
    source: RestoreSource,
    chosen: Chosen,
    request: RestoreRequest,
    problems: list[str],
) -> tuple[RowsTarget, ...]:
    """Return the target of the rows of each database, and add reasons against it to `problems`."""
    if request.in_place and len(chosen.databases) > 1:
        raise RequestError(
            "--in-place replaces the rows of one database at a time",
            f"add --only {chosen.databases[0].key}; with several, a failure would leave some "
            "replaced and some not",
        )
    return tuple(
        _target(ports, observed, source, database, request, problems)
        for database in chosen.databases
    )


def _target(
    ports: Ports,
    observed: Observed,
    source: RestoreSource,
    database: Database,
    request: RestoreRequest,
    problems: list[str],
) -> RowsTarget:
    key, state = database.key, observed.database(database.key)
    record = rows_record(source, key)
    revisions, newest = _revisions(ports, database, record, request, problems)
    if not state.reachable:
        return RowsTarget(key, revisions, newest, ())
    if not state.exists and (request.in_place or not revisions):
        problems.append(f"database {database.name} does not exist, so its rows cannot be replaced")
        return RowsTarget(key, revisions, newest, ())
    at_backup = not revisions or sorted(state.revision) == sorted(revisions)
    if request.in_place:
        if not at_backup:
            problems.append(
                f"database {key} is at {', '.join(state.revision) or 'no revision'}, but the "
                f"rows are at {', '.join(revisions)}: omit --in-place to migrate the rows"
            )
        newest = ""
    if not (state.exists and at_backup):
        # Its schema at that revision does not exist yet; the staging database is compared later.
        return RowsTarget(key, revisions, newest, ())
    kept = request.in_place or not revisions
    counted = _counted(ports, source, database, record, request, problems, kept=kept)
    return RowsTarget(key, revisions, newest, counted)


def _revisions(
    ports: Ports,
    database: Database,
    record: RowsRecord,
    request: RestoreRequest,
    problems: list[str],
) -> tuple[tuple[str, ...], str]:
    """The revisions of the rows, and the revision to migrate to afterwards."""
    if database.migrations is None:
        return (), ""
    revisions = record.revision
    if not revisions and not request.assume_revision:
        problems.append(
            f"the set records no revision for the rows of {database.key}: give it with "
            "--assume-revision"
        )
        return (), ""
    revisions = revisions or (request.assume_revision,)
    unknown = [revision for revision in revisions if not ports.migrator.known(database, revision)]
    if unknown:
        problems.append(
            f"database {database.key} is at revision {', '.join(unknown)}, unknown to "
            f"{database.migrations.name}: check out the code that has it"
        )
        return revisions, ""
    heads = ports.migrator.heads(database)
    if set(heads) == set(revisions):
        return revisions, ""
    return revisions, "head" if len(heads) == 1 else "heads"


def _counted(
    ports: Ports,
    source: RestoreSource,
    database: Database,
    record: RowsRecord,
    request: RestoreRequest,
    problems: list[str],
    *,
    kept: bool,
) -> tuple[str, ...]:
    """Compare with the live schema, which is the target of the rows or equal to it.

    `kept`: the target is the live schema or a copy of it, not one that migrations create.
    """
    file = source.dump_of(database.key)
    drift = ports.databases.drift(database, database.name, record, source.path, file)
    # What stays in other tables matters only where those tables are used again.
    left = drift.left if request.in_place else ()
    code = drift.code if kept else ()
    drift = Drift(drift.problems, drift.lossy, drift.changed, left, code)
    changed = tuple(".".join(name) for name in drift.changed) if request.accept_lossy else ()
    found = rows_misfit(drift, frozenset(changed), force=request.force)
    problems += [f"{database.key}: {problem}" for problem in found]
    if drift.lossy and not request.accept_lossy:
        problems.append("to accept that values change with their types, add --accept-lossy")
    return changed
