"""Reads archives of `pg_dump` to their end with the service's own `pg_restore`."""

from __future__ import annotations

from pathlib import Path

from quiesce.adapters.postgres.client_args import decode_arguments
from quiesce.adapters.postgres.dump_toc import read_archive
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import DatabaseRecord
from quiesce.ports import DumpReading, Runtime

_TOO_OLD = ("unsupported version", "does not support compression")


def read_dump(
    runtime: Runtime,
    record: DatabaseRecord,
    directory: Path,
    file: str,
    *,
    running: bool,
    label: str,
) -> DumpReading:
    """Read a dump to its end; see `ports.DatabaseDriver`."""
    try:
        read_archive(directory / file)
    except RequestError as error:
        return DumpReading(wrong=str(error))
    if not running:
        return DumpReading(unread=f"because {record.service} is not running")
    try:
        runtime.run_tool(
            record.service,
            decode_arguments(file),
            environment={"LC_ALL": "C"},
            directory=directory,
            writable=False,
            label=label,
        )
    except QuiesceError as error:
        said = [line for line in error.details if "pg_restore:" in line]
        if not said:
            # pg_restore did not start, so the dump was not checked.
            raise
        if any(sign in line for line in said for sign in _TOO_OLD):
            return DumpReading(unread=f"which is newer than the server in {record.service}")
        return DumpReading(wrong=said[0].partition("error: ")[2] or said[0])
    return DumpReading()
