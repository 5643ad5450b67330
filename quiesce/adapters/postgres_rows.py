"""Rows alone, put in place of all that is there: one transaction, all or nothing.

The tables of the dump are emptied (without CASCADE, which would empty others as well), their rows
are loaded under the replica role, keys are looked at afterwards, and what is there then is
compared before it is committed. Sources of these rules: what happens otherwise was seen with each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO

from quiesce.adapters import postgres_keys as keys
from quiesce.adapters import postgres_record as records
from quiesce.adapters.postgres_aside import Aside
from quiesce.adapters.postgres_copy import Rows, Script
from quiesce.adapters.postgres_drift import compare, read_targets
from quiesce.adapters.postgres_handover import OWNER_PREFIX
from quiesce.adapters.postgres_planning import guarded_tables, tables_with_code_from_files
from quiesce.adapters.postgres_record import TableShape
from quiesce.adapters.postgres_session import SQL, Session, SessionError, identifier
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import DatabaseRecord, SequenceRecord
from quiesce.ports import DatabaseContents, Drift

#: An application that keeps a transaction open would be waited for without end.
LOCK_TIMEOUT = "10s"
_DENIED = "42501"
_HINT = "restore all of it: a full set, without --data-only"


def find_drift(session: Session, rows: Sequence[Rows], record: DatabaseRecord) -> Drift:
    """Return how the session's database differs from what the rows were dumped from."""
    wanted = _without_versions(rows, session)
    drift = compare(wanted, record.tables, read_targets(session))
    problems = list(drift.problems)
    found = _match(record.sequences, records.read_sequences(session))
    problems += [
        f"sequence {s.schema}.{s.name} is not there" for s in record.sequences if s not in found
    ]
    if record.large_objects:
        problems.append(f"it has {record.large_objects} large objects, which are no rows")
    dumped = {(block.schema, block.table) for block in rows}
    guarded = guarded_tables(session)
    left = [
        f"{table.schema}.{table.name}"
        for table in records.read_tables(session)
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
    record: DatabaseRecord,
    stream: BinaryIO,
    complete: Callable[[], None],
    check: Callable[[DatabaseContents], None],
) -> tuple[int, int]:
    """Put the rows that `stream` writes in place of all that their tables hold; return how many
    tables and rows there are of them.

    `complete` returns once the stream is known to be all; `check` may refuse what is there then.
    """
    shapes = {(table.schema, table.name): table for table in records.read_tables(session)}
    wanted = _without_versions(rows, session)
    targets = [shapes[block.schema, block.table] for block in wanted]
    session.run("BEGIN")
    try:
        _become_replica(session)
        session.run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        # Locked first: what is taken off below must be what is there.
        _empty(session, targets)
        aside = Aside()
        aside.take(session, [table.oid for table in targets])
        session.run("SET LOCAL lock_timeout = 0")
        _load(session, rows, wanted, stream)
        complete()
        meant = _match(record.sequences, records.read_sequences(session))
        for sequence, place in meant.items():
            _set(session, sequence, place)
        # Checks may call functions that look for tables in the usual places.
        aside.put_back(session)
        _require_parents(session)
        keys.refresh_views(session, record.populated)
        tables = records.digest_tables(session, record.digest_algorithm)
        check(
            DatabaseContents(
                tables,
                _as_recorded(records.read_sequences(session), meant),
                records.read_revision(session),
            )
        )
        session.run("COMMIT")
    except BaseException:
        # A session that the server ended has nothing left to undo.
        with contextlib.suppress(QuiesceError):
            session.run("ROLLBACK")
        raise
    named = {(block.schema, block.table) for block in wanted}
    return len(named), sum(table.rows for table in tables if (table.schema, table.name) in named)


def _require_parents(session: Session) -> None:
    if lonely := keys.orphans(session):
        raise QuiesceError(
            f"the rows of {session.where} contradict each other: {lonely[0]}",
            _HINT,
            details=lonely[1:],
        )


def _become_replica(session: Session) -> None:
    try:
        session.run("SET LOCAL session_replication_role = replica")
    except SessionError as problem:
        if problem.sqlstate != _DENIED:
            raise
        raise RequestError(
            f"the user of {session.where} may not load rows without their triggers",
            "let a superuser run GRANT SET ON PARAMETER session_replication_role TO that user",
        ) from problem


def _empty(session: Session, targets: Sequence[TableShape]) -> None:
    # Tables of an extension hold rows of its own beside the dumped ones.
    of_extensions = [table for table in targets if table.condition]
    plain = [_quoted(table) for table in targets if not table.condition]
    try:
        if plain:
            session.run(f"TRUNCATE ONLY {', ONLY '.join(plain)}")
        for table in of_extensions:
            condition = SQL(table.condition.replace("{", "{{").replace("}", "}}")).format()
            session.run(SQL("DELETE FROM ONLY {} {}").format(table.quoted, condition))
    except SessionError as problem:
        raise QuiesceError(
            f"the tables of {session.where} cannot be emptied: {problem.fact}",
            problem.hint or "see who uses them with 'inv db-shell', then try again",
            details=problem.details,
        ) from problem


def _load(session: Session, rows: Sequence[Rows], wanted: Sequence[Rows], stream: BinaryIO) -> None:
    script = Script(stream)
    for block in rows:
        found = script.find(block)
        if block not in wanted:
            found.skip()
            continue
        columns = ", ".join(map(identifier, block.columns))
        table = f"{identifier(block.schema)}.{identifier(block.table)}"
        session.copy_in(f"COPY {table} {f'({columns})' if columns else ''} FROM STDIN", found)
        found.skip()
    script.finish()


def _match(
    recorded: Sequence[SequenceRecord], there: Sequence[SequenceRecord]
) -> dict[SequenceRecord, SequenceRecord]:
    """Return which sequence here is meant by each recorded one: that of its column, or else that
    of its name. Names of sequences change by themselves, as tables and columns are renamed."""
    by_name = {(s.schema, s.name): s for s in there}
    by_owner = {s.owner: s for s in there if s.owner}
    found = {s: by_owner.get(s.owner) or by_name.get((s.schema, s.name)) for s in recorded}
    return {recorded: place for recorded, place in found.items() if place is not None}


def _as_recorded(
    there: Sequence[SequenceRecord], meant: Mapping[SequenceRecord, SequenceRecord]
) -> tuple[SequenceRecord, ...]:
    """Return the sequences under the names that the record has for them."""
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
    """The rows without those of Alembic's version table: the target has its own."""
    table = records.find_version_table(session)
    version = table.strings if table else ()
    return tuple(block for block in rows if (block.schema, block.table) != version)


def _is_version_table(session: Session, table: TableShape) -> bool:
    found = records.find_version_table(session)
    return found is not None and found.strings == (table.schema, table.name)


def _has_rows(session: Session, table: TableShape, guarded: Collection[int]) -> bool:
    if table.oid in guarded:
        return bool(session.value("SELECT pg_relation_size(%s)", [table.oid]))
    return bool(session.rows(SQL("SELECT 1 FROM ONLY {} LIMIT 1").format(table.quoted)))


def _quoted(table: TableShape) -> str:
    return f"{identifier(table.schema)}.{identifier(table.name)}"
