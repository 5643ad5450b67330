"""Which SQLite databases are large and change little from one full set to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quiesce.model import BackupSet, SqliteRecord, VolumeRecord
from quiesce.plan.large_sqlite import LARGE, LargeDatabase, large_unchanged
from quiesce.report import documents, views
from quiesce.report.blocks import Table
from tests.support.builders import a_set
from tests.unit.report_samples import NOW


def made(name: str, *records: SqliteRecord, **fields: Any) -> BackupSet:
    """A set with these databases in its volume `media`."""
    found = a_set(name)
    media = VolumeRecord("media", "core_media", 1, 1, ("a",), None, "zstd", sqlite=records)
    return replace(found, manifest=replace(found.manifest, volumes=(media,), **fields))


def a_database(
    size: int = LARGE, rows: int = 1000, file: str = "library.db", **more: Any
) -> SqliteRecord:
    """A good database with one table."""
    return SqliteRecord(file, size, {"item": rows}, **more)


def test_the_share_is_the_larger_one_of_bytes_and_rows() -> None:
    """Against the set before, and rows that went count as rows that came."""
    sets = [made("one", a_database(rows=997)), made("two", a_database())]
    assert large_unchanged(sets) == (LargeDatabase("media", "library.db", LARGE, 0.003, "one"),)
    grown = made("two", a_database(LARGE * 201 // 100))
    (found,) = large_unchanged([made("one", a_database(LARGE * 2)), grown])
    assert found.changed == pytest.approx(0.005, rel=0.01)
    tables = {"old": 5, "item": 995}
    moved = replace(a_database(), tables=tables)
    for pair in ((moved, a_database()), (a_database(), moved)):
        (found,) = large_unchanged([made("one", pair[0]), made("two", pair[1])])
        assert found.changed == 0.01


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (a_database(LARGE - 1), a_database(LARGE - 1)),
        (a_database(LARGE), a_database(LARGE * 102 // 100)),
        (a_database(rows=989), a_database()),
        (a_database(), a_database(rows=989)),
        (a_database(file="another"), a_database()),
        (a_database(problems=("torn",)), a_database()),
        (a_database(), a_database(unchecked="no space")),
    ],
)
def test_others_are_not_listed(before: SqliteRecord, now: SqliteRecord) -> None:
    """Small, changed, new, damaged or unchecked ones."""
    assert large_unchanged([made("one", before), made("two", now)]) == ()


def test_only_the_two_newest_full_sets_count() -> None:
    """Neither a single one, nor a safety set, nor a set of rows."""
    one, two = made("one", a_database(rows=1)), made("two", a_database())
    three = made("three", a_database())
    assert large_unchanged([]) == large_unchanged([one]) == ()
    assert [found.since for found in large_unchanged([one, two, three])] == ["two"]
    assert large_unchanged([a_set(), two]) == (), "an earlier version looked for none"
    safety = made("safety", a_database(), safety=True)
    rows = made("rows", a_database(), kind="data")
    assert large_unchanged([one, two, safety]) == large_unchanged([one, two, rows]) == ()


def test_the_largest_comes_first() -> None:
    """So that the list begins with what costs most."""
    both = (a_database(file="a"), a_database(LARGE + 1, file="b"))
    found = large_unchanged([made("one", *both), made("two", *both)])
    assert [one.file for one in found] == ["b", "a"]


def test_a_report_lists_them() -> None:
    """As a table of its own if there are any, and always in the document."""
    large = LargeDatabase("media", "library.db", 300 << 20, 0.0042, "core-1")
    _, table = views.runs([], NOW, [large])
    assert isinstance(table, Table)
    assert table.title == "large SQLite databases that changed little since core-1"
    assert [cell.text for cell in table.rows[0]] == ["media", "library.db", "300.0 MiB", "0.4%"]
    assert len(views.runs([], NOW, [])) == 1
    assert documents.runs([], [large])["large_sqlite"] == [
        {
            "volume": "media",
            "file": "library.db",
            "bytes": 300 << 20,
            "changed": 0.0042,
            "since": "core-1",
        }
    ]
