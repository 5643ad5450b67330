"""Refuses, by name, what the engine of a database cannot do. Pure."""

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
    """Return the engine of a database's dump in a source. A file's is that of the database."""
    return (
        source.database(database.key).engine if isinstance(source, BackupSet) else database.engine
    )


def able(databases: Iterable[Database], capability: Capability) -> tuple[Database, ...]:
    """Return the databases whose engine can do this."""
    return tuple(one for one in databases if engine_of(one.engine).can(capability))


def require(databases: Iterable[Database], capability: Capability, hint: str) -> None:
    """Raise RequestError, with this hint, if the engine of one of them cannot do this."""
    for database in databases:
        if not engine_of(database.engine).can(capability):
            raise RequestError(
                f"database {database.key}: {lacks(database.engine, capability)}", hint
            )


def require_any(databases: Iterable[Database], capability: Capability, hint: str) -> None:
    """Raise RequestError, with this hint, if there are databases and none of them can do this."""
    databases = tuple(databases)
    if not able(databases, capability):
        require(databases, capability, hint)
