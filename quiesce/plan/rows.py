"""The steps that restore rows only, into a schema from migrations or the live database. Pure.

beside     a staging database gets the schema at the time of the backup, then the rows; they are
           compared, migrated to the newest revision, and exchanged like any restore
in place   the rows of the live database are replaced in one transaction, its users stopped
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quiesce.model import Database, DatabaseSwap, ImportSource, RestoreSource
from quiesce.plan.steps import (
    CopySchema,
    CreateDatabase,
    FinishDatabase,
    MigrateDatabase,
    Node,
    ReplaceRows,
)

if TYPE_CHECKING:
    from quiesce.plan.restore_request import RestoreInputs, RestoreRequest


@dataclass(frozen=True, slots=True)
class RowsTarget:
    """The target of the rows of one database, decided from set and scripts before planning.

    `revisions` are those of the rows, none if the live schema is used; `newest` is the revision to
    migrate to afterwards, "" for none. Tables in `counted` are compared by their number of rows
    only.
    """

    database: str
    revisions: tuple[str, ...]
    newest: str
    counted: tuple[str, ...]


def stage(
    databases: Sequence[Database],
    swaps: Sequence[DatabaseSwap],
    source: RestoreSource,
    request: RestoreRequest,
    inputs: RestoreInputs,
) -> tuple[Node, ...]:
    """Return the steps that build a staging database of each, with the set's rows."""
    target_of = {target.database: target for target in inputs.rows}
    # A file does not say how its database was made: then it is like the live one.
    like = "" if isinstance(source, ImportSource) else source.name
    nodes: list[Node] = []
    for database, swap in zip(databases, swaps, strict=True):
        key, side, target = database.key, swap.side, target_of[database.key]
        nodes.append(CreateDatabase(like, key, side, "built beside the live one"))
        nodes += [
            MigrateDatabase(key, side, revision, "the schema at the time of the backup")
            for revision in target.revisions
        ]
        if not target.revisions:
            nodes.append(CopySchema(key, side, "it has no migrations, so the live schema is used"))
        nodes.append(
            replace_rows(
                source,
                target,
                side,
                "in one transaction, which also compares them with the set",
                request,
            )
        )
        if target.newest:
            why = (
                f"the rows are at revision {', '.join(target.revisions)}; they were compared before"
            )
            nodes.append(MigrateDatabase(key, side, target.newest, why))
        nodes.append(FinishDatabase("", key, side, "these are not part of the rows"))
    return tuple(nodes)


def replace_rows(
    source: RestoreSource, target: RowsTarget, name: str, why: str, request: RestoreRequest
) -> ReplaceRows:
    """Return the step that loads the set's rows into database `name`."""
    key = target.database
    return ReplaceRows(
        source.name,
        key,
        name,
        source.dump_of(key),
        target.counted,
        request.force,
        why,
        not_valid=request.not_valid,
        skip_broken=request.skip_broken,
    )
