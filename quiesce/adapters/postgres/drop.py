"""Drops a database that a run created or renamed away, with everything that blocks the drop.

`DROP DATABASE` is refused for a template, for a database with a subscription, while one of its
logical replication slots is in use, and while sessions are connected. None of that is worth keeping
in a database that is dropped, so each is removed first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from quiesce.adapters.postgres.session import Session, SessionError, identifier, literal
from quiesce.adapters.servers import not_of_this_run, require_suffix
from quiesce.errors import CannotDrop

#: How PostgreSQL marks a database whose DROP was interrupted: it can only be dropped.
_INVALID = -2
_IN_USE, _DENIED = "55006", "42501"
SLOT_SECONDS = 30.0
#: An unreachable address, so that no DROP SUBSCRIPTION waits for a publisher.
_NOWHERE = "host=/nowhere dbname=none user=none password=none"

_SUBSCRIPTIONS = """
SELECT subname, pg_get_userbyid(subowner) FROM pg_subscription s
  JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = %s ORDER BY 1
"""
_SLOTS = "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s"


def drop(session: Session, name: str, suffix: str, open_one: Callable[[str], Session]) -> None:
    """Drop database `name`. The name is read back from the server first, because the server
    silently truncates long names, and must end with `suffix`. `open_one` opens a session in it.

    Raise CannotDrop if the server refuses.
    """
    rows = session.rows("SELECT datname FROM pg_database WHERE datname = %s::name", [name])
    if not rows:
        return
    found = str(rows[0][0])
    require_suffix(found, suffix)
    if found != name:
        raise not_of_this_run(found, suffix)
    remove(session, found, open_one)


def remove(session: Session, name: str, open_one: Callable[[str], Session]) -> None:
    """Drop database `name`, which exists and was found to be Quiesce's own. See `drop`."""
    quoted = identifier(name)
    template, limit = session.row(
        "SELECT datistemplate, datconnlimit FROM pg_database WHERE datname = %s", [name]
    )
    try:
        if limit != _INVALID:
            _require_no_prepared(session, name)
            if template:
                session.run(f"ALTER DATABASE {quoted} IS_TEMPLATE false")
            _drop_subscriptions(session, name, open_one)
            session.run(f"ALTER DATABASE {quoted} ALLOW_CONNECTIONS false")
        _drop(session, name)
    except SessionError as problem:
        raise CannotDrop(
            f"database {name} cannot be dropped: {problem.fact.partition(': ')[2]}",
            "it is no longer needed; remove what blocks the drop, or have a superuser drop it",
            details=problem.details,
        ) from problem


def _require_no_prepared(session: Session, name: str) -> None:
    found = session.rows("SELECT gid FROM pg_prepared_xacts WHERE database = %s", [name])
    if found:
        gid = literal(found[0][0])
        raise CannotDrop(
            f"database {name} cannot be dropped: it has the prepared transaction {gid}",
            f"ask the user who prepared it, then in that database run COMMIT PREPARED {gid} or "
            f"ROLLBACK PREPARED {gid}",
        )


def _drop_subscriptions(session: Session, name: str, open_one: Callable[[str], Session]) -> None:
    found = session.rows(_SUBSCRIPTIONS, [name])
    if not found:
        return
    # They can only be dropped in a session of that database.
    session.run(f"ALTER DATABASE {identifier(name)} ALLOW_CONNECTIONS true")
    with open_one(name) as inside:
        for subscription, _ in found:
            alter = f"ALTER SUBSCRIPTION {identifier(subscription)}"
            # First, so that no worker fetches anything into this copy: what it confirmed would be
            # missing in the live database.
            inside.run(f"{alter} CONNECTION {literal(_NOWHERE)}")
            inside.run(f"{alter} DISABLE")
            # The slot is on the publisher, and the live database may be using it.
            inside.run(f"{alter} SET (slot_name = NONE)")
            inside.run(f"DROP SUBSCRIPTION {identifier(subscription)}")


def _drop(session: Session, name: str) -> None:
    statement = f"DROP DATABASE IF EXISTS {identifier(name)}"
    deadline = time.monotonic() + SLOT_SECONDS
    while True:
        try:
            session.run(f"{statement} WITH (FORCE)")
        except SessionError as problem:
            if problem.sqlstate == _DENIED:
                # A user who may not terminate sessions can still drop an unused database; the
                # server's own workers then leave by themselves.
                session.run(statement)
                return
            slots = session.rows(_SLOTS, [name])
            if problem.sqlstate != _IN_USE or not slots or time.monotonic() > deadline:
                raise
            for slot, pid in slots:
                _drop_slot(session, slot, pid)
            time.sleep(0.05)
        else:
            return


def _drop_slot(session: Session, slot: str, pid: int | None) -> None:
    try:
        if pid is not None:
            session.run("SELECT pg_terminate_backend(%s)", [pid])
        session.run("SELECT pg_drop_replication_slot(%s)", [slot])
    except SessionError as problem:
        # If it is still in use, try again; if it no longer exists, that is fine.
        if problem.sqlstate not in (_IN_USE, "42704"):
            raise
