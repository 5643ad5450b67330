"""The plan of `backup-db`: one SQL file per database. Pure.

    <database>-<YYYYMMDD-HHMMSS>.sql        <database>-data-….sql        <database>-schema-….sql

Nothing stops: each file is a consistent snapshot of its database. Files are not sets: retention and
`verify` ignore them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from quiesce.errors import RequestError
from quiesce.model import SetKind, Stack
from quiesce.observed import Observed
from quiesce.plan.backup import require_databases
from quiesce.plan.capabilities import require
from quiesce.plan.steps import (
    Bracket,
    DiscardStaging,
    ExportSnapshot,
    Node,
    Plan,
    ReleaseSnapshot,
    WriteScript,
)
from quiesce.suggest import suggest

ENDING, COMPRESSED = ".sql", ".sql.zst"


@dataclass(frozen=True, slots=True)
class BackupDbRequest:
    """What was requested: databases by key (none: all), the kind, and whether to compress."""

    databases: tuple[str, ...] = ()
    kind: SetKind = "full"
    compress: bool = False


def plan_backup_db(
    stack: Stack,
    observed: Observed,
    request: BackupDbRequest,
    run: str,
    now: datetime,
    taken: Collection[str],
) -> Plan:
    """Return the plan of one file per database. `now` is in the stack's time zone."""
    known = {database.key: database for database in stack.databases}
    for name in request.databases:
        if name not in known:
            raise RequestError(f"there is no database {name}", suggest(name, known))
    databases = [d for d in stack.databases if not request.databases or d.key in request.databases]
    if not databases:
        raise RequestError("there is no database to back up", "declare databases in stack.yaml")
    for needed in ("scripts", "snapshots"):
        require(databases, needed, "make a set with 'inv backup'")
    if request.kind == "data":
        require(databases, "rows", "write full files")
    require_databases(databases, observed)
    names: list[str] = []
    for database in databases:
        names.append(_file_name(stack, database.key, request, now, {*taken, *names}))
    keys = tuple(database.key for database in databases)
    body: tuple[Node, ...] = (
        *(
            ExportSnapshot(key, "the file is made as of this moment", kind=request.kind)
            for key in keys
        ),
        *(
            WriteScript(key, request.kind, name, request.compress, "from the exported snapshot")
            for key, name in zip(keys, names, strict=True)
        ),
    )
    clear: tuple[Node, ...] = (
        *(ReleaseSnapshot(key, "clean up") for key in keys),
        DiscardStaging("clean up"),
    )
    words = f"{request.kind} files of {', '.join(keys)} of {stack.instance.name}"
    return Plan(
        run,
        "backup-db",
        stack.instance.name,
        words,
        stack.digest,
        observed.engine.id,
        (Bracket("single files", (), body, always=clear),),
    )


def _file_name(
    stack: Stack, key: str, request: BackupDbRequest, now: datetime, taken: Collection[str]
) -> str:
    of = "" if stack.is_default else f"{stack.instance.name}-"
    kind = "" if request.kind == "full" else f"-{request.kind}"
    stem = f"{of}{key}{kind}-{now:%Y%m%d-%H%M%S}"
    ending = COMPRESSED if request.compress else ENDING
    if stack.recipients:
        ending += f".{stack.recipients.method}"
    number, name = 1, stem + ending
    while name in taken:
        number += 1
        name = f"{stem}-{number}{ending}"
    return name
