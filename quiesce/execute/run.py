"""The state of a run during the execution of its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from quiesce.errors import QuiesceError
from quiesce.execute.draft import Draft
from quiesce.model import (
    BackupSet,
    Downtime,
    RestoreSource,
    Stack,
)
from quiesce.observed import ExternalSession, Observed
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
    """The adapters of this run, as assembled by `app`."""

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
    """From the stop request until healthy again, per service. Seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._stopped: dict[str, float] = {}
        self._back: dict[str, float] = {}

    def stopping(self, service: str, at: float) -> None:
        self._stopped.setdefault(service, at)
        self._back.pop(service, None)

    def healthy(self, service: str, at: float) -> None:
        if service in self._stopped:
            # A plan may wait again for a service that runs already.
            self._back.setdefault(service, at)

    def result(self) -> Downtime:
        """Return the downtimes, without services that are still down."""
        spans = {name: round(self._back[name] - self._stopped[name], 3) for name in self._back}
        if not spans:
            return Downtime(0.0, {})
        first = min(self._stopped[name] for name in self._back)
        return Downtime(round(max(self._back.values()) - first, 3), spans)


@dataclass(slots=True)
class Run:
    """One run: its id, what was observed for it, and the results of its steps so far.

    `sources` are the sets or files that a restore reads. `published` are the sets that this run
    published, `compared` the numbers of tables and rows found identical, per database. `exit_codes`
    are those of stopped services; if a service has several units, one that is not 0 is kept.
    `files` are single files that were written, by database; `loaded` are amounts loaded from files
    without a record.
    """

    id: str
    stack: Stack
    observed: Observed
    ports: Ports
    sources: Mapping[str, RestoreSource] = field(default_factory=dict)
    drafts: dict[str, Draft] = field(default_factory=dict)
    downtime: DowntimeMeter = field(default_factory=DowntimeMeter)
    published: list[BackupSet] = field(default_factory=list)
    compared: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: The tables among those whose rows were only counted, by database.
    uncompared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    staged: dict[str, tuple[int, int]] = field(default_factory=dict)
    exit_codes: dict[str, int] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    loaded: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Services that could not be started or are unhealthy, if that does not end the run at once.
    failed: dict[str, QuiesceError] = field(default_factory=dict)
    not_started: set[str] = field(default_factory=set)
    #: Services that are no longer declared and have no containers.
    undeclared: set[str] = field(default_factory=set)
    #: Servers that run and refuse the declared user.
    unasked: set[str] = field(default_factory=set)
    #: What was restored differently in a database, in words.
    deviations: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: When the exchange of live data began, by this process or by the run that is recovered.
    exchanged_at: datetime | None = None
    #: Sessions of other clients that were at work when the exchange ended them.
    ended_sessions: tuple[ExternalSession, ...] = ()
    #: The safety sets that were made, so that what they contain may be removed.
    kept: set[str] = field(default_factory=set)
    #: The folder of the journals and of pending work.
    runs_folder: Path = Path("/nowhere")

    def exchange_begins(self) -> None:
        """Note the instant that the safety set shows: nothing writes to the live data from now
        on."""
        self.exchanged_at = self.exchanged_at or self.ports.clock.now()

    def measure_meanwhile(self) -> None:
        """Compute checksums of complete members of every unfinished set, in the background."""
        for draft in self.drafts.values():
            draft.measure_meanwhile()
