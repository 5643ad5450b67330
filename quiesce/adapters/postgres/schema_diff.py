"""Compares the schema of rows with a target schema, and reports all differences before a load.

PostgreSQL itself would report one difference at a time, halfway through, and some not at all:
`numeric(12,4)` into `numeric(6,2)` silently loses digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quiesce.adapters.postgres.copy_stream import Rows
from quiesce.adapters.postgres.session import SQL, Session
from quiesce.model import TableRecord
from quiesce.ports import Drift

_COLUMNS = SQL("""
SELECT n.nspname, c.relname, c.relkind,
       a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '',
       a.attnotnull AND a.attidentity = '' AND NOT a.atthasdef
         AND NOT EXISTS (SELECT 1 FROM pg_type t WHERE t.oid = a.atttypid
                          AND t.typdefault IS NOT NULL)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
 ORDER BY 1, 2, a.attnum
""")

_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
_WORDS = re.compile(r"(?:[^\s.\"]+|\"(?:[^\"]|\"\")+\")\.")
_LENGTH = re.compile(r"(character varying|character|bit varying)\((\d+)\)")
#: Changes of types that keep the text form of values, so that digests still match.
_WIDER = {
    "smallint": ("integer", "bigint", "numeric"),
    "integer": ("bigint", "numeric"),
    "bigint": ("numeric",),
    "character varying": ("text",),
    "text": ("character varying",),
    "bit varying": (),
}

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a target: its type, whether rows may set it, whether they must."""

    type: str
    generated: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Target:
    """A relation that rows can be loaded into."""

    kind: str
    columns: Mapping[str, Column]


def read_targets(session: Session) -> dict[Name, Target]:
    """Return every relation of the database with its columns."""
    kinds: dict[Name, str] = {}
    columns: dict[Name, dict[str, Column]] = {}
    for schema, table, kind, column, type_, generated, required in session.rows(_COLUMNS):
        kinds[schema, table] = kind
        there = columns.setdefault((schema, table), {})
        if column is not None:
            there[column] = Column(type_, generated, required)
    return {name: Target(kind, columns[name]) for name, kind in kinds.items()}


def compare(
    rows: Sequence[Rows], records: Sequence[TableRecord], targets: Mapping[Name, Target]
) -> Drift:
    """Return everything that prevents loading these rows into these targets.

    The types are those recorded with the rows; older records have none, and types are not compared.
    """
    types = {(record.schema, record.name): record.columns for record in records}
    problems: list[str] = []
    lossy: list[str] = []
    changed: list[Name] = []
    for block in rows:
        name = (block.schema, block.table)
        words = ".".join(name)
        target = targets.get(name)
        if target is None:
            alike = _alike(block, targets, {(r.schema, r.table) for r in rows})
            problems.append(
                f"table {words} does not exist{f'; was it renamed to {alike}?' if alike else ''}"
            )
            continue
        if target.kind not in "rp":
            problems.append(f"{words} is {_KINDS[target.kind]} now, not a table")
            continue
        problems += _missing(words, block, target)
        differing = _types(words, block, types.get(name, {}), target)
        if differing:
            lossy += differing
            changed.append(name)
    return Drift(tuple(problems), tuple(lossy), tuple(changed))


def _missing(words: str, block: Rows, target: Target) -> list[str]:
    found = []
    for column in block.columns:
        there = target.columns.get(column)
        if there is None:
            found.append(f"column {words}.{column} does not exist")
        elif there.generated:
            found.append(f"column {words}.{column} is generated now and accepts no values")
    found += [
        f"column {words}.{column} requires a value, and the rows have none"
        for column, there in target.columns.items()
        if there.required and column not in block.columns
    ]
    return found


def _types(words: str, block: Rows, recorded: Mapping[str, str], target: Target) -> list[str]:
    found = []
    for column in block.columns:
        there = target.columns.get(column)
        before = recorded.get(column, "")
        if there is None or there.generated or not before:
            continue
        if not keeps_text(before, there.type):
            found.append(f"column {words}.{column} was {before} and is {there.type}")
    return found


def keeps_text(before: str, after: str) -> bool:
    """Whether every value of type `before` has the same text as type `after`."""
    # An extension's type may be in another schema.
    before, after = _WORDS.sub("", before), _WORDS.sub("", after)
    if before == after:
        return True
    old, new = _LENGTH.fullmatch(before), _LENGTH.fullmatch(after)
    if old and new and old[1] == new[1] != "character":
        return int(new[2]) >= int(old[2])
    plain = old[1] if old and old[1] != "character" else before
    return after == plain or after in _WIDER.get(plain, ())


def _alike(block: Rows, targets: Mapping[Name, Target], dumped: set[Name]) -> str:
    """Return a table with the same columns that no other rows go into."""
    for name, target in targets.items():
        free = name not in dumped and target.kind in "rp"
        if free and block.columns and set(target.columns) >= set(block.columns):
            return ".".join(name)
    return ""
