"""The input of the page. Frozen, plain values, collected by `commands/report.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from quiesce.model import BackupSet
from quiesce.report.values import DrillRecord, RunRecord


@dataclass(frozen=True, slots=True)
class MadeSet:
    """A set that was made, existing or not. `downtime` is None if nothing stopped."""

    name: str
    kind: str
    at: datetime
    bytes: int
    seconds: float | None
    downtime: float | None


@dataclass(frozen=True, slots=True)
class RestoreRecord:
    """A restore or drill from the permanent log. `ok` is None for one that did not end."""

    at: datetime
    task: str
    source: str
    operator: str
    note: str
    ok: bool | None


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """An entry of `schedule:`, when it was last due and when it was last done."""

    entry: str
    due: datetime
    done: datetime | None
    overdue: bool


@dataclass(frozen=True, slots=True)
class Uncovered:
    """Something that is not backed up: its kind, its name, and why."""

    what: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class PageFacts:
    """Everything that the page shows, of one instance at one time.

    `sets` are complete ones, oldest first; `reasons` are, by name, why each is kept; `made` are all
    backups in reports and sets, oldest first; `runs` and `restores` newest first. `policy` is the
    retention profile in words.
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
