"""How rows alone are restored, onto a schema that migrations or the live database give. Pure.

beside     a side database gets the schema as it was at the backup, then the rows; they are
           compared, migrated to the newest revision, and exchanged like any restore
in place   the live database's rows are replaced in one transaction, its users at rest
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
    """Where the rows of one database go: decided from the set and the scripts before planning.

    `revisions` are those that the rows fit, none where the live schema is taken as it is;
    `newest` is where to migrate afterwards, "" for nowhere. Tables in `counted` are compared by
    their number of rows alone.
    """

    database: str
    revisions: tuple[str, ...]
    newest: str
    counted: tuple[str, ...]


def beside(
    databases: Sequence[Database],
    swaps: Sequence[DatabaseSwap],
    source: RestoreSource,
    request: RestoreRequest,
    inputs: RestoreInputs,
) -> tuple[Node, ...]:
    """Return the steps that make a side database of each, with the set's rows."""
    target_of = {target.database: target for target in inputs.rows}
    # A file does not say how its database was made: then it is like the live one.
    like = "" if isinstance(source, ImportSource) else source.name
    nodes: list[Node] = []
    for database, swap in zip(databases, swaps, strict=True):
        key, side, target = database.key, swap.side, target_of[database.key]
        nodes.append(CreateDatabase(like, key, side, "built beside the live one"))
        nodes += [
            MigrateDatabase(key, side, revision, "the schema as it was at the backup")
            for revision in target.revisions
        ]
        if not target.revisions:
            nodes.append(CopySchema(key, side, "it has no migrations: the live schema as it is"))
        nodes.append(replace_rows(source, target, side, "compared before it counts", request))
        if target.newest:
            why = f"the rows are of {', '.join(target.revisions)}; compared before migrating"
            nodes.append(MigrateDatabase(key, side, target.newest, why))
        nodes.append(FinishDatabase("", key, side, "these do not come with rows"))
    return tuple(nodes)


def replace_rows(
    source: RestoreSource, target: RowsTarget, name: str, why: str, request: RestoreRequest
) -> ReplaceRows:
    """Return the step that puts the set's rows into database `name`."""
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
