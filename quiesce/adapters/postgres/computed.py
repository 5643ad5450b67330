"""Finds columns, indexes, checks and views that a database computes from its rows by functions."""

from __future__ import annotations

from quiesce.adapters.postgres.session import Session

_CALLS = """
SELECT EXISTS (SELECT 1 FROM pg_depend d
  LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
 WHERE d.refobjid >= 16384
   AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass)
   AND (d.classid IN ('pg_constraint'::regclass, 'pg_attrdef'::regclass, 'pg_rewrite'::regclass)
        OR c.relkind IN ('i', 'I', 'p')))
"""
# Tables with columns or partitions that user-defined functions compute, and tables with values of a
# domain that such a function checks.
_LATE = """
SELECT DISTINCT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND (
   EXISTS (SELECT 1 FROM pg_attrdef f JOIN pg_attribute a ON a.attrelid = f.adrelid
              AND a.attnum = f.adnum AND a.attgenerated <> ''
             JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
              AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
            WHERE f.adrelid = c.oid)
   OR EXISTS (SELECT 1 FROM pg_partition_ancestors(c.oid) p
                JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = p.relid
                 AND d.refclassid = 'pg_proc'::regclass
               WHERE c.relispartition)
   OR EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                JOIN pg_constraint k ON k.contypid IN (t.oid, t.typbasetype, t.typelem)
                 AND k.contypid <> 0
                JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
                 AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
 ORDER BY 1, 2
"""

Name = tuple[str, str]


def calls_functions(session: Session) -> bool:
    """Whether loading rows calls user-defined functions, operators or operator classes."""
    return bool(session.value(_CALLS))


def late_tables(session: Session) -> frozenset[Name]:
    """Return the tables whose rows must be loaded after all others, because a function reads
    another table when a row is inserted."""
    return frozenset((schema, name) for schema, name in session.rows(_LATE))
