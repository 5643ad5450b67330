"""Finds entries of the schedule that were missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from quiesce.app.run_reports import last_run
from quiesce.app.session import Session
from quiesce.plan import schedule
from quiesce.report import words

if TYPE_CHECKING:
    from quiesce.model import BackupSet, Stack, Timing

#: How long after its due time an entry counts as missed.
GRACE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Due:
    """An entry of `schedule:`, when it was last due, and when it last ran."""

    timing: Timing
    due: datetime
    done: datetime | None
    overdue: bool


def overdue(session: Session, sets: Sequence[BackupSet]) -> tuple[Due, ...]:
    """Return every entry of the schedule, with missed ones marked."""
    return tuple(
        found
        for timing in session.stack.schedule
        if (found := due(session.stack, timing, sets, session.clock.now())) is not None
    )


def warn_overdue(session: Session, sets: Sequence[BackupSet]) -> None:
    """Warn of every entry that was missed, and report them all."""
    entries = overdue(session, sets)
    for entry in entries:
        if entry.overdue:
            last = words.age(entry.done, session.clock.now()) if entry.done else "never"
            session.reporter.warn(f"OVERDUE: '{entry.timing.text}' last ran: {last}")
    session.reporter.result(
        {
            "schedule": [
                {
                    "entry": entry.timing.text,
                    "due_at": words.utc(entry.due),
                    "done_at": words.utc(entry.done) if entry.done else None,
                    "overdue": entry.overdue,
                }
                for entry in entries
            ]
        }
    )


def due(stack: Stack, timing: Timing, sets: Sequence[BackupSet], now: datetime) -> Due | None:
    """Return when the entry was last due and last ran; None for one that is never due."""
    # An entry that just became due may be running.
    found = schedule.last_before(timing.cron, (now - GRACE).astimezone())
    if found is None:
        return None
    # In local time of that day, which may have had another offset.
    at = found.replace(tzinfo=None).astimezone()
    done = _done(stack, timing, sets)
    return Due(timing, at, done, done is None or done < at)


def _done(stack: Stack, timing: Timing, sets: Sequence[BackupSet]) -> datetime | None:
    task, *options = schedule.arguments(timing)
    if task != "backup":
        wants = [
            option.removeprefix("--") for option in options if option in ("--deep", "--restore")
        ]
        return last_run(
            stack, lambda run: run["task"] == task and all(run.get(want) for want in wants)
        )
    wanted = {name for name in timing.what if name not in schedule.TASKS}
    if timing.what == ("full",) or not wanted:
        wanted = {database.key for database in stack.databases}
    kinds = ("full", timing.what[0])
    made = [
        backup.manifest.created_at
        for backup in sets
        if backup.manifest.instance == stack.instance.name
        and not backup.manifest.safety
        and backup.manifest.kind in kinds
        and wanted <= set(backup.manifest.sources)
    ]
    return max(made, default=None)
