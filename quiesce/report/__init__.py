"""The only code that prints: one `Reporter` a command, with a face for whoever reads it.

A terminal gets colour and a live line, cron and pipes get plain timestamped lines, `--json` gets
exactly one document on stdout. The calls are the same for all three.
"""

from quiesce.report.reporter import Reporter, make_reporter
from quiesce.report.values import (
    MigrationRow,
    RestoredDatabase,
    RestoredVolume,
    RestoreOutcome,
    UnfinishedRun,
)

__all__ = [
    "MigrationRow",
    "Reporter",
    "RestoreOutcome",
    "RestoredDatabase",
    "RestoredVolume",
    "UnfinishedRun",
    "make_reporter",
]
