"""The only code that prints: one `Reporter` per command, with a renderer for each kind of output.

A terminal gets colour and live lines, cron and pipes get plain lines with timestamps, `--json` gets
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
