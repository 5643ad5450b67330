"""The calendar of sets: each day shows the worst state of the sets made on it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from quiesce.report import words
from quiesce.report.page.values import PageFacts

#: From the worst to the best, with a mark that does not depend on colour.
MARKS = {
    "failed": "✘",
    "damaged": "✘",
    "unverified": "○",
    "verified": "✔",
    "restored": "★",
    "removed": "–",
    "none": "",
}
LEGEND = {
    "restored": "restored as a test",
    "verified": "verified",
    "unverified": "not verified",
    "damaged": "damaged, or a backup failed",
    "removed": "made, and removed since",
}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Day:
    """A day: its state, its mark, and a description."""

    at: date
    state: str
    mark: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """Weeks from Monday, the current one last; future days are None.

    `rows` are the weekdays with one day per week; `months` labels weeks in which a month begins.
    """

    months: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Day | None, ...]], ...]
    legend: tuple[tuple[str, str, str], ...]


def make_calendar(facts: PageFacts, weeks: int) -> Calendar:
    """Return the last `weeks` weeks, with days in the page's time zone."""
    today = facts.now.astimezone(facts.zone).date()
    monday = today - timedelta(days=today.weekday())
    mondays = [monday - timedelta(weeks=back) for back in range(weeks - 1, -1, -1)]
    known = _by_day(facts)
    rows = []
    for offset, name in enumerate(WEEKDAYS):
        days = [first + timedelta(days=offset) for first in mondays]
        rows.append((name, tuple(_day(d, known.get(d, [])) if d <= today else None for d in days)))
    return Calendar(
        tuple(_month(first) for first in mondays),
        tuple(rows),
        tuple((state, MARKS[state], text) for state, text in LEGEND.items()),
    )


def _month(first: date) -> str:
    last = first + timedelta(days=6)
    return f"{last:%b}" if last.day <= 7 else ""


def _by_day(facts: PageFacts) -> dict[date, list[tuple[str, str]]]:
    known: dict[date, list[tuple[str, str]]] = {}
    for at, state, sentence in _events(facts):
        known.setdefault(at.astimezone(facts.zone).date(), []).append((state, sentence))
    return known


def _events(facts: PageFacts) -> Iterator[tuple[datetime, str, str]]:
    there = {backup.name for backup in facts.sets}
    for backup in facts.sets:
        state = backup.state
        how = "unverified"
        if state.verified_good is False:
            how = "damaged"
        elif state.verified_good:
            level = state.verified_level
            how = "restored" if "restore" in (level, *state.checks) else "verified"
        yield backup.manifest.created_at, how, f"{backup.name} {LEGEND.get(how, how)}"
    for made in facts.made:
        if made.name not in there:
            yield made.at, "removed", f"{made.name} removed since"
    for run in facts.runs:
        if run.task == "backup" and not run.ok and not run.sets:
            yield run.at, "failed", f"a backup failed: {run.fact or f'exit code {run.exit_code}'}"


def _day(at: date, events: list[tuple[str, str]]) -> Day:
    if not events:
        return Day(at, "none", "", f"{at:%A %Y-%m-%d}: nothing")
    order = list(MARKS)
    state = min((found for found, _ in events), key=order.index)
    text = "; ".join(words.one_line(sentence) for _, sentence in events)
    return Day(at, state, MARKS[state], f"{at:%A %Y-%m-%d}: {text}")
