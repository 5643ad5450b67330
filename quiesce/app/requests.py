"""Turns command-line options into requests. Invalid ones are refused with exit code 2."""

from __future__ import annotations

from typing import get_args

from quiesce.errors import RequestError
from quiesce.model import Mode, SetKind
from quiesce.plan.backup import BackupRequest
from quiesce.plan.backup_db import BackupDbRequest
from quiesce.plan.restore_request import RestoreRequest
from quiesce.plan.shutdown import ShutdownRequest
from quiesce.suggest import suggest

__all__ = ["RestoreRequest", "backup_db_request", "backup_request", "program", "shutdown_request"]


def backup_request(
    only: tuple[str, ...],
    mode: str,
    *,
    data_only: bool,
    schema_only: bool,
    label: str,
    keep: bool,
) -> BackupRequest:
    """Return the request of `inv backup`."""
    modes = get_args(Mode)
    if mode not in modes:
        raise RequestError(f"there is no mode {mode}", suggest(mode, modes))
    if data_only and schema_only:
        raise RequestError(
            "--data-only and --schema-only cannot be combined", "use only one of them"
        )
    if any(not character.isprintable() for character in label) or len(label) > 200:
        raise RequestError(
            "the label is not a single printable line", "use one line of at most 200 characters"
        )
    if mode == "cold" and (data_only or schema_only):
        option = "--data-only" if data_only else "--schema-only"
        raise RequestError("a cold backup copies whole servers", f"leave out {option}")
    kind: SetKind = "data" if data_only else "schema" if schema_only else "full"
    return BackupRequest(only, "live" if kind != "full" else mode, kind, label, keep)  # type: ignore[arg-type]


def backup_db_request(
    databases: tuple[str, ...], *, data_only: bool, schema_only: bool, compress: bool
) -> BackupDbRequest:
    """Return the request of `inv backup-db`."""
    if data_only and schema_only:
        raise RequestError(
            "--data-only and --schema-only cannot be combined", "use only one of them"
        )
    kind: SetKind = "data" if data_only else "schema" if schema_only else "full"
    return BackupDbRequest(databases, kind, compress)


def shutdown_request(keep_running: tuple[str, ...], *, full: bool, force: bool) -> ShutdownRequest:
    """Return the request of `inv shutdown`."""
    return ShutdownRequest(full, keep_running, force)


def program(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the program to run. Raise RequestError if none was given."""
    if not argv:
        raise RequestError("no program was given", "write it after --, as in: inv exec … -- ls -l")
    return argv
