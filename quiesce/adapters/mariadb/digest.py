"""Content digests of tables: equal for equal rows, whatever their order.

The server computes them in one pass; the history of versioned tables is part of them. A row's text
has one item per column that is not generated: the value, or its MD5 if it can be long or contain
any byte, or `-` for NULL. A digest is the sum over all rows of the two halves of the MD5 of that
text. Values of FLOAT are taken as the dump writes them, with six digits.
"""

from __future__ import annotations

from quiesce.adapters.mariadb.catalog import Column, Shape, Table
from quiesce.adapters.mariadb.errors import SessionError
from quiesce.adapters.mariadb.session import Session, identifier
from quiesce.errors import QuiesceError
from quiesce.model import TableRecord

ALGORITHM = "mariadb-md5-sum-1"
#: The digest of a table without rows.
NO_ROWS = "0:0"

#: Types whose values, as text, are short and contain no comma.
_SHORT = frozenset(
    "tinyint smallint mediumint int bigint decimal float double date time datetime timestamp year "
    "uuid inet4 inet6".split()
)


def digest_tables(session: Session, name: str, shape: Shape) -> tuple[TableRecord, ...]:
    """Return rows and digest of each table of database `name`, in the session's snapshot."""
    return tuple(digest_table(session, name, table) for table in shape.measured)


def digest_table(session: Session, name: str, table: Table) -> TableRecord:
    """Return rows and digest of one table."""
    columns = [column for column in table.columns if not column.generated or column.period]
    # Bytes only: text would have the character set of a column or of the server's defaults, and
    # not all of these can be concatenated.
    items = ", _binary',', ".join([*map(_item, columns), *_period(table)]) or "_binary''"
    where = f"{identifier(name)}.{identifier(table.name)}{_history(table)}"
    half = "coalesce(sum(cast(conv(substr(h, %d, 16), 16, 10) as unsigned)), 0)"
    query = (
        f"SELECT count(*), count(h), {half % 1}, {half % 17} "  # noqa: S608 - quoted names
        f"FROM (SELECT md5(concat({items})) AS h FROM {where}) AS rows_of_it"
    )
    try:
        rows, hashed, first, second = session.row(query)
    except SessionError as problem:
        raise QuiesceError(
            f"table {table.name} cannot be read: {problem.fact}", problem.hint
        ) from problem
    if rows != hashed:
        raise QuiesceError(
            f"table {table.name} has {rows - hashed} rows that cannot be compared",
            "raise max_allowed_packet of the server above the size of its largest value",
        )
    return TableRecord("", table.name, int(rows), f"{int(first):x}:{int(second):x}", table.types)


def rounded(session: Session, name: str, table: Table) -> tuple[str, ...]:
    """Return the columns of type FLOAT with values that have more digits than a dump contains, and
    the number of these values, in words."""
    where = f"{identifier(name)}.{identifier(table.name)}{_history(table)}"
    found = []
    for column in table.columns:
        if column.data_type == "float" and not column.generated:
            one = identifier(column.name)
            query = (
                f"SELECT count(*) FROM {where} WHERE {one} <> cast(cast({one} as char) as float)"  # noqa: S608
            )
            if number := session.value(query):
                found.append(f"{number} values of {table.name}.{column.name}")
    return tuple(found)


def _history(table: Table) -> str:
    return " FOR SYSTEM_TIME ALL" if table.versioned else ""


def _period(table: Table) -> tuple[str, ...]:
    """Return what identifies the versions of a row, if the table's columns do not."""
    if not table.versioned or any(column.period for column in table.columns):
        return ()
    return ("cast(cast(row_start as char) as binary)", "cast(cast(row_end as char) as binary)")


def _item(column: Column) -> str:
    name = identifier(column.name)
    if column.data_type == "bit":
        text = f"cast({name} + 0 as char)"
    elif column.data_type in _SHORT:
        text = f"cast({name} as char character set ascii)"
    else:
        text = f"md5({name})"
    return f"ifnull(cast({text} as binary), _binary'-')"
