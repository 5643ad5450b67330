"""Values for results that are not in the model. Frozen, plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

#: Files and bytes by volume key; a volume that is absent or None was not measured.
Sizes = Mapping[str, tuple[int, int] | None]

if TYPE_CHECKING:
    from datetime import datetime

    from quiesce.model import Downtime, Noun


class UnfinishedRun(NamedTuple):
    """An interrupted run that needs a recovery. `verb` describes it; `started` is None if
    unknown."""

    run: str
    verb: str
    started: datetime | None = None


class Leftover(NamedTuple):
    """Something that a run could not clean up or, with `service`, could not start: the run, its
    description (`what`), the fact with its reason, and a hint. `bytes` is None if unknown;
    `database` is the name of the database, if it is one."""

    run: str
    what: str
    fact: str
    hint: str
    bytes: int | None = None
    service: bool = False
    tries: int = 0
    database: str = ""


class LastRestore(NamedTuple):
    """The newest successful restore; `request` describes it. `compared`: every database in it was
    compared with the record of its set."""

    request: str
    began: datetime
    compared: bool = True


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """The last drill that left a report. `recovery_seconds` is None if it was not measured."""

    at: datetime
    ok: bool
    source: str
    recovery_seconds: float | None
    fact: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run that left a report. `fact` says what went wrong, "" if nothing did."""

    run: str
    task: str
    at: datetime
    seconds: float
    ok: bool
    exit_code: int
    fact: str
    sets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MigrationRow:
    """The revisions of one database.

    `unknown` are stored revisions that are not in the migration scripts; `problem` says why the
    revisions could not be read.
    """

    database: str
    current: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RestoredDatabase:
    """A restored database, compared with the set's record before the exchange. Not `compared`: the
    source was a plain file without a record. `uncompared` are tables whose rows were only
    counted."""

    key: str
    tables: int
    rows: int
    compared: bool = True
    uncompared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoredVolume:
    """A restored volume or path: entries and bytes of its live content."""

    key: str
    files: int
    bytes: int
    noun: Noun = "volume"


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """The result of a restore. `source` is the set or file, `safety_set` the set to undo it."""

    source: str
    databases: tuple[RestoredDatabase, ...]
    volumes: tuple[RestoredVolume, ...]
    seconds: float
    downtime: Downtime | None = None
    safety_set: str | None = None
    #: What was restored differently, in words.
    deviations: tuple[str, ...] = ()
    #: What it did not bring back although it exists here, or existed when the set was made.
    left_behind: tuple[str, ...] = ()
