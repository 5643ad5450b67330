"""The steps that build databases beside the live ones, from a set's dumps or files. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from quiesce.errors import RequestError
from quiesce.model import (
    BackupSet,
    Database,
    DatabaseSwap,
    ImportSource,
    RestoreSource,
    Stack,
    engine_of,
)
from quiesce.observed import Observed
from quiesce.plan.exchange import block_step, swap_step
from quiesce.plan.naming import DATABASE_NAME_BYTES, staging_database, suffix_of
from quiesce.plan.steps import (
    Bracket,
    CheckDatabase,
    CreateDatabase,
    CreateRoles,
    DiscardStaging,
    DropDatabase,
    FinishDatabase,
    LoadDump,
    LoadScript,
    MigrateDatabase,
    Node,
    Plan,
    UnmarkDatabase,
)

if TYPE_CHECKING:
    from quiesce.plan.restore_request import RestoreInputs, RestoreRequest, RolesWanted


def plan_beside(
    stack: Stack,
    observed: Observed,
    source: RestoreSource,
    databases: Sequence[Database],
    request: RestoreRequest,
    inputs: RestoreInputs,
    run: str,
) -> Plan:
    """Return the plan that restores one database of the set under a new name.

    Nothing stops and nothing is replaced. Raise RequestError for more than one database, and for
    a name that is invalid or taken.
    """
    name = request.beside
    if len(databases) != 1:
        held = ", ".join(database.key for database in databases) or "none"
        raise RequestError(
            f"--as restores one database, but {source.name} contains {held}",
            "name one with --only",
        )
    (database,) = databases
    _require_free(name, {*inputs.taken, database.name})
    swap = DatabaseSwap(database.key, name, staging_database(name, run, "new", inputs.taken), "")
    swaps = (swap,)
    build = (
        scripts(databases, swaps, source, inputs)
        if isinstance(source, ImportSource)
        else dumps(databases, swaps, source, request, inputs)
    )
    drop = DropDatabase(database.key, swap.side, suffix_of(run), "clean up after a failed restore")
    nodes: tuple[Node, ...] = (
        Bracket(
            f"{database.key} of {source.name}",
            (),
            (
                *roles(source, inputs.roles),
                *build,
                block_step(database, (swap.side,)),
                swap_step(database, swaps, "only a complete database gets its final name"),
            ),
            on_failure=(drop, DiscardStaging("clean up after a failed restore")),
            on_success=(UnmarkDatabase(database.key, name, "no longer needed"),),
        ),
        DiscardStaging("clean up"),
    )
    words = f"restore {database.key} of {source.name} as {name}, beside the live one"
    return Plan(run, "restore", stack.instance.name, words, stack.digest, observed.engine.id, nodes)


def roles(source: RestoreSource, wanted: Sequence[RolesWanted]) -> tuple[CreateRoles, ...]:
    """Return the steps that create missing roles of the set."""
    return tuple(
        CreateRoles(
            source.name, one.service, one.file, one.names, one.whole, "the set refers to them"
        )
        for one in wanted
    )


def _require_free(name: str, taken: Collection[str]) -> None:
    if not name.isprintable() or name != name.strip() or len(name.encode()) > DATABASE_NAME_BYTES:
        raise RequestError(
            "the value of --as is not a valid database name",
            f"use at most {DATABASE_NAME_BYTES} bytes",
        )
    if name in taken:
        raise RequestError(
            f"database {name} exists already", "choose another name; --as never replaces a database"
        )


def dumps(
    databases: Sequence[Database],
    swaps: Sequence[DatabaseSwap],
    source: BackupSet,
    request: RestoreRequest,
    inputs: RestoreInputs,
) -> tuple[Node, ...]:
    """Return the steps that build a staging database of each dump, and compare it."""
    targets = dict(inputs.migrations)
    nodes: list[Node] = []
    for database, swap in zip(databases, swaps, strict=True):
        key, side = database.key, swap.side
        record = source.database(key)
        nodes += [
            CreateDatabase(source.name, key, side, "built beside the live one"),
            LoadDump(
                source.name,
                key,
                side,
                source.dump_of(key),
                f"at revision {', '.join(record.revision)}" if record.revision else "as dumped",
                not_valid=request.not_valid and engine_of(database.engine).can("not-valid"),
                skip_broken=request.skip_broken and engine_of(database.engine).can("skip-broken"),
            ),
            CheckDatabase(source.name, key, side, "checked before services stop"),
        ]
        if key in targets:
            why = f"the set is at revision {', '.join(record.revision)}; it was compared before"
            nodes.append(MigrateDatabase(key, side, targets[key], why))
        nodes.append(FinishDatabase(source.name, key, side, "these are not part of the dump"))
    return tuple(nodes)


def scripts(
    databases: Sequence[Database],
    swaps: Sequence[DatabaseSwap],
    source: ImportSource,
    inputs: RestoreInputs,
) -> tuple[Node, ...]:
    """Return the steps that build a staging database of each script, without a comparison."""
    targets = dict(inputs.migrations)
    nodes: list[Node] = []
    for database, swap in zip(databases, swaps, strict=True):
        key, side = database.key, swap.side
        script = source.database(key)
        nodes += [
            CreateDatabase("", key, side, "built beside the live one"),
            LoadScript(source.name, key, side, script.file, "as a role without privileges"),
        ]
        if key in targets:
            why = f"the file is at revision {', '.join(script.revision)}"
            nodes.append(MigrateDatabase(key, side, targets[key], why))
        nodes.append(FinishDatabase("", key, side, "these are not part of the file"))
    return tuple(nodes)
