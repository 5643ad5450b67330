"""A simulated year through zones that are hard to live in, under two zones of the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from quiesce.plan.retention import decide
from tests.support.year import END, POLICY, made_at, times

ROOT = Path(__file__).resolve().parents[2]
ZONES = ("Europe/Vienna", "Pacific/Apia", "Asia/Kathmandu")


def _walk(zone: str, minutes: int, process_zone: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.year", zone, str(minutes)],
        cwd=ROOT,
        env={**os.environ, "TZ": process_zone},
        capture_output=True,
        text=True,
        check=True,
    )
    result: list[object] = json.loads(done.stdout)
    return result


def _check_year(zone: str, minutes: int) -> None:
    names, removals, most = _walk(zone, minutes, "America/New_York")
    assert [names, removals, most] == _walk(zone, minutes, "Asia/Tokyo")
    # Pruned day by day, or once at the end: the same sets are left.
    everything = [made_at(when) for when in times(minutes)]
    last = everything[-1].created_at
    reasons = decide(everything, POLICY, last, ZoneInfo(zone))
    assert names == [entry.name for entry in everything if reasons[entry.name]]
    assert isinstance(most, int)
    assert most <= 3 + 6 + 10 + 8 + 14 + 3
    days = sorted(
        rule.split()[1] for why in reasons.values() for rule in why if "keep_daily" in rule
    )
    today = last.astimezone(ZoneInfo(zone)).date()
    assert days == sorted(f"{today - timedelta(days=number)}" for number in range(10))


@pytest.mark.thorough
@pytest.mark.parametrize("zone", ZONES)
def test_a_year_every_six_hours(zone: str) -> None:
    """Every DST change, the day Samoa left out, the last week of the year."""
    _check_year(zone, 6 * 60)


@pytest.mark.long
@pytest.mark.parametrize("zone", ZONES)
def test_a_year_every_quarter_of_an_hour(zone: str) -> None:
    """35,000 sets, each pruned after."""
    _check_year(zone, 15)


def test_the_day_that_samoa_left_out_is_no_gap() -> None:
    """29th and 31st of December 2011 are neighbours there."""
    zone = ZoneInfo("Pacific/Apia")
    sets = [made_at(when) for when in times(60) if when < datetime(2012, 1, 1, tzinfo=END.tzinfo)]
    reasons = decide(sets, POLICY, END, zone)
    kept = {rule.split()[1] for why in reasons.values() for rule in why if "keep_daily" in rule}
    assert {"2011-12-29", "2011-12-31"} <= kept
    assert "2011-12-30" not in kept
    assert len(kept) == POLICY.keep_daily
