"""What a run carries with it while its plan is worked through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quiesce.errors import QuiesceError
from quiesce.execute.draft import Draft
from quiesce.model import (
    BackupSet,
    Downtime,
    Stack,
)
from quiesce.observed import Observed
from quiesce.ports import (
    BackupStore,
    Clock,
    DatabaseAdmin,
    EventSink,
    Migrator,
    Offsite,
    Project,
    Runtime,
    VolumeIO,
)


@dataclass(frozen=True, slots=True)
class Ports:
    """The world, as `app` put it together for this run."""

    runtime: Runtime
    databases: DatabaseAdmin
    volumes: VolumeIO
    migrator: Migrator
    store: BackupStore
    sink: EventSink
    clock: Clock
    project: Project
    offsite: Offsite


class DowntimeMeter:
    """From the stop request to well again, per service. Seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._stopped: dict[str, float] = {}
        self._back: dict[str, float] = {}

    def stopping(self, service: str, at: float) -> None:
        self._stopped.setdefault(service, at)

    def well(self, service: str, at: float) -> None:
        if service in self._stopped:
            self._back[service] = at

    def result(self) -> Downtime:
        """Services that did not come back are left out: their downtime is not known yet."""
        spans = {name: round(self._back[name] - self._stopped[name], 3) for name in self._back}
        if not spans:
            return Downtime(0.0, {})
        first = min(self._stopped[name] for name in self._back)
        return Downtime(round(max(self._back.values()) - first, 3), spans)


@dataclass(slots=True)
class Run:
    """One run: its id, what was observed for it, and what its steps found out so far.

    `sources` are the sets a restore reads, by name. `published` are the sets sealed by this run,
    `compared` the rows and tables that were found identical, per database. `exit_codes` are those
    of services that were stopped, of several units the one that is not 0. `files` are single
    files that were written, by database; `loaded` what came out of files that record nothing.
    """

    id: str
    stack: Stack
    observed: Observed
    ports: Ports
    sources: Mapping[str, BackupSet] = field(default_factory=dict)
    drafts: dict[str, Draft] = field(default_factory=dict)
    downtime: DowntimeMeter = field(default_factory=DowntimeMeter)
    published: list[BackupSet] = field(default_factory=list)
    compared: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Of those, by database, the tables whose rows were only counted.
    uncompared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    staged: dict[str, tuple[int, int]] = field(default_factory=dict)
    exit_codes: dict[str, int] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    loaded: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: What could not be started, or is not well, where that does not end the run at once.
    failed: dict[str, QuiesceError] = field(default_factory=dict)
    not_started: set[str] = field(default_factory=set)
    #: Services that are declared no more, and whose containers are gone.
    undeclared: set[str] = field(default_factory=set)
    #: What of a database came back otherwise than it was, in words.
    eased: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def measure_meanwhile(self) -> None:
        """Measure what is finished of every set in the making, in the background."""
        for draft in self.drafts.values():
            draft.measure_meanwhile()
