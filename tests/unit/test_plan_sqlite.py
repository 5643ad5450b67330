"""What the records of SQLite databases in a set say; tests/unit/test_sqlite_files.py makes them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quiesce.model import SqliteRecord, VolumeRecord
from quiesce.plan.sqlite import damaged, new_problems, summary, without_excluded_parts
from tests.support.builders import a_set

GOOD = SqliteRecord("a", 1, {"t": 1})


@pytest.mark.parametrize(
    ("recorded", "now", "wrong"),
    [
        (GOOD, GOOD, ()),
        (GOOD, None, ("a is not an SQLite database",)),
        (GOOD, SqliteRecord("a", 1, {}, ("page 3 is broken",)), ("a: page 3 is broken",)),
        (GOOD, SqliteRecord("a", 1, {"t": 2}), ("a has other rows than recorded",)),
        (GOOD, SqliteRecord("a", 1, {}, unchecked="too old"), ()),
        (SqliteRecord("a", 1, {}, ("was broken",)), None, ()),
        (SqliteRecord("a", 1, {}, unchecked="too old"), None, ()),
    ],
)
def test_a_later_check_is_compared_with_the_recorded_one(
    recorded: SqliteRecord, now: SqliteRecord | None, wrong: tuple[str, ...]
) -> None:
    """Only what was good can become worse."""
    assert new_problems([recorded], [now] if now else []) == wrong


def test_each_database_is_compared_with_its_own_record() -> None:
    """One that was never good hides no other; rows of one that cannot be judged say nothing."""
    broken, other = SqliteRecord("0", 1, {}, ("was broken",)), replace(GOOD, file="b")
    now = [broken, replace(GOOD, tables={"t": 2}), other]
    assert new_problems([broken, GOOD, other], now) == ("a has other rows than recorded",)
    assert new_problems([GOOD], [SqliteRecord("a", 1, {"t": 2}, unchecked="torn while read")]) == ()


def test_damage_is_listed_with_its_place() -> None:
    """Volumes of a set of an earlier version have no records."""
    old = a_set().manifest.volumes
    assert damaged(old) == ()
    bad = SqliteRecord("b", 1, {}, ("torn",))
    volume = VolumeRecord("media", "m", 1, 1, ("a",), None, "zstd", sqlite=(GOOD, bad))
    assert damaged((*old, volume)) == ((volume, bad),)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], ""),
        ([GOOD], "1 database, 1 good"),
        ([GOOD, replace(GOOD, unchecked="x")], "2 databases, 1 good"),
    ],
)
def test_how_many_are_good_is_said(records: list[SqliteRecord], words: str) -> None:
    """Nothing where there is none."""
    assert summary(records) == words


@pytest.mark.parametrize(
    ("pattern", "good"),
    [("*.db-wal", False), ("**/*-journal", False), ("cache", True), ("*-shm", True)],
)
def test_a_database_without_its_log_is_not_called_good(pattern: str, *, good: bool) -> None:
    """Its last transactions may be in what is left out. The shared memory holds none."""
    (one,) = without_excluded_parts([SqliteRecord("app.db", 4096, {"a": 1})], [pattern])
    assert one.is_good is good
    assert good or "last transactions" in one.unchecked
