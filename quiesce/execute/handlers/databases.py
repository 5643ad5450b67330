"""Steps of databases: snapshots, dumps, staging databases, comparison and exchange."""

from __future__ import annotations

from dataclasses import replace

from quiesce.errors import QuiesceError
from quiesce.execute.comparison import differences, row_differences, rows_misfit, uncompared
from quiesce.execute.database_settings import settings_file, with_settings, write_settings
from quiesce.execute.handlers.registry import handles
from quiesce.execute.handlers.safety import require_kept
from quiesce.execute.run import Run
from quiesce.model import BackupSet, ImportSource, rows_record
from quiesce.obstacles import flag_for
from quiesce.plan import outcome
from quiesce.plan import steps as s
from quiesce.ports import DatabaseContents

#: What obstacles mean that a restore needs no flag for.
_WITHOUT_FLAG: dict[str, str] = {
    "names": "Quiesce can restore it by setting a search path; plain pg_restore fails",
    "rounded": "a restore has the rounded values",
}


@handles(s.ExportSnapshot)
def export_snapshot(step: s.ExportSnapshot, run: Run) -> str:
    run.ports.databases.hold(run.stack.database(step.database), step.kind)
    return ""


@handles(s.ReleaseSnapshot)
def release(step: s.ReleaseSnapshot, run: Run) -> str:
    run.ports.databases.release(run.stack.database(step.database))
    return ""


@handles(s.DumpDatabase)
def dump(step: s.DumpDatabase, run: Run) -> str:
    draft = run.drafts[step.set]
    live = run.stack.database(step.database)
    database = replace(live, name=step.copy) if step.copy else live
    record = run.ports.databases.dump(
        database, step.kind, draft.directory, step.file, run.ports.sink.progress
    )
    record = replace(record, name=live.name)
    run.ports.databases.release(database)
    seen = run.ports.databases.written_between(database)
    draft.inconsistencies.append(
        outcome.inconsistency(database.key, seen, draft.activity, draft.ignored)
    )
    draft.doubts.append(outcome.doubt(database.key, seen))
    for obstacle in record.obstacles:
        flag = flag_for(obstacle, record.server_version)
        way = f"a full restore needs {flag}" if flag else _WITHOUT_FLAG[obstacle.kind]
        run.ports.sink.warn(f"{step.database}: {obstacle.fact}; {way}")
    draft.files.append((step.file, "database", step.database))
    if record.settings:
        file = settings_file(step.database)
        write_settings(draft.directory / file, record.settings)
        draft.files.append((file, "settings", step.database))
    draft.databases.append(replace(record, settings=()))
    run.measure_meanwhile()
    rows = sum(table.rows for table in record.tables)
    return f"{len(record.tables)} tables, {rows} rows"


@handles(s.WriteScript)
def write_script(step: s.WriteScript, run: Run) -> str:
    database = run.stack.database(step.database)
    script = run.ports.databases.script(database, step.kind, run.ports.sink.progress)
    run.ports.databases.release(database)
    written = run.ports.store.publish_file(
        script, step.file, compress=step.compress, recipients=run.stack.recipients
    )
    run.files[step.database] = written
    return str(written)


@handles(s.DumpGlobals)
def dump_globals(step: s.DumpGlobals, run: Run) -> str:
    draft = run.drafts[step.set]
    run.ports.databases.dump_globals(step.service, draft.directory, step.file)
    draft.files.append((step.file, "globals", step.service))
    return ""


def _set_of(name: str, run: Run) -> BackupSet:
    """Return the set that is restored, for steps that need its records."""
    source = run.sources[name]
    if not isinstance(source, BackupSet):
        raise QuiesceError(
            f"{name} is not a set and has no records",
            "run it again with --debug, and report the traceback",
        )
    return source


@handles(s.CreateDatabase)
def create(step: s.CreateDatabase, run: Run) -> str:
    record = _set_of(step.set, run).database(step.database) if step.set else None
    run.ports.databases.create(run.stack.database(step.database), step.name, record)
    return ""


@handles(s.CreateRoles)
def create_roles(step: s.CreateRoles, run: Run) -> str:
    script = run.sources[step.set].path / step.file
    left = run.ports.databases.create_roles(step.service, script, step.roles, whole=step.whole)
    for what in left:
        run.ports.sink.warn(what)
    return ""


@handles(s.UnmarkDatabase)
def unmark(step: s.UnmarkDatabase, run: Run) -> str:
    run.ports.databases.unmark_made(run.stack.database(step.database), step.name)
    return ""


@handles(s.LoadDump)
def load(step: s.LoadDump, run: Run) -> str:
    source = _set_of(step.set, run)
    deviations = run.ports.databases.load(
        run.stack.database(step.database),
        step.name,
        source.path,
        step.file,
        source.database(step.database),
        not_valid=step.not_valid,
        skip_broken=step.skip_broken,
    )
    return _deviations(step.database, deviations, run)


def _deviations(database: str, deviations: tuple[str, ...], run: Run) -> str:
    """Warn about everything that was restored differently."""
    for line in deviations:
        run.ports.sink.warn(f"{database}: {line}")
    run.deviations[database] = deviations
    return f"{len(deviations)} restored differently" if deviations else ""


@handles(s.CheckDatabase)
def check(step: s.CheckDatabase, run: Run) -> str:
    """Compare the loaded database with the record. Raise QuiesceError listing every difference."""
    record = _set_of(step.set, run).database(step.database)
    contents = run.ports.databases.contents(
        run.stack.database(step.database), step.name, record.digest_algorithm
    )
    wrong = differences(record, contents)
    if wrong:
        raise QuiesceError(
            f"database {step.database} restored from {step.set} differs from the set's record",
            f"run 'inv verify --file {step.set}', or restore an older set",
            details=wrong,
        )
    rows = sum(table.rows for table in record.tables)
    run.compared[step.database] = (len(record.tables), rows)
    summary = f"{len(record.tables)} tables, {rows} rows identical"
    if unread := uncompared(record, contents):
        run.uncompared[step.database] = unread
        summary += f" except {', '.join(unread)}, which only a superuser may read"
    return summary


@handles(s.MigrateDatabase)
def migrate(step: s.MigrateDatabase, run: Run) -> str:
    database = run.stack.database(step.database)
    login = run.ports.databases.login_for(database, step.name)
    run.ports.migrator.upgrade(database, step.name, step.revision, login)
    return ""


@handles(s.LoadScript)
def load_script(step: s.LoadScript, run: Run) -> str:
    script = run.sources[step.set].path / step.file
    found = run.ports.databases.load_script(run.stack.database(step.database), step.name, script)
    run.loaded[step.database] = found
    return f"{found[0]} tables, {found[1]} rows"


@handles(s.CopySchema)
def copy_schema(step: s.CopySchema, run: Run) -> str:
    run.ports.databases.copy_schema(run.stack.database(step.database), step.name)
    return ""


@handles(s.ReplaceRows)
def replace_rows(step: s.ReplaceRows, run: Run) -> str:
    """Replace the rows. Raise QuiesceError listing all rows and columns that do not fit, or all
    differences after the load."""
    database, source = run.stack.database(step.database), run.sources[step.set]
    record = rows_record(source, step.database)
    place = (database, step.name, record, source.path, step.file)
    drift = run.ports.databases.drift(*place)
    counted = frozenset(step.counted)
    wrong = rows_misfit(drift, counted, force=step.force)
    if wrong:
        raise QuiesceError(
            f"the rows of {step.database} in {step.set} cannot be loaded into {step.name}: "
            f"{wrong[0]}",
            "restore a full set, without --data-only",
            details=wrong[1:],
        )

    def check(contents: DatabaseContents) -> None:
        if different := row_differences(record, contents, counted):
            raise QuiesceError(
                f"database {step.name} would differ from the record of {step.set}",
                f"run 'inv verify --file {step.set}', or restore an older set",
                details=different,
            )

    loaded = run.ports.databases.replace_rows(
        *place, check, not_valid=step.not_valid, skip_broken=step.skip_broken
    )
    _deviations(step.database, loaded.deviations, run)
    summary = f"{loaded.tables} tables, {loaded.rows} rows"
    if isinstance(source, ImportSource):
        run.loaded[step.database] = (loaded.tables, loaded.rows)
        return summary
    rows = sum(table.rows for table in record.tables)
    run.compared[step.database] = (len(record.tables), rows)
    if counted:
        run.uncompared[step.database] = step.counted
    summary = f"{len(record.tables)} tables, {rows} rows"
    return f"{summary} identical" + (f" except {', '.join(step.counted)}" if counted else "")


@handles(s.FinishDatabase)
def finish(step: s.FinishDatabase, run: Run) -> str:
    record = None
    if step.set:
        source = _set_of(step.set, run)
        record = with_settings(source.database(step.database), source)
    database = run.stack.database(step.database)
    given = run.ports.databases.finish(database, step.name, record)
    if given is None:
        return ""
    for function in given.invokers:
        run.ports.sink.warn(
            f"function {function} in {step.name} was changed from SECURITY DEFINER to SECURITY "
            "INVOKER because it came from a file; change it back by hand if you trust it"
        )
    members = f", and so can {', '.join(given.members)}" if given.members else ""
    return f"owned by {given.owner}, which is not a superuser{members}"


@handles(s.BlockConnections)
def block_connections(step: s.BlockConnections, run: Run) -> str:
    run.exchange_begins()
    run.ports.databases.block_connections(step.service, step.names)
    return ""


@handles(s.SwapDatabases)
def swap(step: s.SwapDatabases, run: Run) -> str:
    run.exchange_begins()
    run.ports.databases.swap(step.service, step.swaps)
    return ""


@handles(s.PutBackDatabases)
def put_back(step: s.PutBackDatabases, run: Run) -> str:
    run.ports.databases.put_back(step.service, step.swaps)
    return ""


@handles(s.DropDatabase)
def drop(step: s.DropDatabase, run: Run) -> str:
    require_kept(step.kept_in, run)
    run.ports.databases.drop(run.stack.database(step.database), step.name, step.suffix)
    return ""
