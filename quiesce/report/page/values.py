"""What the page is told. Frozen, plain values; whoever collects them is in `app`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from quiesce.model import BackupSet
from quiesce.report.values import DrillRecord, RunRecord


@dataclass(frozen=True, slots=True)
class MadeSet:
    """A set that was made once, still there or not. `downtime` is None where nothing stopped."""

    name: str
    kind: str
    at: datetime
    bytes: int
    seconds: float | None
    downtime: float | None


@dataclass(frozen=True, slots=True)
class RestoreRecord:
    """A restore or drill from the log that is never cut. `ok` is None for one without an end."""

    at: datetime
    task: str
    source: str
    operator: str
    note: str
    ok: bool | None


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """An entry of `schedule:` as it was written, when it was due last and when it was done."""

    entry: str
    due: datetime
    done: datetime | None
    overdue: bool


@dataclass(frozen=True, slots=True)
class Uncovered:
    """Something that no set holds: what kind of thing, its name, and why not."""

    what: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class PageFacts:
    """Everything the page shows, of one instance at one time.

    `sets` are complete ones, oldest first; `reasons` says, by name, what keeps each; `made` are
    all that reports and sets know of, oldest first; `runs` and `restores` newest first. `policy`
    is the retention profile in words.
    """

    tool: str
    instance: str
    now: datetime
    zone: tzinfo
    sets: tuple[BackupSet, ...]
    reasons: Mapping[str, tuple[str, ...]]
    unreadable: tuple[tuple[str, str], ...]
    made: tuple[MadeSet, ...]
    runs: tuple[RunRecord, ...]
    restores: tuple[RestoreRecord, ...]
    drill: DrillRecord | None
    schedule: tuple[ScheduleRow, ...]
    uncovered: tuple[Uncovered, ...]
    policy: str
