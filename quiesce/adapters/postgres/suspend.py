"""Drops or disables what would interfere with a load of rows, and restores it afterwards.

    triggers        the replica role disables ordinary ones; `ENABLE ALWAYS` and `REPLICA` ones
                    would fire, and change or delete rows
    event triggers  would fire at every ALTER that is done here
    checks          those that call functions may read tables that are still empty, those that
                    depend on the time or on settings may fail now
    indexes         those that are far slower row by row than built at once, above all HNSW and
                    IVFFlat; an IVFFlat list made on an empty table would also stay a bad one

Everything happens in the caller's transaction, so a failure undoes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from quiesce.adapters.postgres.check_constraints import Check, OnFailedCheck, put_back, take_off
from quiesce.adapters.postgres.session import Session, SessionError, identifier, literal

_TRIGGERS = """
SELECT n.nspname, c.relname, t.tgname, t.tgenabled FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE t.tgrelid = ANY (%s::oid[]) AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')
 ORDER BY 1, 2, 3
"""
_EVENT_TRIGGERS = """
SELECT evtname, evtenabled FROM pg_event_trigger WHERE evtenabled IN ('A', 'R') ORDER BY 1
"""
# Not dropped: indexes that a constraint, a partitioned index, a clustering, a replica identity or
# an extension needs, invalid ones, and ones with settings that the definition does not contain.
_INDEXES = """
SELECT n.nspname, i.relname, pg_get_indexdef(x.indexrelid), a.amname,
       pg_table_size(x.indrelid), obj_description(x.indexrelid, 'pg_class')
  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
  JOIN pg_namespace n ON n.oid = i.relnamespace JOIN pg_am a ON a.oid = i.relam
 WHERE x.indrelid = ANY (%s::oid[]) AND i.relkind = 'i' AND NOT i.relispartition
   AND NOT x.indisunique AND NOT x.indisexclusion AND NOT x.indisclustered
   AND NOT x.indisreplident AND x.indisvalid AND i.reltablespace = 0
   AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = x.indexrelid)
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                    AND d.objid = x.indexrelid AND d.deptype IN ('x', 'e'))
   AND NOT EXISTS (SELECT 1 FROM pg_attribute s WHERE s.attrelid = x.indexrelid
                    AND coalesce(s.attstattarget, -1) >= 0)
 ORDER BY a.amname IN ('hnsw', 'ivfflat') DESC, 1, 2
"""

VECTOR_METHODS = ("hnsw", "ivfflat")
#: A graph that does not fit into memory is built several times slower.
VECTOR_FACTOR = 1.5
LEAST_MEMORY, MOST_MEMORY = 64 * 1024**2, 1024**3
_STATES = {"A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}
#: Errors when there is too little shared memory for parallel workers, such as a container's 64 MB.
_NO_SHARED_MEMORY = frozenset({"53100", "53200", "58030", "XX000"})


@dataclass(slots=True)
class Suspended:
    """The statements that restore dropped or disabled objects, in order."""

    _again: list[str] = field(default_factory=list)
    _enable: list[str] = field(default_factory=list)
    _indexes: list[tuple[str, str, int]] = field(default_factory=list)
    _checks: tuple[Check, ...] = ()

    def put_back(self, session: Session, on_failure: OnFailedCheck) -> None:
        """Rebuild indexes and validate checks; `on_failure` gets those that fail."""
        for definition, method, size in self._indexes:
            _build(session, definition, size if method in VECTOR_METHODS else 0)
        for statement in self._again:
            session.run(statement)
        put_back(session, self._checks, on_failure)

    def enable(self, session: Session) -> None:
        """Enable triggers as before. Last, because event triggers fire at every ALTER."""
        for statement in self._enable:
            session.run(statement)

    def disable_event_triggers(self, session: Session) -> None:
        """Disable the event triggers that would fire at every ALTER."""
        for name, state in session.rows(_EVENT_TRIGGERS):
            session.run(f"ALTER EVENT TRIGGER {identifier(name)} DISABLE")
            self._enable.append(f"ALTER EVENT TRIGGER {identifier(name)} {_STATES[state]}")

    def take(self, session: Session, tables: Sequence[int]) -> None:
        """Drop or disable what would interfere with a load into these tables, given by OID."""
        some = [list(tables)]
        enable: list[str] = []
        for schema, table, name, state in session.rows(_TRIGGERS, some):
            where = f"ALTER TABLE {identifier(schema)}.{identifier(table)}"
            session.run(f"{where} DISABLE TRIGGER {identifier(name)}")
            enable.insert(0, f"{where} {_STATES[state]} TRIGGER {identifier(name)}")
        self._checks = take_off(session, tables)
        for schema, name, definition, method, size, comment in session.rows(_INDEXES, some):
            named = f"{identifier(schema)}.{identifier(name)}"
            session.run(f"DROP INDEX {named}")
            self._indexes.append((definition, method, size))
            if comment:
                self._again.append(f"COMMENT ON INDEX {named} IS {literal(comment)}")
        self._enable = [*enable, *self._enable]


def _build(session: Session, definition: str, size: int) -> None:
    """Build an index; for vector indexes `size` is the table's size before it was emptied."""
    # The load may be larger than the previous content, so the minimum is generous.
    if not size:
        session.run(definition)
        return
    memory = int(min(max(size * VECTOR_FACTOR, LEAST_MEMORY * 8), MOST_MEMORY))
    session.run("SAVEPOINT quiesce_index")
    try:
        session.run(f"SET LOCAL maintenance_work_mem = '{memory // 1024}kB'")
        session.run(definition)
    except SessionError as problem:
        if problem.sqlstate not in _NO_SHARED_MEMORY:
            raise
        session.run("ROLLBACK TO SAVEPOINT quiesce_index")
        session.run(f"SET LOCAL maintenance_work_mem = '{memory // 1024}kB'")
        session.run("SET LOCAL max_parallel_maintenance_workers = 0")
        session.run(definition)
        session.run("SET LOCAL max_parallel_maintenance_workers TO DEFAULT")
    session.run("SET LOCAL maintenance_work_mem TO DEFAULT")
    session.run("RELEASE SAVEPOINT quiesce_index")
