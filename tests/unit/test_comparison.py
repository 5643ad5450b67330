"""What a comparison finds, and what it must not claim."""

from __future__ import annotations

from dataclasses import replace

from quiesce.execute.comparison import (
    LARGE_OBJECTS,
    UNREAD,
    differences,
    row_differences,
    rows_misfit,
    uncompared,
)
from quiesce.model import DatabaseRecord, RowsRecord, SequenceRecord, TableRecord
from quiesce.ports import DatabaseContents, Drift
from tests.support.builders import a_database_record, a_set


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


def contents_of(record: DatabaseRecord) -> DatabaseContents:
    """A database that is as its record says."""
    return DatabaseContents(record.tables, record.sequences, record.revision)


def test_every_difference_is_named() -> None:
    """Tables first; what only one side has, on both sides."""
    tables = tuple(TableRecord("public", name, 2, "1") for name in ("a", "b", "c"))
    sequences = tuple(SequenceRecord("public", name, "5", True) for name in ("s", "t", "u"))
    record = replace(a_database_record("rulesdb"), tables=tables, sequences=sequences)
    assert differences(record, contents_of(record)) == ()
    there = DatabaseContents(
        (tables[0], replace(tables[1], digest="2"), replace(tables[2], name="d")),
        (replace(sequences[0], is_called=False), replace(sequences[1], last_value="6")),
        (),
    )
    assert differences(record, there) == (
        "table public.b has different contents",
        "table public.c is missing",
        "table public.d is not in the set",
        "sequence public.s is at 5, not 5",
        "sequence public.t is at 6, not 5",
        "sequence public.u is missing",
        "its revision is none, not 0003",
    )
    backwards = replace(record, revision=("b", "a"))
    assert differences(backwards, replace(contents_of(record), revision=("a", "b"))) == ()
    bare = replace(record, revision=())
    assert differences(bare, contents_of(record)) == ("its revision is 0003, not none",)


def test_rows_are_compared_with_what_was_loaded_alone() -> None:
    """Counted where that was asked; what else the schema has is no difference."""
    tables = tuple(TableRecord("public", name, 2, "1") for name in ("a", "b"))
    sequence = SequenceRecord("public", "s", "5", True)
    record = RowsRecord("rulesdb", ("0003",), (sequence,), tables)
    more = TableRecord("public", "more", 9, "9")
    other = replace(sequence, name="other")
    there = DatabaseContents((*tables, more), (sequence, other), ("0003",))
    assert row_differences(record, there, frozenset()) == ()
    changed = replace(there, tables=tuple(replace(t, digest="2") for t in tables))
    wrong = "table public.b has different contents"
    assert row_differences(record, changed, frozenset(["public.a"])) == (wrong,)
    fewer = replace(there, tables=(replace(tables[0], rows=1), tables[1]))
    assert len(row_differences(record, fewer, frozenset(["public.a"]))) == 1
    behind = replace(there, sequences=(replace(sequence, last_value="4"),))
    assert row_differences(record, behind, frozenset()) == ("sequence public.s is at 4, not 5",)
    elsewhere = replace(there, revision=("0004",))
    assert row_differences(record, elsewhere, frozenset()) == ("its revision is 0004, not 0003",)
    assert row_differences(replace(record, revision=()), elsewhere, frozenset()) == ()


def test_rows_that_do_not_fit_are_refused_by_reason() -> None:
    """`--force` loses rows of other tables, and nothing else."""
    drift = Drift(
        ("table a is missing",), ("c: int", "d: text"), (("public", "c"),), ("public.left",), ("x",)
    )
    counted = frozenset(["public.c"])
    code = rows_misfit(Drift(code=("x",)), counted, force=True)
    assert "calls functions that came from a file" in code[0]
    assert rows_misfit(drift, counted, force=True) == ("table a is missing", *code)
    found = rows_misfit(drift, frozenset(), force=False)
    assert found == (
        "table a is missing",
        "c: int: values could change silently",
        "d: text: values could change silently",
        "table public.left contains rows, and the set does not contain the table",
        *code,
    )
