"""The steps that dump databases whose snapshots are exported. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.model import Database, SetKind, engine_of
from quiesce.plan.capabilities import with_capability
from quiesce.plan.steps import DumpDatabase, DumpGlobals, Node

_AFTERWARDS = "from the exported snapshot"
_NO_SNAPSHOT = "its engine has no snapshots"


def dumps(set_name: str, databases: Sequence[Database], kind: SetKind) -> tuple[Node, ...]:
    """Return the steps that dump what is held, and each server's roles once, if it has any."""
    return (*_dumps(set_name, databases, kind, _AFTERWARDS), *globals_of(set_name, databases))


def split_dumps(
    set_name: str, databases: Sequence[Database], kind: SetKind, in_window: str
) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Return the steps that dump while services are stopped, and those that dump afterwards. If
    `in_window` is not empty, all databases are dumped while services are stopped; it is the reason.
    Databases whose engine has no snapshots are dumped while services are stopped in any case.
    """
    if in_window:
        dumped = _dumps(set_name, databases, kind, in_window)
        return (*dumped, *globals_of(set_name, databases)), ()
    later = with_capability(databases, "snapshots")
    first = tuple(one for one in databases if one not in later)
    return (
        _dumps(set_name, first, kind, _NO_SNAPSHOT),
        (*_dumps(set_name, later, kind, _AFTERWARDS), *globals_of(set_name, databases)),
    )


def _dumps(
    set_name: str, databases: Sequence[Database], kind: SetKind, why: str
) -> tuple[Node, ...]:
    return tuple(DumpDatabase(set_name, d.key, kind, dump_file(d), why) for d in databases)


def dump_file(database: Database) -> str:
    """Return the file of a database's dump in a set."""
    return f"databases/{database.key}{engine_of(database.engine).suffix}"


def globals_of(set_name: str, databases: Sequence[Database]) -> tuple[Node, ...]:
    """Return the steps that dump each server's roles once, if it has any."""
    servers = tuple(dict.fromkeys(d.service for d in with_capability(databases, "globals")))
    return tuple(
        DumpGlobals(
            set_name,
            service,
            f"databases/globals{'' if len(servers) == 1 else f'-{service}'}.sql",
            "a dump refers to roles but does not contain them",
        )
        for service in servers
    )
