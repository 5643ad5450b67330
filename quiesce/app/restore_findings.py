"""Findings of `check` and `doctor` about future restores."""

from __future__ import annotations

from quiesce.errors import QuiesceError
from quiesce.execute.run import Ports
from quiesce.findings import Finding
from quiesce.model import Database, Stack
from quiesce.observed import Observed, Ties
from quiesce.report import words


def restore_findings(stack: Stack, ports: Ports, observed: Observed) -> list[Finding]:
    """Return what would prevent restoring a backup that is made now, by database."""
    found: list[Finding] = []
    for database in stack.databases:
        state = observed.database(database.key)
        if not state.reachable or not state.exists:
            continue
        try:
            rights = ports.databases.missing_rights(database)
            ties = ports.databases.ties(database)
        except QuiesceError as error:
            found.append(Finding("warning", database.key, error.fact, error.hint))
            continue
        found += [
            Finding(
                "error" if right.always else "warning",
                database.key,
                right.fact + ("; a restore requires this" if right.always else ""),
                right.hint,
            )
            for right in rights
        ]
        found += _ties(database, ties)
    return found


def _ties(database: Database, ties: Ties) -> list[Finding]:
    found = [
        Finding(
            "warning",
            database.key,
            f"it subscribes to another database with subscription {name}, which a restore would "
            "drop",
            "a restore requires --break-replication, and prints how to resume it",
        )
        for name in ties.subscriptions
    ]
    found += [
        Finding(
            "warning",
            database.key,
            f"it has consumers of logical slot {name}, which is in no backup and which a restore "
            "would drop",
            "a restore requires --break-replication, and prints how to create it again",
        )
        for name, _ in ties.slots
    ]
    for one in ties.prepared:
        gid = "'" + one.gid.replace("'", "''") + "'"
        found.append(
            Finding(
                "warning",
                database.key,
                f"transaction {one.gid} was prepared by {one.owner} "
                f"{words.duration(one.seconds)} ago; it is in no backup, and blocks every restore",
                f"ask {one.owner}, then in {one.database} run COMMIT PREPARED {gid} or ROLLBACK "
                f"PREPARED {gid}",
            )
        )
    return found
