"""The page: what it says, what it draws, and that nobody's words become code in it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.model import SetState
from quiesce.report.page import PageFacts, render_page
from quiesce.report.page.calendar import Day, make_calendar
from quiesce.report.page.plot import Plot, Point, Unit, make_plot, step_between
from quiesce.report.page.sentences import headline
from quiesce.report.values import RunRecord
from tests.support.page import NOW, a_kept_set, half_a_year, restored

VIENNA = ZoneInfo("Europe/Vienna")


def nothing_yet() -> PageFacts:
    """An instance on its first day."""
    return replace(
        half_a_year(), sets=(), reasons={}, unreadable=(), made=(), runs=(), restores=(),
        drill=None, schedule=(),
    )  # fmt: skip


def days_of(facts: PageFacts) -> dict[date, Day]:
    """The days of the calendar that have been."""
    calendar = make_calendar(facts, 26)
    return {day.at: day for _, days in calendar.rows for day in days if day is not None}


def test_nobodys_words_become_code() -> None:
    """A set, a note, an error, an instance: all of them are text."""
    evil = '<script>alert("x")</script>"&'
    facts = half_a_year()
    facts = replace(
        facts,
        instance=evil,
        policy=evil,
        unreadable=((evil, evil),),
        restores=(replace(facts.restores[0], note=evil, operator=evil, source=evil),),
        runs=(replace(facts.runs[0], task=evil, ok=False, fact=evil, sets=()),),
        schedule=(replace(facts.schedule[0], entry=evil),),
        uncovered=(replace(facts.uncovered[0], name=evil, why=evil),),
    )
    page = render_page(facts)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 12


def test_the_page_needs_nothing_but_itself() -> None:
    """No script, no address, no file: it can be mailed, and opened where there is no network."""
    page = render_page(half_a_year())
    assert not re.search(r"https?:|//|<script|<link|<img|src=|url\(|@import", page)


def test_the_same_facts_give_the_same_page() -> None:
    """So that two pages can be compared."""
    assert render_page(half_a_year()) == render_page(half_a_year())


def test_a_first_day_has_a_page_too() -> None:
    """Nothing was made, nothing is drawn, and what is missing is said."""
    page = render_page(nothing_yet())
    assert "there is no backup set" in page
    assert "no data yet" in page
    assert "<svg" not in page


def test_the_calendar_says_the_worst_of_each_day() -> None:
    """A damaged set is not hidden behind a good one of the same day."""
    morning, evening = NOW - timedelta(hours=8), NOW - timedelta(hours=1)
    good = a_kept_set(morning, state=SetState().checked("sums", NOW, good=True))
    bad = a_kept_set(evening, state=SetState().checked("deep", NOW, good=False))
    facts = replace(nothing_yet(), sets=(good, bad))
    assert days_of(facts)[NOW.date()].state == "damaged"
    assert days_of(replace(facts, sets=(good,)))[NOW.date()].state == "verified"
    assert days_of(replace(facts, sets=(restored(good),)))[NOW.date()].state == "restored"
    assert days_of(replace(facts, sets=(a_kept_set(morning),)))[NOW.date()].state == "unverified"


def test_a_night_whose_backup_failed_shows() -> None:
    """Also when an earlier set of that day is fine; a failed push leaves a set, and no cross."""
    failed = RunRecord("r1", "backup", NOW, 1.0, False, 3, "the disk is full", ())
    good = a_kept_set(NOW, state=SetState().checked("sums", NOW, good=True))
    facts = replace(nothing_yet(), sets=(good,), runs=(failed,))
    day = days_of(facts)[NOW.date()]
    assert day.state == "failed"
    assert "the disk is full" in day.sentence
    published = replace(failed, sets=(good.name,))
    assert days_of(replace(facts, runs=(published,)))[NOW.date()].state == "verified"


def test_days_are_those_of_the_zone() -> None:
    """A set of 23:30 UTC is one of the next day in Vienna."""
    late = datetime(2026, 11, 19, 23, 30, tzinfo=UTC)
    facts = replace(nothing_yet(), zone=VIENNA, sets=(a_kept_set(late),))
    days = days_of(facts)
    assert days[date(2026, 11, 20)].state == "unverified"
    assert days[date(2026, 11, 19)].state == "none"


def test_days_to_come_are_left_open() -> None:
    """The current week ends today."""
    assert max(days_of(nothing_yet())) == NOW.date()
    assert len(days_of(nothing_yet())) == 25 * 7 + NOW.weekday() + 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sets": ()}, "there is no backup set"),
        ({"sets": (a_kept_set(NOW),)}, "no backup set has been verified"),
        ({"drill": None}, "no drill yet"),
        ({"schedule": ()}, "no backups are scheduled"),
    ],
)
def test_what_is_wrong_is_said_first(change: dict[str, object], sentence: str) -> None:
    """Before all that is well."""
    verdicts = headline(replace(half_a_year(), **change))
    assert any(sentence in verdict.text for verdict in verdicts if verdict.tone != "good")
    tones = [verdict.tone for verdict in verdicts]
    assert tones == sorted(tones, key=("bad", "warning", "good").index)


def test_a_failed_drill_and_a_failed_backup_are_bad() -> None:
    """Whatever succeeded before them."""
    facts = half_a_year()
    assert facts.drill is not None
    failed = replace(facts.drill, ok=False, fact="backend never became healthy")
    last = replace(facts.runs[0], ok=False, fact="the disk is full", sets=())
    bad = [v.text for v in headline(replace(facts, drill=failed, runs=(last,))) if v.tone == "bad"]
    assert any("backend never became healthy" in text for text in bad)
    assert any("the disk is full" in text for text in bad)


points = st.lists(
    st.builds(
        Point,
        st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        st.floats(0, 1e15, allow_nan=False),
        st.just("set"),
    ),
    min_size=1,
    max_size=30,
)


@given(points, st.sampled_from(["bytes", "seconds"]))
def test_every_point_is_inside_the_drawing(values: list[Point], unit: Unit) -> None:
    """And in the order of time, with the axis at least as high as the highest."""
    plot: Plot = make_plot(values, unit, UTC)
    assert len(plot.dots) == len(values)
    for dot in plot.dots:
        assert plot.left <= dot.x <= plot.right
        assert 0 < dot.y <= plot.bottom
    assert [dot.x for dot in plot.dots] == sorted(dot.x for dot in plot.dots)
    assert 2 <= len(plot.lines) <= 12


@given(st.floats(1e-3, 1e15), st.sampled_from(["bytes", "seconds"]))
def test_steps_of_an_axis_are_few(most: float, unit: Unit) -> None:
    """Between one and eleven: labels that can be read."""
    assert most / step_between(most, unit) <= 11
