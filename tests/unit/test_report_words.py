"""Sizes, durations, ages and characters, as people and terminals get them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.report import words

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_258_291, "1.2 MiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**3 - 1, "1.0 GiB"),
        (5 * 1024**4, "5.0 TiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_a_size_has_one_decimal_and_never_reads_1024_of_a_unit(count: int, expected: str) -> None:
    """Just below the next unit it is rounded into that unit."""
    assert words.size(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 ms"),
        (-1, "0 ms"),
        (0.85, "850 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (86400 * 3 + 3600 * 4, "3 d 04 h"),
    ],
)
def test_a_duration_uses_the_units_a_person_would(seconds: float, expected: str) -> None:
    """Two units at most, and no 60 s or 60 min."""
    assert words.duration(seconds) == expected


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=45), "45 s ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=3), "3 h ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(days=81), "81 days ago"),
        (timedelta(hours=-3), "in 3 h"),
    ],
)
def test_an_age_is_rounded_down_and_knows_the_future(ago: timedelta, expected: str) -> None:
    """A clock that was set back makes no negative ages."""
    assert words.age(NOW - ago, NOW) == expected


def test_a_moment_carries_the_offset_of_its_zone() -> None:
    """The same in summer and winter, to the second."""
    zone = ZoneInfo("Europe/Berlin")
    assert words.moment(NOW, zone) == "2026-11-21T03:00:00+01:00"
    assert words.moment(NOW.replace(month=7), zone) == "2026-07-21T04:00:00+02:00"


def test_many_lines_become_one() -> None:
    """What PostgreSQL says over several lines fits in one of a log."""
    assert words.one_line("ERROR:  x\n  DETAIL:\ty\r\n") == "ERROR: x DETAIL: y"


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    """A file name can clear no screen, move no cursor and reorder no text."""
    assert words.printable("a\x1b[2Jb\x9bc\rd\u202ee") == "a\\x1b[2Jb\\x9bc\\rd\\u202ee"
    assert words.printable("caf\udce9") == "caf\ufffd"
    assert words.printable("Größe 漢字 ✔") == "Größe 漢字 ✔"


@given(st.text(st.characters(codec=None)))
def test_printable_text_always_encodes_and_holds_no_control_character(text: str) -> None:
    """Whatever comes in, surrogates included."""
    shown = words.printable(text)
    shown.encode("utf-8")
    assert not any(ord(c) < 32 and c != "\n" for c in shown)
    assert not any(0x7F <= ord(c) < 0xA0 for c in shown)


@given(st.text(), st.sampled_from(["ascii", "latin-1", "utf-8", "cp437", "no-such-encoding"]))
def test_legible_text_encodes_in_any_encoding(text: str, encoding: str) -> None:
    """Also where Python has never heard of it: then ASCII it is."""
    shown = words.legible(text, encoding)
    shown.encode("ascii" if encoding == "no-such-encoding" else encoding)


def test_marks_have_a_likeness_in_ascii() -> None:
    """The sense survives, not just a question mark."""
    assert words.legible("✔ a — b ×2 …", "ascii") == "+ a - b x2 ..."


def test_columns_are_counted_as_a_terminal_counts_them() -> None:
    """Wide characters take two, combining ones none."""
    assert words.width("abc") == 3
    assert words.width("漢字") == 4
    assert words.width("e\u0301") == 1
    assert words.padded("漢", 4) == "漢  "


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 tables"), (1, "1 table"), (12345, "12,345 tables")]
)
def test_counting_knows_the_plural(number: int, expected: str) -> None:
    """One table, two tables."""
    assert words.counted(number, "table") == expected
