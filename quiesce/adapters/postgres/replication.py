"""Reads subscriptions, logical slots and prepared transactions of a database, before planning.

Subscriptions and logical slots belong to the database by its OID, not by its name: an exchange
moves them to the previous copy. A prepared transaction keeps its locks without a session, and its
database can be neither renamed nor dropped.
"""

from __future__ import annotations

from quiesce.adapters.postgres.session import Session
from quiesce.observed import PreparedTransaction, Ties

_SUBSCRIPTIONS = """
SELECT s.subname, pg_get_userbyid(s.subowner), pg_has_role(s.subowner, 'USAGE')
  FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = %s ORDER BY 1
"""
_SLOTS = """
SELECT slot_name, plugin FROM pg_replication_slots
 WHERE database = %s AND NOT temporary ORDER BY 1
"""
# A prepared transaction has no process; its locks share the virtual transaction of its own id lock.
_PREPARED = """
SELECT p.gid, p.owner, extract(epoch FROM clock_timestamp() - p.prepared)::bigint,
       coalesce((SELECT array_agg(DISTINCT n.nspname || '.' || c.relname)
          FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE l.pid IS NULL AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
           AND EXISTS (SELECT 1 FROM pg_locks x
                        WHERE x.pid IS NULL AND x.locktype = 'transactionid'
                          AND x.transactionid = p.transaction
                          AND x.virtualtransaction = l.virtualtransaction)), '{}')
  FROM pg_prepared_xacts p WHERE p.database = current_database() ORDER BY p.prepared
"""


def read_ties(session: Session) -> Ties:
    """Return the replication objects and prepared transactions of the session's database."""
    name = session.database
    subscriptions = session.rows(_SUBSCRIPTIONS, [name])
    return Ties(
        tuple(str(one) for one, _, _ in subscriptions),
        tuple(f"subscription {one} of {owner}" for one, owner, ours in subscriptions if not ours),
        tuple((str(slot), str(plugin)) for slot, plugin in session.rows(_SLOTS, [name])),
        read_prepared(session),
    )


def read_prepared(session: Session) -> tuple[PreparedTransaction, ...]:
    """Return the prepared transactions of the session's database, the oldest first."""
    return tuple(
        PreparedTransaction(str(gid), str(owner), session.database, int(seconds), tuple(tables))
        for gid, owner, seconds, tables in session.rows(_PREPARED)
    )
