"""Checks foreign keys and refreshes materialized views after rows were loaded.

Under the replica role no foreign key is checked, and VALIDATE does nothing for a key that is marked
valid. So every key is checked here: a child row without its parent would make the next dump
impossible to restore.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter

from quiesce.adapters.postgres.errors import SessionError, Unreachable
from quiesce.adapters.postgres.search_path import read_in_transaction
from quiesce.adapters.postgres.session import SQL, Session, identifier

_KEYS = """
SELECT k.conname, cn.nspname, c.relname, c.relkind, pn.nspname, p.relname, p.relkind,
       k.confmatchtype, {period},
       array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, i)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.i),
       array(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(n, i)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.i),
       array(SELECT quote_ident(on_.nspname) || '.' || o.oprname
               FROM unnest(k.conpfeqop) WITH ORDINALITY u(n, i) JOIN pg_operator o ON o.oid = u.n
               JOIN pg_namespace on_ ON on_.oid = o.oprnamespace ORDER BY u.i),
       pg_get_constraintdef(k.oid)
  FROM pg_constraint k
  JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
  JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
 WHERE k.contype = 'f' AND k.convalidated AND k.conparentid = 0
 ORDER BY 2, 3, 1
"""
_LONELY = SQL(
    "SELECT 1 FROM {child} c WHERE ({some})"
    " OR ({whole} AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {same})) LIMIT 1"
)
_TEMPORAL_SINCE = 180000

_VIEWS = """
SELECT c.oid, n.nspname, c.relname, c.relispopulated FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' ORDER BY c.oid
"""
# What each view reads, including other plain views.
_READS = """
SELECT DISTINCT r.ev_class, d.refobjid FROM pg_rewrite r
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
"""


@dataclass(frozen=True, slots=True)
class Orphaned:
    """A foreign key that rows violate, and a description. `constraint` is as in a set's record;
    `definition` as SQL writes it, "" if it cannot be checked at all; `partitioned` if its table
    is."""

    constraint: tuple[str, ...]
    words: str
    definition: str = ""
    partitioned: bool = False


def orphans(session: Session, unasked: Collection[tuple[str, str]] = ()) -> tuple[Orphaned, ...]:
    """Return every foreign key with a child row that has no parent. Runs in a transaction, without
    keeping additional locks. Keys of and to the tables `unasked`, by schema and name, are left out.
    """
    found = []
    period = "k.conperiod" if session.version >= _TEMPORAL_SINCE else "false"
    for row in session.rows(_KEYS.format(period=period)):
        name, schema, table, kind, pschema, parent, pkind, match, temporal = row[:9]
        child, key, ops, definition = row[9:]
        if {(schema, table), (pschema, parent)} & set(unasked):
            continue
        words, constraint = f"foreign key {name} of {schema}.{table}", (schema, table, name)
        if temporal:
            says = f"{words} is temporal, which cannot be checked after a restore of rows only"
            found.append(Orphaned(constraint, says))
            continue
        given = [f"c.{identifier(column)} IS NOT NULL" for column in child]
        whole = " AND ".join(given)
        # MATCH FULL: all columns or none.
        some = f"({' OR '.join(given)}) AND NOT ({whole})" if match == "f" else "false"
        same = " AND ".join(
            f"p.{identifier(k)} OPERATOR({operator}) c.{identifier(f)}"
            for f, k, operator in zip(child, key, ops, strict=True)
        )
        question = _LONELY.format(
            child=SQL(_from(schema, table, kind)),
            parent=SQL(_from(pschema, parent, pkind)),
            whole=SQL(whole),
            some=SQL(some),
            same=SQL(same),
        )
        if read_in_transaction(session, partial(session.rows, question)):
            says = f"{words} has rows without a parent in {pschema}.{parent}"
            found.append(Orphaned(constraint, says, definition, kind == "p"))
    return tuple(found)


def make_not_valid(session: Session, key: Orphaned) -> None:
    """Make the foreign key NOT VALID: new rows are checked, existing ones are not."""
    schema, table, name = key.constraint
    on = f"ALTER TABLE {identifier(schema)}.{identifier(table)}"
    session.run(f"{on} DROP CONSTRAINT {identifier(name)}")
    session.run(f"{on} ADD CONSTRAINT {identifier(name)} {key.definition} NOT VALID")


def refresh_views(
    session: Session, populated: Sequence[str], failed: Callable[[str, SessionError], object]
) -> None:
    """Refresh, in order of dependency, the materialized views that are populated here or were in
    the source. Others stay empty. One that fails stays as it is, and is passed to `failed`."""
    views = {
        oid: f"{identifier(schema)}.{identifier(name)}"
        for oid, schema, name, there in session.rows(_VIEWS)
        if there or f"{identifier(schema)}.{identifier(name)}" in populated
    }
    if not views:
        return
    reads: dict[int, set[int]] = {}
    for view, relation in session.rows(_READS):
        reads.setdefault(view, set()).add(relation)
    # Sorted, so that independent views always have the same order.
    graph = {oid: sorted(reads.get(oid, ())) for oid in sorted({*views, *reads})}
    for oid in TopologicalSorter(graph).static_order():
        if oid in views:
            _refresh(session, views[oid], failed)


def _refresh(session: Session, view: str, failed: Callable[[str, SessionError], object]) -> None:
    session.run("SAVEPOINT quiesce_view")
    try:
        session.run(f"REFRESH MATERIALIZED VIEW {view}")
    except Unreachable:
        raise
    except SessionError as problem:
        session.run("ROLLBACK TO SAVEPOINT quiesce_view")
        failed(f"REFRESH MATERIALIZED VIEW {view}", problem)
    session.run("RELEASE SAVEPOINT quiesce_view")


def _from(schema: str, table: str, kind: str) -> str:
    # A partitioned table includes its partitions; an inheritance parent only itself.
    only = "" if kind == "p" else "ONLY "
    return f"{only}{identifier(schema)}.{identifier(table)}"
