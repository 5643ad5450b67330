"""Compares the contents of a database with the record of a set. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from quiesce.model import UNREAD, DatabaseRecord, RowsRecord, TableRecord
from quiesce.ports import DatabaseContents, Drift

#: Appended to the name of a table whose rows were only counted.
LARGE_OBJECTS = "large objects"


def uncompared(record: DatabaseRecord, contents: DatabaseContents) -> tuple[str, ...]:
    """Return the tables of which only the number of rows was compared."""
    unread = any(table.digest == UNREAD for table in (*record.tables, *contents.tables))
    return (LARGE_OBJECTS,) if unread else ()


def differences(record: DatabaseRecord | RowsRecord, contents: DatabaseContents) -> tuple[str, ...]:
    """Return every difference in words, tables first; none if both are identical."""
    found: list[str] = []
    there = {(table.schema, table.name): table for table in contents.tables}
    expected = {(table.schema, table.name): table for table in record.tables}
    for key, table in expected.items():
        name = _named(key)
        other = there.get(key)
        if other is None:
            found.append(f"table {name} is missing")
        elif other.rows != table.rows:
            found.append(f"table {name} has {other.rows} rows instead of {table.rows}")
        elif other.digest != table.digest and UNREAD not in (other.digest, table.digest):
            found.append(f"table {name} has different contents")
    found += [f"table {_named(key)} is not in the set" for key in there if key not in expected]
    counters = {(seq.schema, seq.name): seq for seq in contents.sequences}
    for sequence in record.sequences:
        now = counters.get((sequence.schema, sequence.name))
        name = _named((sequence.schema, sequence.name))
        if now is None:
            found.append(f"sequence {name} is missing")
        elif (now.last_value, now.is_called) != (sequence.last_value, sequence.is_called):
            found.append(f"sequence {name} is at {now.last_value}, not {sequence.last_value}")
    if isinstance(record, DatabaseRecord):
        found += _objects(record.objects, contents.objects)
    if sorted(contents.revision) != sorted(record.revision):
        found.append(
            f"its revision is {', '.join(contents.revision) or 'none'}, "
            f"not {', '.join(record.revision) or 'none'}"
        )
    return tuple(found)


def _named(key: tuple[str, str]) -> str:
    """Return how messages call a table; engines without schemas have none in the name."""
    return ".".join(filter(None, key))


def _objects(kept: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return the differences between objects of a set and those of a database."""
    return [
        *(f"{name} is missing" for name in kept if name not in there),
        *(f"{name} is different" for name in kept if there.get(name, kept[name]) != kept[name]),
        *(f"{name} is not in the set" for name in there if name not in kept),
    ]


def row_differences(
    record: RowsRecord, contents: DatabaseContents, counted: frozenset[str]
) -> tuple[str, ...]:
    """Return every difference between rows loaded into a schema and their record.

    Tables that are not in the record are ignored here (see `rows_misfit`); for those in `counted`
    only the number of rows is compared.
    """
    dumped = {(table.schema, table.name) for table in record.tables}

    def seen(table: TableRecord) -> TableRecord:
        return replace(table, digest="") if f"{table.schema}.{table.name}" in counted else table

    if not record.revision:
        # The set recorded none; the user specified it.
        contents = replace(contents, revision=())
    sequences = {(sequence.schema, sequence.name) for sequence in record.sequences}
    return differences(
        replace(record, tables=tuple(map(seen, record.tables))),
        replace(
            contents,
            tables=tuple(seen(t) for t in contents.tables if (t.schema, t.name) in dumped),
            sequences=tuple(s for s in contents.sequences if (s.schema, s.name) in sequences),
        ),
    )


def rows_misfit(drift: Drift, counted: frozenset[str], *, force: bool) -> tuple[str, ...]:
    """Return every reason why the rows must not be loaded there."""
    found = list(drift.problems)
    if not {".".join(name) for name in drift.changed} <= counted:
        found += [f"{change}: values could change silently" for change in drift.lossy]
    if not force:
        found += [
            f"table {name} contains rows, and the set does not contain the table"
            for name in drift.left
        ]
    found += [
        f"table {name} calls functions that came from a file, and loading rows only would run "
        "them as a superuser: restore a full set"
        for name in drift.code
    ]
    return tuple(found)
