"""The verbs `migrate` and `migrations`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quiesce.app.session import Session
from quiesce.errors import CheckFailed, QuiesceError, RequestError
from quiesce.execute.run import Ports
from quiesce.model import Database, Stack
from quiesce.observed import Observed
from quiesce.plan import migrate
from quiesce.report.values import MigrationRow
from quiesce.suggest import suggest

if TYPE_CHECKING:
    from quiesce.execute.run import Ports
    from quiesce.observed import Observed


def run_migrate(session: Session, names: Sequence[str], revision: str) -> None:
    """Migrate databases to a revision; only their server must run."""
    session.change(
        "migrate",
        lambda _, seen, run: migrate.plan_migrate(session.stack, seen, run, names, revision),
        "migrated",
    )


def run_migrations(session: Session, names: Sequence[str]) -> None:
    """Show the revisions of databases; exit 7 if migrations are inconsistent."""
    with session.observed() as (ports, seen):
        rows = find_migrations(session.stack, ports, seen, names)
    session.reporter.migrations(rows)
    if wrong := [row.database for row in rows if row.unknown or row.problem]:
        raise CheckFailed(
            f"the migrations of {', '.join(wrong)} are inconsistent",
            "correct the problems listed above; until then 'inv migrate' refuses them",
        )


def find_migrations(
    stack: Stack, ports: Ports, observed: Observed, names: Sequence[str]
) -> tuple[MigrationRow, ...]:
    """Return the revisions of each database with migrations. Raise RequestError for other names."""
    known = {d.key: d for d in stack.databases if d.migrations is not None}
    for name in names:
        if name not in known:
            raise RequestError(
                f"no database {name} with migrations is declared", suggest(name, known)
            )
    return tuple(
        _migration_row(ports, observed, database)
        for key, database in known.items()
        if not names or key in names
    )


def _migration_row(ports: Ports, observed: Observed, database: Database) -> MigrationRow:
    state = observed.database(database.key)
    try:
        heads = ports.migrator.heads(database)
        if not state.reachable:
            return MigrationRow(database.key, heads=heads, problem=state.problem)
        current = state.revision
        unknown = tuple(r for r in current if not ports.migrator.known(database, r))
        pending = () if unknown else ports.migrator.pending(database, current)
    except QuiesceError as error:
        return MigrationRow(database.key, state.revision, problem=error.fact)
    return MigrationRow(database.key, current, heads, pending, unknown)
