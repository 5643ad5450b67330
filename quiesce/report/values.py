"""What results are told with, where the model has no noun for it. Frozen, plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

#: Files and bytes by volume key; a volume that is absent or None was not measured.
Sizes = Mapping[str, tuple[int, int] | None]

if TYPE_CHECKING:
    from datetime import datetime

    from quiesce.model import Downtime


class UnfinishedRun(NamedTuple):
    """A run that was interrupted and still owes something. `verb` is what it did, in words;
    `started` is None when unknown."""

    run: str
    verb: str
    started: datetime | None = None


class Leftover(NamedTuple):
    """What a run could not tidy up, or bring back where `service`: which run, what it is, the
    fact with its reason, and what to do. `bytes` is None where nobody knows; `database` is the
    name of one."""

    run: str
    what: str
    fact: str
    hint: str
    bytes: int | None = None
    service: bool = False
    tries: int = 0
    database: str = ""


class LastRestore(NamedTuple):
    """The newest restore that ended well; `request` is what it was, in words. `compared`: every
    database in it was compared with what its set recorded."""

    request: str
    began: datetime
    compared: bool = True


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """The last drill that left a report. `recovery_seconds` is None where it was not timed."""

    at: datetime
    ok: bool
    source: str
    recovery_seconds: float | None
    fact: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run that left a report. `fact` says what went wrong, "" when nothing did."""

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
    """Where one database stands in its Alembic history.

    `unknown` are stored revisions that the history does not have; `problem` says why nothing
    more is known.
    """

    database: str
    current: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RestoredDatabase:
    """What was compared with the set's record before the exchange. Not `compared`: the source
    was a plain file that records nothing to compare with. `uncompared` are tables whose rows were
    only counted."""

    key: str
    tables: int
    rows: int
    compared: bool = True
    uncompared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoredVolume:
    """A volume that was exchanged: entries and bytes of what is live now."""

    key: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What a restore did. `source` names the set or file, `safety_set` where the way back is."""

    source: str
    databases: tuple[RestoredDatabase, ...]
    volumes: tuple[RestoredVolume, ...]
    seconds: float
    downtime: Downtime | None = None
    safety_set: str | None = None
    #: What did not come back as it was, in words.
    eased: tuple[str, ...] = ()
