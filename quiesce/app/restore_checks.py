"""Checks what a restore needs on a server besides the set, and what an exchange would break."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.app.prepared_transactions import refuse_prepared
from quiesce.errors import RequestError
from quiesce.execute.run import Ports
from quiesce.model import Database, ImportSource, RestoreSource, Stack
from quiesce.observed import Observed, Ties
from quiesce.plan.restore_request import Chosen, RestoreRequest, RolesWanted


def wanted_roles(
    stack: Stack,
    ports: Ports,
    observed: Observed,
    source: RestoreSource,
    chosen: Chosen,
    request: RestoreRequest,
) -> tuple[RolesWanted, ...]:
    """Return the roles of the set to create, by server; a single file has none.

    All of them on a server without roles of its own, as after a disaster or in a throwaway copy;
    elsewhere only those that are needed, and only on request.
    """
    if isinstance(source, ImportSource):
        return ()
    files = {m.source: m.file for m in source.manifest.members if m.kind == "globals"}
    found: dict[str, RolesWanted] = {}
    for database in chosen.databases:
        record = source.database(database.key)
        file = files.get(record.service)
        if file is None or not observed.database(database.key).reachable:
            continue
        script = source.path / file
        missing = ports.databases.missing_roles(database, script, {*record.roles, record.owner})
        everything = missing.fresh or stack.instance.throwaway
        names = missing.every if everything else missing.needed if request.create_roles else ()
        if not names or not missing.allowed:
            continue
        known = found[database.service].names if database.service in found else ()
        found[database.service] = RolesWanted(
            database.service, file, tuple(dict.fromkeys((*known, *names))), stack.instance.throwaway
        )
    return tuple(found.values())


def made_roles(database: Database, wanted: Sequence[RolesWanted]) -> frozenset[str]:
    """Return the roles that will exist on the database's server once `wanted_roles` were
    created."""
    return frozenset(name for w in wanted if w.service == database.service for name in w.names)


def require_untied(
    ports: Ports, observed: Observed, chosen: Chosen, request: RestoreRequest
) -> dict[str, Ties]:
    """Return, by key, the replication objects and prepared transactions of each database to
    replace.

    Raise RequestError for a prepared transaction, which prevents the exchange, and unless
    `break_replication` for replication that would be lost.
    """
    if request.beside:
        return {}
    ties = {
        database.key: ports.databases.ties(database)
        for database in chosen.databases
        if observed.database(database.key).reachable and observed.database(database.key).exists
    }
    refuse_prepared([one for tie in ties.values() for one in tie.prepared], "replaced")
    if request.in_place:
        return {}
    others = [f"database {key} has {what}" for key, tie in ties.items() for what in tie.of_others]
    if others:
        raise RequestError(
            f"{others[0]}, so the user of that database cannot drop it with its previous copy",
            "have its owner or a superuser drop it, or give it to that user with ALTER "
            "SUBSCRIPTION … OWNER TO, then try again; nothing was changed",
            details=others[1:],
        )
    lost = [fact for key, tie in ties.items() for fact in _lost(key, tie)]
    if lost and not request.break_replication:
        raise RequestError(
            f"a restore would break replication: {lost[0]}",
            "to restore anyway, add --break-replication, which prints afterwards what to run; "
            "nothing was changed",
            details=lost[1:],
        )
    return ties


def _lost(key: str, ties: Ties) -> list[str]:
    found = [
        f"database {key} subscribes to another database with subscription {name}"
        for name in ties.subscriptions
    ]
    return found + [
        f"database {key} has consumers of logical slot {name}, which is dropped with the previous "
        "copy"
        for name, _ in ties.slots
    ]


def resume_words(database: Database, ties: Ties) -> list[str]:
    """Return instructions to resume replication after the exchange."""
    found = []
    for name in ties.subscriptions:
        quoted = '"' + name.replace('"', '""') + '"'
        found.append(
            f"subscription {name} of {database.name} is disabled now, while its slot at the "
            "publisher keeps WAL. To resume with a new copy, empty the tables that it "
            f"replicates, then run in {database.name}: ALTER SUBSCRIPTION {quoted} ENABLE; "
            f"ALTER SUBSCRIPTION {quoted} REFRESH PUBLICATION"
        )
    for name, plugin in ties.slots:
        texts = ", ".join("'" + text.replace("'", "''") + "'" for text in (name, plugin))
        found.append(
            f"logical slot {name} of {database.name} was dropped, and its consumers must copy "
            f"everything again. To create it again, run in {database.name}: "
            f"SELECT pg_create_logical_replication_slot({texts})"
        )
    return found
