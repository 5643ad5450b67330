"""Half a year of backups as the page is told of it, with everything in it that it can show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from quiesce.model import BackupSet, Check, Downtime, SetState
from quiesce.report.page.values import (
    MadeSet,
    PageFacts,
    RestoreRecord,
    ScheduleRow,
    Uncovered,
)
from quiesce.report.values import DrillRecord, RunRecord
from tests.support.builders import a_set

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
NIGHTS = 150


def a_kept_set(at: datetime, *, state: SetState | None = None, size: int = 0) -> BackupSet:
    """A set of this time, with the state and the size on disk given."""
    name = f"core-{at:%Y%m%d-%H%M%S}"
    backup = a_set()
    manifest = replace(
        backup.manifest,
        name=name,
        instance="core",
        created_at=at,
        duration_seconds=41.5,
        downtime_seconds=Downtime(3.2, {"backend": 3.2}),
        services_stopped=("backend",),
    )
    return replace(
        backup,
        path=backup.path.with_name(name),
        manifest=manifest,
        state=state or SetState(),
        bytes=size,
    )


def half_a_year() -> PageFacts:
    """Nightly sets that grow; some are gone, one is damaged, one was restored, one night failed."""
    nights = [NOW.replace(hour=1, minute=0) - timedelta(days=back) for back in range(NIGHTS)][::-1]
    made = tuple(
        MadeSet(
            f"core-{at:%Y%m%d-%H%M%S}",
            "full",
            at,
            900_000_000 + number * 4_000_000,
            40 + number % 7,
            None if number == 3 else 2.5 + (number % 5) / 4,
        )
        for number, at in enumerate(nights)
        if at.day != 13
    )
    states = [
        SetState().checked("sums", nights[-1], good=True),
        SetState().checked("deep", nights[-1], good=True),
        SetState(),
        SetState().checked("sums", nights[-1], good=False),
    ]
    kept = tuple(
        a_kept_set(one.at, state=states[number % 4 if number < 12 else 0], size=one.bytes)
        for number, one in enumerate(made[-20:])
    )
    runs = [
        RunRecord(
            run=f"{one.at:%Y%m%d%H%M%S}-ab12cd",
            task="backup",
            at=one.at,
            seconds=one.seconds or 0.0,
            ok=True,
            exit_code=0,
            fact="",
            sets=(one.name,),
        )
        for one in made
    ]
    runs += [
        replace(runs[0], at=at, ok=False, exit_code=3, sets=(), fact="no space left on <disk>")
        for at in nights
        if at.day == 13
    ]
    return PageFacts(
        tool="Quiesce 0.1.0",
        instance="core",
        now=NOW,
        zone=ZoneInfo("Europe/Berlin"),
        sets=kept,
        reasons={backup.name: ("keep_last", f"keep_daily {NOW:%Y-%m-%d}") for backup in kept[1:]},
        unreadable=(("core-20261101-020000", "manifest.json is not JSON"),),
        made=made,
        runs=tuple(sorted(runs, key=lambda run: run.at, reverse=True)),
        restores=(
            RestoreRecord(NOW, "restore", made[-1].name, "ada@db1", "a <b>wrong</b> import", True),
            RestoreRecord(nights[9], "restore", made[9].name, "ada@db1", "", None),
            RestoreRecord(nights[5], "restore", made[5].name, "root@db1", "rehearsal", False),
        ),
        drill=DrillRecord(nights[-3], True, made[-3].name, 74.2, ""),
        schedule=(
            ScheduleRow("daily 02:00 full", nights[-1], nights[-1], overdue=False),
            ScheduleRow("monthly drill", nights[-20], None, overdue=True),
        ),
        uncovered=(
            Uncovered("volume", "proxy-logs", "Proxy logs: backup: never in stack.yaml"),
            Uncovered("images", "the images of the services", "a set contains only their digests"),
        ),
        policy="Retention production: keep_last 3, keep_daily 30.",
    )


def restored(backup: BackupSet) -> BackupSet:
    """The same set after a real restore for a check."""
    checks = {**backup.state.checks, "restore": Check(NOW, good=True)}
    state = replace(backup.state, verified_good=True, verified_level="restore", checks=checks)
    return replace(backup, state=state)
