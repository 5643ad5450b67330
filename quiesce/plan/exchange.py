"""The steps of an exchange of databases, for every engine. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.model import Database, DatabaseSwap, engine_of
from quiesce.plan.steps import BlockConnections, SwapDatabases


def by_server(
    databases: Sequence[Database], swaps: Sequence[DatabaseSwap]
) -> tuple[tuple[Database, tuple[DatabaseSwap, ...]], ...]:
    """Return the swaps of each server, with one of its databases."""
    service_of = {database.key: database.service for database in databases}
    servers = {database.service: database for database in reversed(databases)}
    return tuple(
        (servers[service], tuple(swap for swap in swaps if service_of[swap.database] == service))
        for service in dict.fromkeys(service_of.values())
    )


def block_step(server: Database, names: Sequence[str]) -> BlockConnections:
    """Return the step that keeps clients out of these databases of a database's server, as far as
    its engine can."""
    if engine_of(server.engine).can("closing"):
        return BlockConnections(server.service, tuple(names), "a database in use cannot be renamed")
    why = "they would wait for the exchange, or delay it"
    return BlockConnections(server.service, tuple(names), why, closing=False)


def swap_step(server: Database, swaps: tuple[DatabaseSwap, ...], why: str = "") -> SwapDatabases:
    """Return the step that exchanges databases of a database's server."""
    if not why and engine_of(server.engine).can("closing"):
        why = "all databases of a server in one transaction"
    return SwapDatabases(server.service, swaps, why or "all tables of a server by one statement")
