"""Comparing what a database holds with what a set recorded. Pure."""

from __future__ import annotations

from quiesce.model import DatabaseRecord
from quiesce.ports import DatabaseContents


def differences(record: DatabaseRecord, contents: DatabaseContents) -> tuple[str, ...]:
    """Return every difference in words, tables first; none when both are identical."""
    found: list[str] = []
    there = {(table.schema, table.name): table for table in contents.tables}
    expected = {(table.schema, table.name): table for table in record.tables}
    for key, table in expected.items():
        name = ".".join(key)
        other = there.get(key)
        if other is None:
            found.append(f"table {name} is missing")
        elif other.rows != table.rows:
            found.append(f"table {name} has {other.rows} rows instead of {table.rows}")
        elif other.digest != table.digest:
            found.append(f"table {name} has other contents")
    found += [f"table {'.'.join(key)} is not in the set" for key in there if key not in expected]
    counters = {(seq.schema, seq.name): seq for seq in contents.sequences}
    for sequence in record.sequences:
        now = counters.get((sequence.schema, sequence.name))
        name = f"{sequence.schema}.{sequence.name}"
        if now is None:
            found.append(f"sequence {name} is missing")
        elif (now.last_value, now.is_called) != (sequence.last_value, sequence.is_called):
            found.append(f"sequence {name} is at {now.last_value}, not {sequence.last_value}")
    if sorted(contents.revision) != sorted(record.revision):
        found.append(
            f"its revision is {', '.join(contents.revision) or 'none'}, "
            f"not {', '.join(record.revision) or 'none'}"
        )
    return tuple(found)
