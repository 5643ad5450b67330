"""Entries of `schedule:`: words and cron expressions, and when they were last due. Pure.

    daily 02:00 data               weekly Sunday 03:00 full        monthly 1 04:00 verify
    hourly :15 rulesdb             */10 8-18 * * 1-5 rulesdb,backend-media

The last word names the job: a kind of backup (`full`, `data`, `schema`), databases and volumes,
`verify`, `verify-deep`, `verify-restore`, `prune` or `drill`.
Times are in the machine's time zone, as with cron.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from quiesce.model import Timing

TASKS = ("full", "data", "schema", "verify", "verify-deep", "verify-restore", "prune", "drill")
DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_PART = re.compile(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/([0-9]{1,2}))?")
#: The last leap day is at most eight years ago.
_LONGEST = 8 * 366

_EXAMPLE = "write it like 'daily 02:00 data', 'weekly Sunday 03:00 full' or '0 2 * * * full'"


class NotATiming(ValueError):
    """An invalid entry; `hint` says what to write."""

    def __init__(self, fact: str, hint: str = _EXAMPLE) -> None:
        super().__init__(fact)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, ("", *_MONTHS)),
    _Field("weekday", 0, 7, tuple(day[:3] for day in DAYS)),
)


def parse(text: str) -> Timing:
    """Parse an entry of `schedule:`. Raise NotATiming."""
    parts = text.split()
    if not parts:
        raise NotATiming("is empty")
    word = parts[0].lower()
    if word in ("hourly", "daily", "weekly", "monthly"):
        cron, rest = _words(word, parts[1:])
    elif len(parts) >= 5 and re.fullmatch(r"[*0-9][*0-9,/-]*", parts[0]):
        cron, rest = " ".join(parts[:5]).lower(), parts[5:]
    else:
        raise NotATiming(f"'{parts[0]}' is not a cron expression, nor hourly, daily, weekly, …")
    if not rest:
        raise NotATiming("does not name a job")
    if len(rest) > 1:
        raise NotATiming(f"'{rest[0]}' is unexpected")
    names = tuple(name for name in rest[0].split(",") if name)
    if not names:
        raise NotATiming("does not name a job")
    fields(cron)
    return Timing(text, cron, names)


def _words(word: str, parts: Sequence[str]) -> tuple[str, list[str]]:
    """Return the cron expression of a word with its arguments, and the remaining words."""
    rest = list(parts)
    day = "*"
    if word == "weekly":
        day = "0"
        if rest and (found := [i for i, d in enumerate(DAYS) if rest[0].lower() in (d, d[:3])]):
            day = str(found[0])
            rest.pop(0)
    elif word == "monthly":
        day = "1"
        if rest and rest[0].isdigit():
            day = rest.pop(0)
            if not 1 <= int(day) <= 28:
                raise NotATiming(f"not every month has a day {day}", "use a day from 1 to 28")
    if word == "hourly":
        minute = rest.pop(0)[1:] if rest and re.fullmatch(":[0-5][0-9]", rest[0]) else "0"
        return f"{int(minute)} * * * *", rest
    hour, minute = "2", "0"
    if rest and ":" in rest[0]:
        clock = _CLOCK.fullmatch(rest[0])
        if not clock:
            raise NotATiming(f"'{rest[0]}' is not a time of day", "write it like 02:00")
        hour, minute = clock.groups()
        rest.pop(0)
    at = f"{int(minute)} {int(hour)}"
    cron = {"daily": f"{at} * * *", "weekly": f"{at} * * {day}", "monthly": f"{at} {day} * *"}
    return cron[word], rest


def fields(cron: str) -> tuple[frozenset[int], ...]:
    """Return the minutes, hours, days, months and weekdays of a cron expression.

    Sunday is 0. Raise NotATiming for anything that cron does not accept.
    """
    return tuple(_field(text, field) for text, field in zip(cron.split(), _FIELDS, strict=True))


def _field(text: str, field: _Field) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if not match:
            raise NotATiming(f"'{part}' is not a valid {field.name} in a cron expression")
        first, last, step = match.groups()
        if first == "*":
            if last:
                raise NotATiming(f"'{part}' is not a valid {field.name} in a cron expression")
            begin, end = field.least, field.most
        else:
            begin = _number(first, field)
            end = _number(last, field) if last else begin
            if step and not last:
                raise NotATiming(f"'{part}' has a step but no range", "write it like 0-30/10")
        if begin > end or step in ("0", "00"):
            raise NotATiming(f"'{part}' is not a valid {field.name} in a cron expression")
        found.update(range(begin, end + 1, int(step or 1)))
    if field.name == "weekday" and 7 in found:
        found = (found - {7}) | {0}
    return frozenset(found)


def _number(text: str, field: _Field) -> int:
    if text in field.words:
        return field.words.index(text)
    if not text.isdigit() or not field.least <= int(text) <= field.most:
        raise NotATiming(
            f"'{text}' is not a valid {field.name}", f"use {field.least} to {field.most}"
        )
    return int(text)


def last_before(cron: str, now: datetime) -> datetime | None:
    """Return the newest time of the expression that is not after `now`; both are local times.

    As in cron, if a day and a weekday are given, either is enough. None if there is no such time,
    as for the 30th of February.
    """
    minutes, hours, days, months, weekdays = fields(cron)
    _, _, day_text, _, weekday_text = cron.split()

    def matches(day: date) -> bool:
        by_day, by_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        if day_text.startswith("*") or weekday_text.startswith("*"):
            chosen = by_day and by_weekday
        else:
            chosen = by_day or by_weekday
        return chosen and day.month in months

    times = sorted((time(hour, minute) for hour in hours for minute in minutes), reverse=True)
    for back in range(_LONGEST):
        day = now.date() - timedelta(days=back)
        if not matches(day):
            continue
        for at in times:
            found = datetime.combine(day, at, tzinfo=now.tzinfo)
            if found.replace(tzinfo=None) <= now.replace(tzinfo=None):
                return found
    return None


def arguments(timing: Timing) -> tuple[str, ...]:
    """Return the arguments of `inv` for the job, without the instance."""
    (first, *more) = timing.what
    if not more and first in TASKS:
        return {
            "full": ("backup",),
            "data": ("backup", "--data-only"),
            "schema": ("backup", "--schema-only"),
            "verify": ("verify", "--all"),
            "verify-deep": ("verify", "--all", "--deep"),
            "verify-restore": ("verify", "--restore"),
            "prune": ("prune", "--yes"),
            "drill": ("drill",),
        }[first]
    return "backup", "--only", ",".join(timing.what)


# ------------------------------------------------------------------------------------ the crontab


def with_block(table: bytes, name: str, lines: Sequence[str]) -> bytes:
    """Return the crontab with these lines as the block `name`, or without it for no lines.

    A block stays in its place; everything else is unchanged. Raise NotATiming if a marker of the
    block is missing.
    """
    begin, end = (f"# quiesce {mark}: {name}".encode() for mark in ("begins", "ends"))
    rows = table.splitlines(keepends=True)
    bare = [row.rstrip(b"\r\n") for row in rows]
    if bare.count(begin) != bare.count(end) or bare.count(begin) > 1:
        raise NotATiming(
            f"the crontab contains only one of the lines '# quiesce begins/ends: {name}'",
            "remove the rest of that block with 'crontab -e'",
        )
    block = [line.encode() + b"\n" for line in lines]
    if block:
        block = [begin + b"\n", *block, end + b"\n"]
    if begin in bare:
        at, after = bare.index(begin), bare.index(end) + 1
        if at >= after:
            raise NotATiming(
                f"the markers of {name} in the crontab are in the wrong order",
                "correct them with 'crontab -e'",
            )
        return b"".join([*rows[:at], *block, *rows[after:]])
    if rows and block and not table.endswith(b"\n"):
        rows.append(b"\n")
    return b"".join([*rows, *block])


def cron_line(when: str, command: str) -> str:
    """Return a line of a crontab. A percent sign would be a newline there."""
    return f"{when} {command}".replace("%", r"\%")
