"""Migrating live databases. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.errors import RequestError
from quiesce.model import Stack
from quiesce.observed import Observed
from quiesce.plan.backup import require_databases
from quiesce.plan.steps import MigrateDatabase, Plan
from quiesce.suggest import suggest


def plan_migrate(
    stack: Stack, observed: Observed, run: str, names: Sequence[str], revision: str
) -> Plan:
    """Return the plan that migrates these databases (none: all with migrations) to `revision`.

    Only the server must run. Raise RequestError for unknown names and databases that have no
    migrations or cannot be reached.
    """
    known = {database.key: database for database in stack.databases}
    for name in names:
        if name not in known:
            raise RequestError(f"there is no database {name}", suggest(name, known))
        if known[name].migrations is None:
            raise RequestError(
                f"database {name} has no migrations", f"add databases.{name}.migrations"
            )
    databases = [d for d in stack.databases if d.migrations and (not names or d.key in names)]
    require_databases(databases, observed)
    nodes = tuple(
        MigrateDatabase(
            d.key,
            d.name,
            revision,
            f"now at {', '.join(observed.database(d.key).revision) or 'no revision yet'}",
        )
        for d in databases
    )
    words = f"migrate {', '.join(d.key for d in databases)} of {stack.instance.name}"
    return Plan(
        run,
        "migrate",
        stack.instance.name,
        words,
        stack.digest,
        observed.engine.id,
        nodes,
    )
