"""Reads the content of a database from its catalogs and rows in one snapshot.

The digest of a table is the sum over its rows of `hashtextextended` of the row's text: the order of
rows does not matter, and equal rows do not cancel each other out (as with xor). Columns are named
one by one, under an alias that no column can have; the text form of a value is fixed by the
session's settings. Rows of a partition or child are counted where they are stored (`FROM ONLY`).

A row whose text is longer than PostgreSQL's limit of 1 GB is digested column by column through md5;
the digest then begins with `wide:`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quiesce.adapters.postgres import safe_reads
from quiesce.adapters.postgres.search_path import read_in_transaction, read_path
from quiesce.adapters.postgres.session import (
    SQL,
    Composable,
    Identifier,
    Session,
    SessionError,
    identifier,
)
from quiesce.adapters.postgres.settings import read_settings
from quiesce.errors import QuiesceError
from quiesce.model import UNREAD, ExtensionRecord, SequenceRecord, TableRecord

DIGEST_ALGORITHM = "hashtextextended-sum/1"

#: How large objects appear among the tables of a record, one "row" each.
LARGE_OBJECTS = ("pg_catalog", "pg_largeobject")

_TOO_LONG = frozenset({"54000", "XX000", "53200", "22001"})

_OURS = SQL(
    "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    " AND n.nspname !~ '^pg_(toast_)?temp_' AND c.relpersistence <> 't'"
)

_TABLES = SQL("""
SELECT c.oid, n.nspname, c.relname, c.relkind, e.oid IS NOT NULL, c.oid = ANY (e.extconfig),
       e.extcondition[array_position(e.extconfig, c.oid)],
       coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{{}}'),
       coalesce((SELECT array_agg(a.attname::text) FROM pg_attribute a
                   JOIN pg_type t ON t.oid = a.atttypid
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    AND 'bytea'::regtype IN (t.oid, t.typbasetype)), '{{}}'),
       coalesce((SELECT array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
                   FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{{}}')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.objsubid = 0 AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  LEFT JOIN pg_extension e ON e.oid = d.refobjid
 WHERE c.relkind IN ('r', 'p') AND {ours}
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
""").format(ours=_OURS)

_SEQUENCES = SQL("""
SELECT n.nspname, c.relname, s.seqstart,
       coalesce((SELECT ARRAY[tn.nspname, t.relname, a.attname]::text[]
          FROM pg_depend o JOIN pg_class t ON t.oid = o.refobjid
          JOIN pg_namespace tn ON tn.oid = t.relnamespace
          JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = o.refobjsubid
         WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid AND o.objsubid = 0
           AND o.refclassid = 'pg_class'::regclass AND o.refobjsubid > 0
           AND o.deptype IN ('a', 'i') LIMIT 1), '{{}}')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_sequence s ON s.seqrelid = c.oid
  LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.objsubid = 0 AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  LEFT JOIN pg_extension e ON e.oid = d.refobjid
 WHERE c.relkind = 'S' AND {ours} AND (e.oid IS NULL OR c.oid = ANY (e.extconfig))
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
""").format(ours=_OURS)

_VERSION_TABLES = SQL("""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind = 'r' AND {ours}
 GROUP BY c.oid, n.nspname, c.relname
HAVING count(*) = 1 AND bool_and(a.attname = 'version_num'
       AND a.atttypid IN ('varchar'::regtype, 'text'::regtype))
 ORDER BY c.relname <> 'alembic_version', n.nspname <> 'public', n.nspname, c.relname
""").format(ours=_OURS)

_POPULATED = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'm' AND c.relispopulated ORDER BY 1, 2
"""

# The dependency catalogs omit objects of the server's first role, which cannot be dropped anyway.
_ROLES = """
WITH here AS (SELECT oid, datdba FROM pg_database WHERE datname = current_database())
SELECT r.rolname FROM pg_roles r, here WHERE r.oid = here.datdba
    OR r.oid IN (SELECT refobjid FROM pg_shdepend d WHERE refclassid = 'pg_authid'::regclass
                  AND (d.dbid = here.oid
                       OR (d.classid = 'pg_database'::regclass AND d.objid = here.oid)))
    OR r.oid IN (SELECT setrole FROM pg_db_role_setting WHERE setdatabase = here.oid)
    OR r.oid IN (SELECT relowner FROM pg_class WHERE oid >= 16384
                 UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384
                 UNION SELECT proowner FROM pg_proc WHERE oid >= 16384
                 UNION SELECT typowner FROM pg_type WHERE oid >= 16384)
 ORDER BY 1
"""

_DIGEST = SQL(
    'SELECT count(*), coalesce(sum(hashtextextended(({content}) COLLATE "C", 0)), 0)::text'
    " FROM ONLY {table} AS {alias} {condition}"
)

# Trailing zeroes of a page are not hashed, because a hole in a large object is restored as zeroes.
_LARGE_OBJECTS = """
SELECT coalesce(sum(hashtextextended(loid::text || ':' || pageno::text || ':' || md5(page), 0)), 0)
  FROM (SELECT loid, pageno, rtrim(data, '\\x00'::bytea) AS page FROM pg_largeobject) AS pages
 WHERE length(page) > 0
"""


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table to read. `condition` limits it to the rows that a dump contains (extensions)."""

    oid: int
    schema: str
    name: str
    condition: str
    columns: tuple[str, ...]
    binary: frozenset[str]
    types: tuple[str, ...]
    partitioned: bool = False

    @property
    def quoted(self) -> Identifier:
        return Identifier(self.schema, self.name)

    @property
    def column_types(self) -> dict[str, str]:
        """The type of each column, as PostgreSQL writes it."""
        return dict(zip(self.columns, self.types, strict=True))


def read_tables(session: Session) -> tuple[TableShape, ...]:
    """Return every table whose rows a dump contains, ordered by the bytes of its name.

    Without temporary and foreign tables, materialized views (they are refreshed), and extension
    tables that are not marked as configuration.
    """
    return tuple(
        TableShape(
            oid,
            schema,
            name,
            condition or "",
            tuple(columns),
            frozenset(binary),
            tuple(types),
            kind == "p",
        )
        for (
            oid,
            schema,
            name,
            kind,
            of_extension,
            marked,
            condition,
            columns,
            binary,
            types,
        ) in session.rows(_TABLES)
        if marked or not of_extension
    )


def digest_tables(session: Session, algorithm: str) -> tuple[TableRecord, ...]:
    """Return row count and digest of every table, and of the large objects if there are any.

    The session is in a transaction, which stays usable. Raise QuiesceError for an algorithm that
    this version does not know.
    """
    if algorithm != DIGEST_ALGORITHM:
        raise QuiesceError(
            f"digests of kind {algorithm} are not known", "use a newer version of Quiesce"
        )
    guarded = safe_reads.guarded_tables(session)
    records = [_digest(session, table, guarded) for table in read_tables(session)]
    if count := count_large_objects(session):
        # only a superuser may read them all at once
        readable = session.value("SELECT has_table_privilege('pg_largeobject', 'SELECT')")
        digest = str(session.value(_LARGE_OBJECTS)) if readable else UNREAD
        records.append(TableRecord(*LARGE_OBJECTS, count, digest))
    return tuple(records)


def empty_tables(session: Session) -> tuple[TableRecord, ...]:
    """Return the same records for a load without rows (`schema`)."""
    return tuple(
        TableRecord(table.schema, table.name, 0, "0", table.column_types)
        for table in read_tables(session)
    )


def read_sequences(session: Session) -> tuple[SequenceRecord, ...]:
    """Return the current state of every sequence."""
    found: list[SequenceRecord] = []
    for schema, name, _, owner in session.rows(_SEQUENCES):
        last, called = session.row(
            SQL("SELECT last_value::text, is_called FROM {sequence}").format(
                sequence=Identifier(schema, name)
            )
        )
        found.append(SequenceRecord(schema, name, last, called, tuple(owner)))
    return tuple(found)


def fresh_sequences(session: Session) -> tuple[SequenceRecord, ...]:
    """Return the initial state of every sequence."""
    return tuple(
        SequenceRecord(schema, name, str(start), False, tuple(owner))
        for schema, name, start, owner in session.rows(_SEQUENCES)
    )


def with_owners(
    sequences: Sequence[SequenceRecord], there: Sequence[SequenceRecord]
) -> tuple[SequenceRecord, ...]:
    """Return the sequences with the owners of those with the same names in `there`."""
    owners = {(s.schema, s.name): s.owner for s in there}
    return tuple(replace(s, owner=owners.get((s.schema, s.name), ())) for s in sequences)


def count_large_objects(session: Session) -> int:
    """Return the number of large objects in the database."""
    return int(session.value("SELECT count(*) FROM pg_largeobject_metadata"))


def find_version_table(session: Session) -> Identifier | None:
    """Return Alembic's version table, or None: `alembic_version` in the first schema by name
    (public first), else the only table with its columns."""
    found = session.rows(_VERSION_TABLES)
    usual = [row for row in found if row[1] == "alembic_version"]
    if not usual and len(found) != 1:
        return None
    return Identifier(*(usual or found)[0])


def read_revision(session: Session) -> tuple[str, ...]:
    """Return the rows of Alembic's version table; none if there is no such table."""
    table = find_version_table(session)
    if table is None:
        return ()
    oid = session.value("SELECT %s::regclass::oid", [table.as_string(session.connection)])
    if oid in safe_reads.guarded_tables(session):
        return tuple(sorted(safe_reads.read_column(session, table, "version_num")))
    rows = session.rows(SQL("SELECT version_num FROM {table} ORDER BY 1").format(table=table))
    return tuple(str(revision) for (revision,) in rows)


def locale_of(session: Session, name: str) -> dict[str, Any]:
    """Return encoding and locale of database `name`, in the terms of CREATE DATABASE."""
    provider, locale = SQL("'c'"), SQL("NULL::text")
    if session.version >= 150000:
        provider = SQL("datlocprovider::text")
        locale = SQL("datlocale" if session.version >= 170000 else "daticulocale")
    encoding, collate, ctype, kind, value, owner = session.row(
        SQL(
            "SELECT pg_encoding_to_char(encoding), datcollate, datctype, {provider}, {locale},"
            " pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
        ).format(provider=provider, locale=locale),
        [name],
    )
    return {
        "encoding": encoding,
        "collate": collate,
        "ctype": ctype,
        "locale_provider": {"c": "libc", "i": "icu", "b": "builtin"}[kind],
        "locale": value,
        "owner": owner,
    }


def read_extensions(session: Session) -> tuple[ExtensionRecord, ...]:
    """Return the extensions by name, with version and schema."""
    return tuple(
        ExtensionRecord(*row)
        for row in session.rows(
            "SELECT e.extname, e.extversion, n.nspname FROM pg_extension e"
            " JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1"
        )
    )


def read_roles(session: Session) -> tuple[str, ...]:
    """Return the roles that a dump needs: they own or are granted something here."""
    return tuple(role for (role,) in session.rows(_ROLES))


def facts_of(session: Session, name: str) -> dict[str, Any]:
    """Return all fields of a `DatabaseRecord` except the rows and those of the dump itself."""
    table = find_version_table(session)
    return {
        **locale_of(session, name),
        "revision": read_revision(session),
        "version_table": ".".join(map(identifier, table.strings)) if table else None,
        "extensions": read_extensions(session),
        "roles": read_roles(session),
        "settings": read_settings(session, name),
        "large_objects": count_large_objects(session),
        "populated": tuple(
            f"{identifier(schema)}.{identifier(name)}" for schema, name in session.rows(_POPULATED)
        ),
        "search_path": read_path(session),
        "digest_algorithm": DIGEST_ALGORITHM,
    }


def _digest(session: Session, table: TableShape, guarded: Collection[int]) -> TableRecord:
    if table.partitioned:
        # It has no rows itself, and planning a query on it evaluates its partition key.
        return TableRecord(table.schema, table.name, 0, "0", table.column_types)
    if table.oid in guarded and not table.condition:
        found = safe_reads.digest_by_copy(session, table.quoted, table.columns)
        return TableRecord(table.schema, table.name, *found, table.column_types)
    alias = Identifier("quiesce row")
    cells = [SQL("{}.{}").format(alias, Identifier(column)) for column in table.columns]
    condition = SQL(table.condition.replace("{", "{{").replace("}", "}}")).format()
    at_once = _DIGEST.format(
        content=SQL("ROW({})::text").format(SQL(", ").join(cells)),
        table=table.quoted,
        alias=alias,
        condition=condition,
    )
    try:
        rows, digest = read_in_transaction(session, lambda: session.row(at_once))
    except SessionError as problem:
        if problem.sqlstate not in _TOO_LONG:
            raise
        cast = safe_reads.columns_cast_by_others(session, table.oid)
        sums = [
            SQL("coalesce(md5({}), '-')").format(
                cell if column in table.binary else _text_of(cell, by_output=column in cast)
            )
            for cell, column in zip(cells, table.columns, strict=True)
        ]
        in_parts = _DIGEST.format(
            content=SQL(" || ',' || ").join(sums),
            table=table.quoted,
            alias=alias,
            condition=condition,
        )
        rows, digest = read_in_transaction(session, lambda: session.row(in_parts))
        digest = f"wide:{digest}"
    return TableRecord(table.schema, table.name, rows, digest, table.column_types)


def _text_of(cell: Composable, *, by_output: bool) -> Composable:
    # A cast may be a user's function; output functions belong to superusers.
    if by_output:
        return SQL("CASE WHEN {} IS NOT NULL THEN format('%s', {}) END").format(cell, cell)
    return SQL("{}::text").format(cell)
