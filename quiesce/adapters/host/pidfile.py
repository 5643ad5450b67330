"""The record of the last process that was started for a service of `runtime: host`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """The last process that was started for a service. `started` is in ticks since the boot
    `boot`."""

    pid: int
    started: int
    boot: str
    started_at: str
    exit_code: int | None = None

    @property
    def identity(self) -> str:
        return f"{self.pid}:{self.started}"


def read_record(file: Path) -> Record | None:
    """Return the record; None if there is none, or it cannot be read."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        return Record(**fields)
    except (OSError, ValueError, TypeError):
        return None


def write_record(file: Path, record: Record) -> None:
    """Write and sync a record atomically. Raise OSError."""
    partial = file.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(asdict(record), stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
