"""Finds what would prevent the restore of a database, while it is backed up.

User-defined functions are never called here: their authors could do anything with the rights of the
backup user. So rows are checked against foreign keys and against checks that use only built-in
functions; functions are only parsed. The rest is found by a restore: `inv verify --restore`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import partial

from quiesce.adapters.postgres import constraints
from quiesce.adapters.postgres.check_constraints import called_in, may_change
from quiesce.adapters.postgres.errors import Unreachable
from quiesce.adapters.postgres.safe_reads import guarded_names
from quiesce.adapters.postgres.search_path import read_in_transaction
from quiesce.adapters.postgres.session import SQL, Identifier, Session, SessionError
from quiesce.obstacles import Obstacle

# Checks without user-defined functions, operators or types. `conislocal` omits those that a parent
# has too: the parent's query covers the rows.
_CHECKS = """
SELECT n.nspname, c.relname, k.conname, pg_get_expr(k.conbin, k.conrelid), k.conbin::text,
       k.connoinherit, c.relkind
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'c' AND k.convalidated AND k.conislocal AND c.relkind IN ('r', 'p')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass
                    AND d.objid = k.oid AND d.refobjid >= 16384
                    AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass,
                                         'pg_type'::regclass))
 ORDER BY 1, 2, 3
"""
# Expressions that a restore evaluates again, and the functions that they call.
_CALLED = """
SELECT CASE WHEN k.oid IS NOT NULL THEN 'check ' || k.conname
            WHEN a.attname IS NOT NULL THEN 'column ' || a.attname
            WHEN r.oid IS NOT NULL THEN 'view'
            ELSE 'index' END,
       coalesce(cn.nspname || '.' || c.relname, tn.nspname || '.' || t.typname),
       p.oid::regprocedure::text, p.prosrc
  FROM pg_depend d
  JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
  JOIN pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('c', 'internal')
  LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
  LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
  LEFT JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
        AND a.attgenerated <> ''
  LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
  LEFT JOIN pg_class c ON c.oid = CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid
       ELSE coalesce(nullif(k.conrelid, 0), a.attrelid, r.ev_class) END
  LEFT JOIN pg_namespace cn ON cn.oid = c.relnamespace
  LEFT JOIN pg_type t ON t.oid = k.contypid AND k.contypid <> 0
  LEFT JOIN pg_namespace tn ON tn.oid = t.typnamespace
 WHERE p.oid >= 16384 {parsed}
   AND NOT EXISTS (SELECT 1 FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%')
   AND (k.contype IN ('c', 'x') AND k.conislocal OR a.attname IS NOT NULL
        OR (r.oid IS NOT NULL AND EXISTS (SELECT 1 FROM pg_class WHERE relkind = 'm'))
        OR (d.classid = 'pg_class'::regclass AND c.relkind IN ('i', 'I', 'p')))
 ORDER BY 2, 1, 3
"""
_PARSED_SINCE = 140000
_NAMES = """
SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema'
UNION SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid >= 16384 AND n.nspname !~ '^pg_'
UNION SELECT typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE t.oid >= 16384 AND t.typtype IN ('d', 'e', 'b', 'r') AND t.typname !~ '^_'
   AND n.nspname !~ '^pg_'
"""
#: A name, whether a dot precedes it, and whether it is quoted; strings and comments are skipped.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|(?P<before>\.\s*)?(?:"(?P<quoted>(?:[^"]|"")+)"|"""
    r"""(?P<plain>[^\W\d]\w*))(?P<after>(?=\s*\.))?""",
    re.DOTALL,
)


#: Built-in functions of time and settings. Others that are not immutable may run code of a table's
#: owner: query_to_xml executes a text.
_HARMLESS = (
    "^(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|age|timezone|extract"
    "|date_trunc|date_part|to_char|to_date|to_timestamp|timestamp|timestamptz|date|time|timetz|text"
    "|current_setting|.*timestamptz.*|(interval|date|timestamp|timetz)_.*)$"
)


def find_obstacles(session: Session) -> tuple[Obstacle, ...]:
    """Return the obstacles, within a transaction of the session."""
    # A query on these would call a function of their index with the backup user's rights.
    unasked = guarded_names(session)
    broken = (*_orphans(session, unasked), *_broken_checks(session, unasked))
    return (*short_names(session), *broken)


def short_names(session: Session) -> tuple[Obstacle, ...]:
    """Return the checks, indexes, columns and views whose functions name an object without its
    schema. Only the catalogs are read; statements that a function builds from strings are not
    found."""
    parsed = "AND p.prosqlbody IS NULL" if session.version >= _PARSED_SINCE else ""
    called = session.rows(_CALLED.replace("{parsed}", parsed))
    if not called:
        return ()
    names = {name for (name,) in session.rows(_NAMES)}
    found: list[Obstacle] = []
    for what, where, function, body in called:
        short = next((name for name in _short_names_in(body) if name in names), None)
        if short is not None:
            kind = f"{what} of {where}" if what not in ("index", "view") else f"{what} {where}"
            fact = f"{kind} calls {function}, which names {short} without its schema"
            found.append(Obstacle("names", fact))
    return tuple(dict.fromkeys(found))


def _short_names_in(body: str) -> Iterator[str]:
    for match in _TOKEN.finditer(body):
        if match["before"] or match["after"] is not None:
            continue
        if match["quoted"]:
            yield match["quoted"].replace('""', '"')
        elif match["plain"]:
            yield match["plain"].lower()


def _orphans(session: Session, unasked: Collection[tuple[str, str]]) -> Iterator[Obstacle]:
    for key in constraints.orphans(session, unasked):
        if key.definition:
            yield Obstacle("orphans", key.words, key.constraint, key.partitioned)


def _is_harmless(session: Session, tree: str) -> bool:
    return not session.rows(
        "SELECT 1 FROM pg_proc WHERE oid = ANY (%s::oid[])"
        " AND (pronamespace <> 'pg_catalog'::regnamespace"
        "      OR (provolatile <> 'i' AND proname !~ %s)) LIMIT 1",
        [called_in(tree), _HARMLESS],
    )


def _broken_checks(session: Session, unasked: Collection[tuple[str, str]]) -> Iterator[Obstacle]:
    for schema, table, name, expression, tree, alone, kind in session.rows(_CHECKS):
        if (
            (schema, table) in unasked
            or not may_change(session, tree)
            or not _is_harmless(session, tree)
        ):
            continue
        question = SQL("SELECT 1 FROM {only}{table} WHERE NOT ({expression}) LIMIT 1").format(
            only=SQL("ONLY " if alone and kind == "r" else ""),
            table=Identifier(schema, table),
            expression=SQL(expression),
        )
        words = f"check {name} of {schema}.{table}"
        try:
            broken = bool(read_in_transaction(session, partial(session.rows, question)))
            says = f"{words} is violated by existing rows"
        except Unreachable:
            raise
        except SessionError as problem:
            broken, says = True, f"{words} can no longer be evaluated: {problem.fact}"
        if broken:
            yield Obstacle("check", says, (schema, table, name))
