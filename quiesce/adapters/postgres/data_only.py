"""Replaces all rows of a database's tables in one transaction.

The tables of the dump are emptied (without CASCADE, which would empty others too), their rows are
loaded under the replica role, foreign keys are checked afterwards, and the content is compared
before the commit. Each of these rules exists because its absence failed in a test.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import BinaryIO

from quiesce.adapters.postgres import catalog, constraints
from quiesce.adapters.postgres.catalog import TableShape
from quiesce.adapters.postgres.check_constraints import Check
from quiesce.adapters.postgres.computed import calls_functions, late_tables
from quiesce.adapters.postgres.copy_stream import Rows, Script
from quiesce.adapters.postgres.load_by_statement import Deviations, require_fault
from quiesce.adapters.postgres.ownership import OWNER_PREFIX
from quiesce.adapters.postgres.rehearsal import room_to_empty
from quiesce.adapters.postgres.safe_reads import guarded_tables, tables_with_code_from_files
from quiesce.adapters.postgres.schema_diff import compare, read_targets
from quiesce.adapters.postgres.search_path import TemporaryPaths, read_in_transaction
from quiesce.adapters.postgres.session import (
    SQL,
    Readable,
    Session,
    SessionError,
    Unreachable,
    identifier,
)
from quiesce.adapters.postgres.suspend import Suspended
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import RowsRecord, SequenceRecord
from quiesce.obstacles import broken_constraints
from quiesce.ports import DatabaseContents, Drift

#: Without a limit, an application with an open transaction would block forever.
LOCK_TIMEOUT = "10s"
_DENIED = "42501"
_HINT = "restore a full set, without --data-only"

_WHOLE = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'p' AND c.relpersistence <> 't'
   AND NOT EXISTS (SELECT 1 FROM pg_partition_tree(c.oid) t
                    WHERE t.isleaf AND t.relid <> c.oid AND t.relid <> ALL (%s::oid[]))
 ORDER BY c.oid
"""


def find_drift(session: Session, rows: Sequence[Rows], record: RowsRecord) -> Drift:
    """Return how the session's database differs from the source of the rows."""
    wanted = _without_versions(rows, session)
    drift = compare(wanted, record.tables, read_targets(session))
    problems = list(drift.problems)
    found = _match(record.sequences, catalog.read_sequences(session))
    problems += [
        f"sequence {s.schema}.{s.name} does not exist" for s in record.sequences if s not in found
    ]
    here = {(table.schema, table.name): table.oid for table in catalog.read_tables(session)}
    wanted_here = [(block.schema, block.table) for block in wanted]
    problems += room_to_empty(session, [here[name] for name in wanted_here if name in here])
    if record.large_objects:
        problems.append(f"it has {record.large_objects} large objects, which are not rows")
    dumped = {(block.schema, block.table) for block in rows}
    guarded = guarded_tables(session)
    left = [
        f"{table.schema}.{table.name}"
        for table in catalog.read_tables(session)
        if (table.schema, table.name) not in dumped
        and not _is_version_table(session, table)
        and _has_rows(session, table, guarded)
    ]
    named = {(block.schema, block.table) for block in wanted}
    code = [
        f"{schema}.{name}"
        for schema, name in tables_with_code_from_files(session, OWNER_PREFIX)
        if (schema, name) in named
    ]
    return Drift(tuple(problems), drift.lossy, drift.changed, tuple(left), tuple(code))


def replace_rows(
    session: Session,
    rows: Sequence[Rows],
    record: RowsRecord,
    stream: BinaryIO,
    complete: Callable[[], None],
    check: Callable[[DatabaseContents], None],
    deviations: Deviations,
    spool: Callable[[], BinaryIO],
) -> tuple[int, int]:
    """Replace the rows of the tables by those in `stream`; return the number of tables and rows.

    `complete` returns once the stream is known to be complete; `check` may reject the new content.
    `deviations` decides what may be restored differently, and records it. `spool` opens a file for
    rows that must be loaded last.
    """
    shapes = {(table.schema, table.name): table for table in catalog.read_tables(session)}
    wanted = _without_versions(rows, session)
    targets = [shapes[block.schema, block.table] for block in wanted]
    session.run("BEGIN")
    try:
        _become_replica(session)
        session.run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        aside = Suspended()
        aside.disable_event_triggers(session)
        paths = TemporaryPaths(session, record.search_path)
        if calls_functions(session):
            # Even truncating a table evaluates the functions of its indexes.
            paths.apply(in_transaction=True)
        # Lock first, so that nothing changes before it is dropped below.
        _empty(session, targets)
        aside.take(session, [table.oid for table in targets])
        session.run("SET LOCAL lock_timeout = 0")
        _load(session, rows, wanted, stream, spool)
        complete()
        meant = _match(record.sequences, catalog.read_sequences(session))
        for sequence, place in meant.items():
            _set(session, sequence, place)
        aside.put_back(session, partial(_broken_check, deviations, record))
        _require_parents(session, deviations, record)
        constraints.refresh_views(session, record.populated, deviations.entry)
        deviations.require(f"the dump of {record.key}")
        paths.restore()
        aside.enable(session)
        algorithm = record.digest_algorithm or catalog.DIGEST_ALGORITHM
        tables = catalog.digest_tables(session, algorithm)
        check(
            DatabaseContents(
                tables,
                _as_recorded(catalog.read_sequences(session), meant),
                catalog.read_revision(session),
            )
        )
        session.run("COMMIT")
    except BaseException:
        # A session that the server has ended has nothing to roll back.
        with contextlib.suppress(QuiesceError):
            session.run("ROLLBACK")
        raise
    named = {(block.schema, block.table) for block in wanted}
    return len(named), sum(table.rows for table in tables if (table.schema, table.name) in named)


def _broken_check(
    deviations: Deviations, record: RowsRecord, check: Check, problem: SessionError
) -> None:
    """Accept a check that rows already violated when the set was made as NOT VALID, without a flag:
    these rows cannot be restored otherwise."""
    require_fault(problem)
    if check.constraint in broken_constraints(record.obstacles):
        deviations.done.append(
            f"{check.words} is restored as NOT VALID: rows violated it when the set was made"
        )
    else:
        deviations.constraint(check.words, problem)


def _require_parents(session: Session, deviations: Deviations, record: RowsRecord) -> None:
    """Check every foreign key. One that rows violated when the set was made stays as it is, because
    it has the same rows as then."""
    for key in constraints.orphans(session):
        if key.constraint in broken_constraints(record.obstacles):
            deviations.done.append(f"{key.words}, as when the set was made")
        elif not key.definition:
            raise QuiesceError(key.words, _HINT)
        elif deviations.constraint(key.words, SessionError("rows violate it")):
            constraints.make_not_valid(session, key)


def _become_replica(session: Session) -> None:
    try:
        session.run("SET LOCAL session_replication_role = replica")
    except SessionError as problem:
        if problem.sqlstate != _DENIED:
            raise
        raise RequestError(
            f"the user of {session.where} may not disable triggers to load rows",
            "have a superuser run GRANT SET ON PARAMETER session_replication_role TO that user",
        ) from problem


def _empty(session: Session, targets: Sequence[TableShape]) -> None:
    # Extension tables contain their own rows besides the dumped ones.
    of_extensions = [table for table in targets if table.condition]
    plain = [_quoted(table) for table in targets if not table.condition]
    try:
        if plain:
            whole = _partitioned(session, [table.oid for table in targets if not table.condition])
            named = [f"ONLY {name}" for name in plain] + whole
            session.run(f"TRUNCATE {', '.join(named)}")
        for table in of_extensions:
            condition = SQL(table.condition.replace("{", "{{").replace("}", "}}")).format()
            session.run(SQL("DELETE FROM ONLY {} {}").format(table.quoted, condition))
    except SessionError as problem:
        raise QuiesceError(
            f"the tables of {session.where} cannot be emptied: {problem.fact}",
            problem.hint or "end the sessions that use them (see pg_stat_activity), then try again",
            details=problem.details,
        ) from problem


def _partitioned(session: Session, targets: Sequence[int]) -> list[str]:
    """Return the partitioned tables of which all partitions are among these tables. A table that
    they reference can be truncated only together with them."""
    found = session.rows(_WHOLE, [list(targets)])
    return [f"{identifier(schema)}.{identifier(name)}" for schema, name in found]


def _load(
    session: Session,
    rows: Sequence[Rows],
    wanted: Sequence[Rows],
    stream: BinaryIO,
    spool: Callable[[], BinaryIO],
) -> None:
    script = Script(stream)
    late = late_tables(session)
    waiting: list[tuple[Rows, BinaryIO]] = []
    with contextlib.ExitStack() as files:
        for block in rows:
            found = script.find(block)
            if block in wanted and (block.schema, block.table) in late:
                file = files.enter_context(spool())
                while chunk := found.read():
                    file.write(chunk)
                waiting.append((block, file))
            elif block in wanted:
                _copy(session, block, found)
            found.skip()
        script.finish()
        for block, file in waiting:
            file.seek(0)
            _copy(session, block, file)


def _copy(session: Session, block: Rows, stream: Readable) -> None:
    columns = ", ".join(map(identifier, block.columns))
    table = f"{identifier(block.schema)}.{identifier(block.table)}"
    try:
        session.copy_in(f"COPY {table} {f'({columns})' if columns else ''} FROM STDIN", stream)
    except Unreachable:
        raise
    except SessionError as problem:
        raise QuiesceError(
            f"rows of {block.schema}.{block.table} were rejected: {problem.fact}",
            _HINT,
            details=problem.details,
        ) from problem


def _match(
    recorded: Sequence[SequenceRecord], there: Sequence[SequenceRecord]
) -> dict[SequenceRecord, SequenceRecord]:
    """Return the sequence in this database for each recorded one: the sequence of the same column,
    else the one with the same name. Sequences are renamed implicitly with tables and columns."""
    by_name = {(s.schema, s.name): s for s in there}
    by_owner = {s.owner: s for s in there if s.owner}
    found = {s: by_owner.get(s.owner) or by_name.get((s.schema, s.name)) for s in recorded}
    return {recorded: place for recorded, place in found.items() if place is not None}


def _as_recorded(
    there: Sequence[SequenceRecord], meant: Mapping[SequenceRecord, SequenceRecord]
) -> tuple[SequenceRecord, ...]:
    """Return the sequences with the names in the record."""
    names = {(place.schema, place.name): recorded for recorded, place in meant.items()}
    return tuple(
        replace(s, schema=as_recorded.schema, name=as_recorded.name)
        if (as_recorded := names.get((s.schema, s.name)))
        else s
        for s in there
    )


def _set(session: Session, sequence: SequenceRecord, place: SequenceRecord) -> None:
    name = f"{identifier(place.schema)}.{identifier(place.name)}"
    session.rows(
        "SELECT setval(%s::regclass, %s::bigint, %s)",
        [name, sequence.last_value, sequence.is_called],
    )


def _without_versions(rows: Sequence[Rows], session: Session) -> tuple[Rows, ...]:
    """Return the rows without those of Alembic's version table: the target has its own."""
    table = catalog.find_version_table(session)
    version = table.strings if table else ()
    return tuple(block for block in rows if (block.schema, block.table) != version)


def _is_version_table(session: Session, table: TableShape) -> bool:
    found = catalog.find_version_table(session)
    return found is not None and found.strings == (table.schema, table.name)


def _has_rows(session: Session, table: TableShape, guarded: Collection[int]) -> bool:
    if table.oid in guarded:
        return bool(session.value("SELECT pg_relation_size(%s)", [table.oid]))
    question = SQL("SELECT 1 FROM ONLY {} LIMIT 1").format(table.quoted)
    session.run("BEGIN")
    try:
        return bool(read_in_transaction(session, partial(session.rows, question)))
    finally:
        session.run("ROLLBACK")


def _quoted(table: TableShape) -> str:
    return f"{identifier(table.schema)}.{identifier(table.name)}"
