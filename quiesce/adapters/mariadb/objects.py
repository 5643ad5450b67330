"""Digests of what a database contains besides rows, for comparing a load with its record.

They depend neither on the name of the database nor on the version of the server: views and events
by their names, code by its text as it was written, indexes and keys by their columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from quiesce.adapters.mariadb.code import EVENTS, kept_code
from quiesce.adapters.mariadb.session import Session

_QUERIES = (
    "SELECT concat('view ', table_name) FROM information_schema.views WHERE table_schema = %s",
    "SELECT concat('event ', event_name) FROM information_schema.events WHERE event_schema = %s",
    "SELECT concat('trigger ', trigger_name), event_object_table, action_timing,"
    " event_manipulation, action_statement, definer"
    " FROM information_schema.triggers WHERE trigger_schema = %s",
    "SELECT concat(lower(routine_type), ' ', routine_name), routine_definition, definer,"
    " security_type FROM information_schema.routines WHERE routine_schema = %s",
    "SELECT concat('index ', table_name, '.', index_name), group_concat(concat_ws(' ',"
    " column_name, sub_part, non_unique, index_type) ORDER BY seq_in_index SEPARATOR ', ')"
    " FROM information_schema.statistics WHERE table_schema = %s"
    " AND table_name NOT IN ('quiesce_code', 'quiesce_exchange') GROUP BY table_name, index_name",
    "SELECT concat('foreign key ', k.table_name, '.', k.constraint_name), group_concat(concat_ws("
    "' ', k.column_name, nullif(k.referenced_table_schema, k.table_schema),"
    " k.referenced_table_name, k.referenced_column_name) ORDER BY k.ordinal_position SEPARATOR"
    " ', ') FROM information_schema.key_column_usage k WHERE k.table_schema = %s"
    " AND k.referenced_table_name IS NOT NULL GROUP BY k.table_name, k.constraint_name",
    "SELECT concat('check ', table_name, '.', constraint_name)"
    " FROM information_schema.check_constraints WHERE constraint_schema = %s",
)


def read_objects(session: Session, name: str) -> Mapping[str, str]:
    """Return a digest of each object of database `name`, by kind and name."""
    found = {
        str(key): hashlib.sha256(repr(rest).encode()).hexdigest()[:16]
        for query in _QUERIES
        for key, *rest in session.rows(query, [name])
    }
    # Beside the live database, events are only kept.
    nothing = hashlib.sha256(repr([]).encode()).hexdigest()[:16]
    for one in kept_code(session, name, EVENTS) or ():
        found[f"event {one.name}"] = nothing
    return dict(sorted(found.items()))
