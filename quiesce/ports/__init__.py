"""What Quiesce needs from other systems: protocols. Every docstring is a promise that
implementations keep.

Every method either reaches its goal or raises a `QuiesceError` with a fact and a hint. Methods
state goals, so they are idempotent. Adapters implement them in `adapters/`; the contract suites
in `tests/contract/` test the real adapters and the fakes alike.
"""

from __future__ import annotations

from quiesce.ports.capabilities import (
    DatabaseContents,
    Drift,
    Globals,
    LoadedRows,
    Rows,
    Scripts,
    Tied,
)
from quiesce.ports.databases import (
    BlockedAnotherSession,
    DatabaseAdmin,
    DatabaseDriver,
    DumpReading,
    Handover,
    Migrator,
    Shell,
)
from quiesce.ports.runtime import (
    DIRECTORY,
    Clock,
    CommandLine,
    Endpoint,
    EventSink,
    Progress,
    Project,
    Runtime,
    StopResult,
)
from quiesce.ports.sets import BackupStore, Measured, Offsite
from quiesce.ports.volumes import SqliteCopies, VolumeIO, VolumeSize, VolumeSurvey

__all__ = [
    "DIRECTORY",
    "BackupStore",
    "BlockedAnotherSession",
    "Clock",
    "CommandLine",
    "DatabaseAdmin",
    "DatabaseContents",
    "DatabaseDriver",
    "Drift",
    "DumpReading",
    "Endpoint",
    "EventSink",
    "Globals",
    "Handover",
    "LoadedRows",
    "Measured",
    "Migrator",
    "Offsite",
    "Progress",
    "Project",
    "Rows",
    "Runtime",
    "Scripts",
    "Shell",
    "SqliteCopies",
    "StopResult",
    "Tied",
    "VolumeIO",
    "VolumeSize",
    "VolumeSurvey",
]
