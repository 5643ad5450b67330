"""Reads tables on which a query would run other users' code while it is planned.

PostgreSQL's planner evaluates the constant parts of a table's index expressions, index predicates
and extended statistics with the rights of the session's user: `SELECT count(*)` by a superuser on a
table with the index `(n) WHERE f('x') IS NOT NULL` calls `f` as the superuser. If such an
expression uses a function of another role that is not a superuser, no query names the table. `COPY
table TO` reads it without planning, and calls only the output functions of its types, which only
superusers can create.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from quiesce.adapters.postgres.session import SQL, Composable, Identifier, Session
from quiesce.model import UNREAD

_THEIRS = """
WITH theirs AS (
    SELECT p.oid FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
     WHERE p.oid >= 16384 AND NOT r.rolsuper AND r.rolname <> current_user),
code AS (
    SELECT 'pg_proc'::regclass AS classid, oid FROM theirs
     UNION ALL
    SELECT 'pg_operator'::regclass, o.oid FROM pg_operator o
     WHERE o.oprcode IN (SELECT oid FROM theirs)),
users AS (
    SELECT d.classid, d.objid FROM pg_depend d
      JOIN code ON code.classid = d.refclassid AND code.oid = d.refobjid)
"""
_GUARDED = f"""{_THEIRS}
SELECT x.indrelid FROM users u JOIN pg_index x ON x.indexrelid = u.objid
 WHERE u.classid = 'pg_class'::regclass
 UNION
SELECT s.stxrelid FROM users u JOIN pg_statistic_ext s ON s.oid = u.objid
 WHERE u.classid = 'pg_statistic_ext'::regclass
"""  # noqa: S608  nothing but constants
_GUARDED_NAMES = """
WITH RECURSIVE tree AS (
    SELECT unnest(%s::oid[]) AS oid
     UNION SELECT i.inhparent FROM pg_inherits i JOIN tree ON tree.oid = i.inhrelid)
SELECT n.nspname, c.relname FROM tree JOIN pg_class c ON c.oid = tree.oid
  JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_ANY = f"{_THEIRS} SELECT EXISTS (SELECT 1 FROM theirs)"  # noqa: S608

_GENERATED = """
SELECT EXISTS (SELECT 1 FROM pg_attribute
                WHERE attrelid = %s::regclass AND attgenerated <> '' AND NOT attisdropped)
"""
# What is evaluated while rows are loaded, by table: defaults, generated columns, checks (including
# those of domains), indexes, partition keys, triggers that fire in the replica role.
_FROM_FILES = """
WITH RECURSIVE theirs AS (
    SELECT p.oid FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
     WHERE left(r.rolname, %s) = %s),
code AS (
    SELECT 'pg_proc'::regclass AS classid, oid FROM theirs
     UNION ALL
    SELECT 'pg_operator'::regclass, o.oid FROM pg_operator o
     WHERE o.oprcode IN (SELECT oid FROM theirs)
     UNION ALL
    SELECT 'pg_cast'::regclass, c.oid FROM pg_cast c WHERE c.castfunc IN (SELECT oid FROM theirs)),
users AS (
    SELECT d.classid, d.objid FROM pg_depend d
      JOIN code ON code.classid = d.refclassid AND code.oid = d.refobjid),
types AS (
    SELECT k.contypid AS oid FROM users u JOIN pg_constraint k ON k.oid = u.objid
     WHERE u.classid = 'pg_constraint'::regclass AND k.contypid <> 0
     UNION
    SELECT t.oid FROM types JOIN pg_type t ON t.typbasetype = types.oid OR t.typelem = types.oid
        OR EXISTS (SELECT 1 FROM pg_attribute a
                    WHERE a.attrelid = t.typrelid AND a.atttypid = types.oid)
        OR EXISTS (SELECT 1 FROM pg_range g WHERE g.rngtypid = t.oid AND g.rngsubtype = types.oid)),
tables AS (
    SELECT a.adrelid AS oid FROM users u JOIN pg_attrdef a ON a.oid = u.objid
     WHERE u.classid = 'pg_attrdef'::regclass
     UNION
    SELECT k.conrelid FROM users u JOIN pg_constraint k ON k.oid = u.objid
     WHERE u.classid = 'pg_constraint'::regclass
     UNION
    SELECT coalesce(x.indrelid, u.objid) FROM users u
      LEFT JOIN pg_index x ON x.indexrelid = u.objid WHERE u.classid = 'pg_class'::regclass
     UNION
    SELECT t.tgrelid FROM users u JOIN pg_trigger t ON t.oid = u.objid
     WHERE u.classid = 'pg_trigger'::regclass AND t.tgenabled IN ('A', 'R')
     UNION
    SELECT a.attrelid FROM types JOIN pg_attribute a ON a.atttypid = types.oid),
family AS (
    SELECT oid FROM tables
     UNION
    SELECT i.inhrelid FROM family JOIN pg_inherits i ON i.inhparent = family.oid)
SELECT n.nspname, c.relname FROM family JOIN pg_class c ON c.oid = family.oid
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') ORDER BY 1, 2
"""
# Casts to text that call a function of another role, by source type.
_CASTS = f"""{_THEIRS}, cast_types AS (
    SELECT c.castsource AS oid FROM pg_cast c JOIN theirs ON theirs.oid = c.castfunc
     WHERE c.casttarget = 'text'::regtype)
SELECT a.attname FROM pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0
   AND EXISTS (WITH RECURSIVE base AS (
        SELECT t.oid, t.typbasetype FROM pg_type t WHERE t.oid = a.atttypid
         UNION ALL SELECT t.oid, t.typbasetype FROM pg_type t JOIN base b ON b.typbasetype = t.oid)
        SELECT 1 FROM base JOIN cast_types ON cast_types.oid = base.oid)
"""  # noqa: S608

_SUM = (
    'SELECT count(*), coalesce(sum(hashtextextended(x COLLATE "C", 0)), 0)::numeric'
    " FROM unnest(%s::text[]) AS u(x)"
)
_ROWS_AT_ONCE = 5_000
_BYTES_AT_ONCE = 4 * 1024**2

_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_QUOTED = re.compile(rb'["\\(), \t\n\v\f\r]')


def guarded_names(session: Session) -> frozenset[tuple[str, str]]:
    """Return schema and name of these tables and of their partition and inheritance parents."""
    oids = sorted(guarded_tables(session))
    if not oids:
        return frozenset()
    return frozenset((str(s), str(t)) for s, t in session.rows(_GUARDED_NAMES, [oids]))


def guarded_tables(session: Session) -> frozenset[int]:
    """Return the OIDs of the tables on which no query may be planned."""
    return frozenset(oid for (oid,) in session.rows(_GUARDED))


def columns_cast_by_others(session: Session, table: int) -> frozenset[str]:
    """Return the columns of a table for which `::text` would call a function of another role."""
    return frozenset(name for (name,) in session.rows(_CASTS, [table]))


def has_code_of_others(session: Session) -> bool:
    """Whether the database has functions of another role that is not a superuser."""
    return bool(session.value(_ANY))


def tables_with_code_from_files(session: Session, prefix: str) -> tuple[tuple[str, str], ...]:
    """Return schema and name of every table that, when rows are loaded, calls a function whose
    owner's name begins with `prefix`."""
    return tuple((s, n) for s, n in session.rows(_FROM_FILES, [len(prefix), prefix]))


def read_column(session: Session, table: Composable, column: str) -> tuple[str, ...]:
    """Return the non-NULL values of a text column, without planning a query."""
    values: list[bytes] = []
    named = SQL("COPY {} ({}) TO STDOUT").format(table, Identifier(column))
    session.copy_out(named, _Lines(values.append))
    return tuple(_unescaped(value).decode() for value in values if value != rb"\N")


def digest_by_copy(session: Session, table: Composable, columns: Sequence[str]) -> tuple[int, str]:
    """Return the number of rows and the digest that a query would return (see `catalog`).

    COPY omits generated columns, and only for UTF-8 is it known which characters PostgreSQL treats
    as blanks: in the other cases the rows are only counted, and the digest is `UNREAD`.
    """
    encoding = session.value("SHOW server_encoding")
    generated = session.value(_GENERATED, [table.as_string(session.connection)])
    if generated or encoding != "UTF8":
        lines = _Lines(lambda _: None)
        session.copy_out(SQL("COPY {} TO STDOUT").format(table), lines)
        return lines.count, UNREAD
    with session.another() as calculator:
        hashes = _Hashes(calculator)
        named = SQL("({})").format(SQL(", ").join(map(Identifier, columns)))
        session.copy_out(
            SQL("COPY {} {} TO STDOUT").format(table, named if columns else SQL("")),
            _Lines(hashes.add if columns else lambda _: hashes.take(b"()")),
        )
        hashes.flush()
    return hashes.rows, str(hashes.sum)


class _Hashes:
    """Sums `hashtextextended` of rows, computed in a session beside the one that copies."""

    def __init__(self, session: Session) -> None:
        self.rows, self.sum = 0, 0
        self._session = session
        self._texts: list[str] = []
        self._bytes = 0

    def add(self, line: bytes) -> None:
        """Add a line of COPY."""
        self.take(b"(" + b",".join(map(_field, line.split(b"\t"))) + b")")

    def take(self, text: bytes) -> None:
        """Add the text of a row, as PostgreSQL writes it."""
        self._texts.append(text.decode())
        self._bytes += len(text)
        if len(self._texts) >= _ROWS_AT_ONCE or self._bytes >= _BYTES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Hash the pending rows."""
        if self._texts:
            rows, total = self._session.row(_SUM, [self._texts])
            self.rows, self.sum = self.rows + rows, self.sum + int(total)
            self._texts, self._bytes = [], 0


class _Lines:
    """The target of COPY, split into lines. `count` is their number."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self.count = 0
        self._take = take
        self._begun = b""

    def write(self, chunk: bytes, /) -> int:
        """Write the next bytes."""
        *lines, self._begun = (self._begun + chunk).split(b"\n")
        self.count += len(lines)
        for line in lines:
            self._take(line)
        return len(chunk)


def _unescaped(value: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: _LETTERS.get(match[1], match[1]), value)


def _field(value: bytes) -> bytes:
    """Return a field of COPY as it appears in the text of a row."""
    if value == rb"\N":
        return b""
    text = _unescaped(value) if b"\\" in value else value
    if text and not _QUOTED.search(text):
        return text
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'""') + b'"'
