"""Finds forgotten prepared transactions before anything stops.

They have no session that could be waited for or terminated. A backup fails at their locks, and
their database can be neither renamed nor dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.errors import RequestError
from quiesce.execute.run import Ports
from quiesce.model import Stack
from quiesce.observed import Observed, PreparedTransaction
from quiesce.plan.steps import DumpDatabase, ExportSnapshot, Plan, WriteScript, steps_of
from quiesce.report import words


def require_dumpable(stack: Stack, ports: Ports, seen: Observed, plan: Plan) -> Plan:
    """Return the plan. Raise RequestError if a prepared transaction locks a table that it dumps,
    and warn of transactions with changes that no backup contains."""
    reading = (ExportSnapshot, DumpDatabase, WriteScript)
    keys = dict.fromkeys(
        step.database for _, step in steps_of(plan.nodes) if isinstance(step, reading)
    )
    found = [
        one
        for key in keys
        if seen.database(key).reachable and seen.database(key).exists
        for one in ports.databases.ties(stack.database(key)).prepared
    ]
    refuse_prepared([one for one in found if one.locks], "backed up")
    for one in found:
        ports.sink.warn(
            f"no backup contains the changes of transaction {one.gid} in database {one.database}: "
            f"{prepared_words(one)}"
        )
    return plan


def refuse_prepared(found: Sequence[PreparedTransaction], what: str) -> None:
    """Raise RequestError naming all prepared transactions. With one, a database cannot be `what` (a
    participle, such as "replaced")."""
    if not found:
        return
    first = found[0]
    gid = "'" + first.gid.replace("'", "''") + "'"
    raise RequestError(
        f"database {first.database} cannot be {what}: {prepared_words(first)}",
        f"ask the user who prepared it, then in {first.database} run COMMIT PREPARED {gid} "
        f"or ROLLBACK PREPARED {gid}",
        details=[f"database {one.database}: {prepared_words(one)}" for one in found[1:]],
    )


def prepared_words(one: PreparedTransaction) -> str:
    """Return who prepared a transaction, how long ago, and what it locks."""
    locked = f", which locks {', '.join(one.locks)}" if one.locks else ""
    return (
        f"{one.owner} prepared transaction {one.gid} {words.duration(one.seconds)} ago{locked}, "
        "and it was never committed or rolled back"
    )
