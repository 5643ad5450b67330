"""When tasks run by themselves: words, cron expressions, the last time, and the crontab's bytes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quiesce.commands.schedule import cron_lines
from quiesce.errors import RequestError
from quiesce.plan.schedule import (
    NotATiming,
    arguments,
    cron_line,
    fields,
    last_before,
    parse,
    with_block,
)
from tests.support.builders import a_stack

WORDS = {
    "daily 02:00 data": ("0 2 * * *", ("data",)),
    "daily full": ("0 2 * * *", ("full",)),
    "weekly Sunday 03:00 full": ("0 3 * * 0", ("full",)),
    "Weekly sat 3:05 verify": ("5 3 * * 6", ("verify",)),
    "weekly verify-deep": ("0 2 * * 0", ("verify-deep",)),
    "monthly 04:30 prune": ("30 4 1 * *", ("prune",)),
    "monthly 15 verify": ("0 2 15 * *", ("verify",)),
    "hourly rulesdb": ("0 * * * *", ("rulesdb",)),
    "hourly :15 rulesdb,media": ("15 * * * *", ("rulesdb", "media")),
    "*/10 8-18 * * Mon-Fri rulesdb": ("*/10 8-18 * * mon-fri", ("rulesdb",)),
    "0 2 1 jan,jul 7 full": ("0 2 1 jan,jul 7", ("full",)),
}


@pytest.mark.parametrize("text", WORDS)
def test_words_become_cron_expressions(text: str) -> None:
    """Both ways of saying it, with what is done then."""
    timing = parse(text)
    assert (timing.cron, timing.what) == WORDS[text]
    assert timing.text == text


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "is empty"),
        ("daily", "does not name a job"),
        ("daily ,", "does not name a job"),
        ("daily 25:00 data", "'25:00' is not a time of day"),
        ("daily 02:00 data now", "'data' is unexpected"),
        ("monthly 31 full", "not every month has a day 31"),
        ("yearly full", "'yearly' is not a cron"),
        ("60 2 * * * full", "'60' is not a valid minute"),
        ("0 2 * * 8 full", "'8' is not a valid weekday"),
        ("0 2-1 * * * full", "'2-1' is not a valid hour"),
        ("*/0 * * * * full", "'*/0' is not a valid minute"),
        ("5/2 * * * * full", "has a step but no range"),
        ("0 2 * * full", "is not a valid weekday|does not name"),
        ("0 2 full", "'0' is not a cron expression"),
        ("0 2 * * * ; rm full", "is unexpected"),
    ],
)
def test_what_is_no_timing_is_told(text: str, fact: str) -> None:
    """With a hint that can be followed."""
    with pytest.raises(NotATiming, match=fact) as told:
        parse(text)
    assert told.value.hint


def test_fields_are_what_cron_makes_of_them() -> None:
    """Lists, ranges, steps, names, and both Sundays."""
    minutes, hours, days, months, weekdays = fields("*/20,5 8-10 1-9/4 feb 7,mon")
    assert (minutes, hours, days) == ({0, 5, 20, 40}, {8, 9, 10}, {1, 5, 9})
    assert (months, weekdays) == ({2}, {0, 1})


NOW = datetime(2026, 11, 21, 8, 0)  # noqa: DTZ001  local times; a Saturday


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 8 * * *", "2026-11-21 08:00"),
        ("1 8 * * *", "2026-11-20 08:01"),
        ("0 3 * * 0", "2026-11-15 03:00"),
        ("0 2 1 * *", "2026-11-01 02:00"),
        ("*/15 * * * *", "2026-11-21 08:00"),
        ("0 5 13 * 5", "2026-11-20 05:00"),  # the 13th or a Friday
        ("0 5 13 * *", "2026-11-13 05:00"),
        ("0 0 29 2 *", "2024-02-29 00:00"),
        ("0 0 30 2 *", "None"),
    ],
)
def test_the_last_time_something_was_due(cron: str, expected: str) -> None:
    """Also long ago, and never."""
    found = last_before(cron, NOW)
    assert (f"{found:%Y-%m-%d %H:%M}" if found else "None") == expected


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001  local times
)
def test_a_daily_time_was_due_within_the_last_day(minute: int, hour: int, now: datetime) -> None:
    """Never later than now, never more than a day ago."""
    found = last_before(f"{minute} {hour} * * *", now)
    assert found is not None
    assert timedelta(0) <= now - found < timedelta(days=1)
    assert (found.minute, found.hour) == (minute, hour)


def test_what_is_done_is_a_task_of_inv() -> None:
    """Kinds, names and tasks."""
    calls = {text: arguments(parse(f"daily {text}")) for text in ("data", "verify", "a", "a,b")}
    assert calls == {
        "data": ("backup", "--data-only"),
        "verify": ("verify", "--all"),
        "a": ("backup", "--only", "a"),
        "a,b": ("backup", "--only", "a,b"),
    }


# ------------------------------------------------------------------------------------ the crontab

tables = st.lists(
    st.binary(max_size=12).filter(lambda row: b"\n" not in row) | st.just(b"MAILTO=root")
).map(lambda rows: b"".join(row + b"\n" for row in rows))


@given(tables, tables)
@example(b"", b"")
@example(b"\r\n", b"\x0b\x0c\x85\n")
def test_other_peoples_lines_stay_byte_for_byte(before: bytes, after: bytes) -> None:
    """Installed, installed again, changed in its place, and removed."""
    block = with_block(b"", "core", ["0 2 * * * x"])
    installed = with_block(before, "core", ["0 2 * * * x"])
    assert installed == before + block
    there = installed + after
    assert with_block(there, "core", ["0 2 * * * x"]) == there
    other = with_block(b"", "core", ["0 3 * * * y", "@reboot z"])
    assert with_block(there, "core", ["0 3 * * * y", "@reboot z"]) == before + other + after
    assert with_block(there, "core", []) == before + after
    both = with_block(there, "staging", ["0 4 * * * s"])
    assert with_block(both, "core", []) == with_block(before + after, "staging", ["0 4 * * * s"])


def test_a_half_block_is_not_guessed_about() -> None:
    """Somebody edited it: what is theirs cannot be known."""
    whole = with_block(b"", "core", ["0 2 * * * x"])
    for rest in (b"".join(whole.splitlines(True)[:-1]), b"".join(whole.splitlines(True)[1:])):
        with pytest.raises(NotATiming, match="begins/ends"):
            with_block(rest, "core", [])
    upside_down = b"".join(reversed(whole.splitlines(True)))
    with pytest.raises(NotATiming, match="wrong order"):
        with_block(upside_down, "core", [])


def test_a_percent_sign_is_no_newline() -> None:
    """Cron would cut the command there."""
    assert cron_line("@reboot", "cd /50%") == r"@reboot cd /50\%"


def _lines(folder: str, *texts: str, **environ: str) -> Iterator[str]:
    stack = a_stack(Path(folder), schedule=tuple(parse(text) for text in texts))
    yield from cron_lines(stack, environ)


def test_a_line_holds_all_that_cron_lacks() -> None:
    """The folder, a PATH, the instance, a log; a failure is also cron's output."""
    data, verify, reboot = _lines("/srv/my app", "daily 02:00 data", "weekly verify")
    assert data.startswith(
        "0 2 * * * cd '/srv/my app' && umask 077 && mkdir -p backups/.log && PATH=/usr/local/sbin:"
    )
    assert "inv backup --data-only --wait 3600 --instance core >>backups/.log/core.log" in data
    assert data.endswith("2>&1 || tail -n 20 backups/.log/core.log")
    assert " verify --all --instance core >>" in verify
    assert reboot.startswith("@reboot cd '/srv/my app' && ")
    assert "inv recover --wait 3600 --instance core && exit; sleep" in reboot


def test_the_engine_that_was_named_is_named_to_cron() -> None:
    """Cron knows no DOCKER_HOST; the usual one need not be said."""
    (line, _) = _lines("/srv", "daily full", DOCKER_HOST="unix:///run/user/1000/docker.sock")
    assert " DOCKER_HOST=unix:///run/user/1000/docker.sock " in line
    (line, _) = _lines("/srv", "daily full", DOCKER_HOST="unix:///var/run/docker.sock")
    assert "DOCKER_HOST" not in line


def test_what_cron_cannot_be_told_is_refused() -> None:
    """No schedule at all, a folder with a newline, a command that is too long."""
    with pytest.raises(RequestError, match="has no schedule"):
        list(_lines("/srv"))
    with pytest.raises(RequestError, match="cannot contain the folder"):
        list(_lines("/srv\nx", "daily full"))
    with pytest.raises(RequestError, match="cron allows 990"):
        list(_lines("/srv/" + "x" * 800, "daily full"))


def test_the_zone_of_a_time_is_kept() -> None:
    """An aware time in, an aware time out."""
    found = last_before("0 8 * * *", NOW.replace(tzinfo=UTC))
    assert found is not None
    assert found.tzinfo is UTC


def test_a_block_of_a_crontab_is_whole_and_once_or_refused() -> None:
    """Two of them, or one whose end comes first."""
    block = with_block(b"", "core", ["x"])
    with pytest.raises(NotATiming):
        with_block(block + block, "core", ["y"])
    begin, line, end = block.splitlines(keepends=True)
    with pytest.raises(NotATiming, match="wrong order"):
        with_block(end + begin, "core", ["y"])
    assert with_block(begin + end + line, "core", []) == line
