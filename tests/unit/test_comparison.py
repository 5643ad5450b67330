"""What a comparison finds, and what it must not claim."""

from __future__ import annotations

from dataclasses import replace

from quiesce.execute.comparison import LARGE_OBJECTS, UNREAD, differences, uncompared
from quiesce.model import TableRecord
from quiesce.ports import DatabaseContents
from tests.support.builders import a_set


def test_what_nobody_may_read_is_counted_and_not_called_equal() -> None:
    """Large objects, for a user that is no superuser: neither a difference nor proven equal."""
    (first, *_) = a_set().manifest.databases
    large = TableRecord("pg_catalog", "pg_largeobject", 3, "12")
    record = replace(first, tables=(*first.tables, large))
    unread = replace(large, digest=UNREAD)
    contents = DatabaseContents((*first.tables, unread), first.sequences, first.revision)
    assert differences(record, contents) == ()
    assert uncompared(record, contents) == (LARGE_OBJECTS,)
    fewer = replace(contents, tables=(*first.tables, replace(unread, rows=2)))
    assert differences(record, fewer) == (
        "table pg_catalog.pg_largeobject has 2 rows instead of 3",
    )
    whole = replace(contents, tables=(*first.tables, large))
    assert uncompared(record, whole) == ()
    other = replace(contents, tables=(*first.tables, replace(large, digest="13")))
    assert differences(record, other) == ("table pg_catalog.pg_largeobject has different contents",)
