"""Says, while services run, why databases could not be held once services have stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quiesce.adapters.mariadb import catalog
from quiesce.adapters.mariadb.rights import missing_for_backup, read_rights
from quiesce.adapters.mariadb.session import Session
from quiesce.adapters.servers import server_of
from quiesce.errors import QuiesceError
from quiesce.model import Database

#: For each database: its snapshot, two clients, and who watches; for each server, who locks.
EACH, ONCE = 4, 1


def problems_of(databases: Sequence[tuple[Database, Callable[[], Session]]]) -> tuple[str, ...]:
    """Return the problems that prevent holding these databases, each with a function that opens a
    session in it. Changes nothing."""
    problems: list[str] = []
    counts: dict[tuple[str, int], int] = {}
    for database, _ in databases:
        counts[server_of(database)] = counts.get(server_of(database), ONCE) + EACH
    for database, open_one in databases:
        try:
            with open_one() as session:
                if needed := counts.pop(server_of(database), 0):
                    problems += _connections(session, database, needed)
                problems += _of(session, database)
        except QuiesceError as problem:
            problems.append(f"{database.key}: {problem.fact}")
    return tuple(dict.fromkeys(problems))


def _connections(session: Session, database: Database, needed: int) -> list[str]:
    most = int(session.value("SELECT @@global.max_connections"))
    used = int(session.value("SELECT count(*) FROM information_schema.processlist"))
    if most - used >= needed:
        return []
    return [
        f"service {database.service} has {used} of {most} connections in use, and a backup needs "
        f"{needed}: raise max_connections to {used + needed}"
    ]


def _of(session: Session, database: Database) -> list[str]:
    lacking = missing_for_backup(read_rights(session), database.name)
    found = [
        f"database {database.key}: user {database.user} lacks {what}; run: {grant}"
        for what, grant in lacking
    ]
    if lacking:  # without these rights, the catalogs are not complete either
        return found
    shape = catalog.read_shape(session, database.name)
    return [
        f"database {database.key}: table {table} cannot be backed up"
        for table in catalog.unfit_tables(shape)
    ]
