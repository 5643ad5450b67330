"""Options of the command line, made into requests. Wrong ones are refused here, with exit 2."""

from __future__ import annotations

from typing import get_args

from quiesce.errors import RequestError
from quiesce.model import Mode, SetKind
from quiesce.plan.backup import BackupRequest
from quiesce.plan.services import nearest


def backup_request(
    only: tuple[str, ...],
    mode: str,
    *,
    data_only: bool,
    schema_only: bool,
    label: str,
    keep: bool,
) -> BackupRequest:
    """Return what `inv backup` was asked for."""
    modes = get_args(Mode)
    if mode not in modes:
        raise RequestError(f"there is no mode {mode}", f"{nearest(mode, modes)}?")
    if mode == "cold":
        raise RequestError("this version makes no cold backups", "use --mode consistent or live")
    if data_only and schema_only:
        raise RequestError("--data-only and --schema-only exclude each other", "give one of them")
    if any(not character.isprintable() for character in label) or len(label) > 200:
        raise RequestError("the label is not one printable line", "use at most 200 characters")
    kind: SetKind = "data" if data_only else "schema" if schema_only else "full"
    return BackupRequest(only, "live" if kind != "full" else mode, kind, label, keep)  # type: ignore[arg-type]
