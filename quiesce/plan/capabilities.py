"""Refuses requests that the engine of a database cannot carry out. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from quiesce.errors import RequestError
from quiesce.model import (
    BackupSet,
    Capability,
    Database,
    RestoreSource,
    engine_of,
    lacks,
)


def engine_in(source: RestoreSource, database: Database) -> str:
    """Return the engine of a database's dump in a source. For a file, this is the engine of the
    database."""
    return (
        source.database(database.key).engine if isinstance(source, BackupSet) else database.engine
    )


def with_capability(databases: Iterable[Database], capability: Capability) -> tuple[Database, ...]:
    """Return the databases whose engine has this capability."""
    return tuple(one for one in databases if engine_of(one.engine).can(capability))


def require(databases: Iterable[Database], capability: Capability, hint: str) -> None:
    """Raise RequestError, with this hint, if the engine of one of them lacks this capability."""
    for database in databases:
        if not engine_of(database.engine).can(capability):
            raise RequestError(
                f"database {database.key}: {lacks(database.engine, capability)}", hint
            )


def require_any(databases: Iterable[Database], capability: Capability, hint: str) -> None:
    """Raise RequestError, with this hint, if there are databases and the engine of each lacks this
    capability."""
    databases = tuple(databases)
    if not with_capability(databases, capability):
        require(databases, capability, hint)
