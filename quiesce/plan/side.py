"""How databases are built beside the live ones: from a set's dumps, or from files. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.model import BackupSet, Database, DatabaseRecord, DatabaseSwap
from quiesce.plan.steps import (
    CheckDatabase,
    CreateDatabase,
    FinishDatabase,
    LoadDump,
    LoadScript,
    MigrateDatabase,
    Node,
)


def dumps(
    databases: Sequence[tuple[Database, DatabaseRecord]],
    swaps: Sequence[DatabaseSwap],
    source: BackupSet,
    migrations: Sequence[tuple[str, str]],
) -> tuple[Node, ...]:
    """Return the steps that make a side database of each dump, and compare it."""
    targets = dict(migrations)
    files = {m.source: m.file for m in source.manifest.members if m.kind == "database"}
    nodes: list[Node] = []
    for (database, record), swap in zip(databases, swaps, strict=True):
        key, side = database.key, swap.side
        nodes += [
            CreateDatabase(source.name, key, side, "built beside the live one"),
            LoadDump(
                source.name,
                key,
                side,
                files[key],
                f"as of {', '.join(record.revision)}" if record.revision else "as it was dumped",
            ),
            CheckDatabase(source.name, key, side, "before anything stops"),
        ]
        if key in targets:
            why = f"the set is at {', '.join(record.revision)}; verified before migrating"
            nodes.append(MigrateDatabase(key, side, targets[key], why))
        nodes.append(FinishDatabase(source.name, key, side, "these do not come with a dump"))
    return tuple(nodes)


def scripts(
    databases: Sequence[tuple[Database, DatabaseRecord]],
    swaps: Sequence[DatabaseSwap],
    source: BackupSet,
    migrations: Sequence[tuple[str, str]],
) -> tuple[Node, ...]:
    """Return the steps that make a side database of each script; there is nothing to compare."""
    targets = dict(migrations)
    files = {m.source: m.file for m in source.manifest.members if m.kind == "database"}
    nodes: list[Node] = []
    for (database, record), swap in zip(databases, swaps, strict=True):
        key, side = database.key, swap.side
        nodes += [
            CreateDatabase("", key, side, "built beside the live one"),
            LoadScript(source.name, key, side, files[key], "by a role that can do no harm"),
        ]
        if key in targets:
            why = f"the file is at {', '.join(record.revision)}"
            nodes.append(MigrateDatabase(key, side, targets[key], why))
        nodes.append(FinishDatabase("", key, side, "these do not come with a file"))
    return tuple(nodes)
