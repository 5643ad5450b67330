"""What a MariaDB database contains, read from the server's catalogs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from quiesce.adapters.mariadb.session import Session, identifier
from quiesce.model import SequenceRecord

SYSTEM = frozenset({"information_schema", "mysql", "performance_schema", "sys"})
#: Engines whose rows a consistent snapshot contains.
TRANSACTIONAL = frozenset({"InnoDB", "ROCKSDB", "TokuDB"})
#: Engines that keep no rows of their own: nothing is dumped, so nothing is compared.
ROWLESS = frozenset({"BLACKHOLE"})
#: The table of Quiesce in which a database beside the live one keeps code; see `code`.
KEPT = "quiesce_code"
#: Engines whose rows are in the database and are dumped while the lock is held.
LOCKED = frozenset({"MyISAM", "Aria", "MEMORY", "CSV", "ARCHIVE"})

_TABLES = """
SELECT table_name, table_type, engine, coalesce(data_length, 0) + coalesce(index_length, 0),
       table_collation, create_time, create_options, table_comment
  FROM information_schema.tables WHERE table_schema = %s
   AND table_name NOT IN ('quiesce_code', 'quiesce_exchange')
 ORDER BY table_name
"""
_COLUMNS = """
SELECT table_name, column_name, column_type, data_type, character_set_name,
       coalesce(is_generated, 'NEVER'), is_nullable, column_default, extra, collation_name,
       generation_expression
  FROM information_schema.columns WHERE table_schema = %s ORDER BY table_name, ordinal_position
"""
_CODE = (
    ("view", "SELECT table_name, view_definition, definer, security_type, check_option"
             "  FROM information_schema.views WHERE table_schema = %s"),
    ("trigger", "SELECT trigger_name, action_statement, definer, event_object_table, action_timing,"
                " event_manipulation, sql_mode, action_order"
                "  FROM information_schema.triggers WHERE trigger_schema = %s"),
    ("routine", "SELECT routine_name, routine_type, routine_definition, definer, sql_mode,"
                " last_altered FROM information_schema.routines WHERE routine_schema = %s"),
    ("event", "SELECT event_name, event_definition, definer, status, interval_value, execute_at,"
              " sql_mode FROM information_schema.events WHERE event_schema = %s"),
)  # fmt: skip

#: TRUNCATE changes nothing else: afterwards a snapshot shows an empty table, without an error.
#: Needs the right PROCESS. Names are encoded as file names, and a partition has its own.
_NUMBERS = """
SELECT convert(convert(cast(substring_index(substring_index(substring_index(name, '/', -1),
               '#P#', 1), '#p#', 1) as binary) using filename) using utf8mb4), name, table_id
  FROM information_schema.innodb_sys_tables
 WHERE cast(substring_index(name, '/', 1) as binary) = cast(convert(%s using filename) as binary)
 ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `type` is the server's text; `generated` columns are computed, never dumped."""

    name: str
    type: str
    data_type: str
    charset: str | None
    generated: bool
    #: `ROW START` or `ROW END` of a period of system versioning.
    period: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A base table, sequence or system-versioned table, with the engine that keeps its rows."""

    name: str
    kind: str
    engine: str
    bytes: int
    columns: tuple[Column, ...]

    @property
    def is_sequence(self) -> bool:
        """Whether it is a sequence, which is no table to anybody but the catalog."""
        return self.kind == "SEQUENCE"

    @property
    def versioned(self) -> bool:
        """Whether it keeps the rows that were changed or deleted, with their times."""
        return self.kind == "SYSTEM VERSIONED"

    @property
    def by_transaction(self) -> bool:
        """Whether its history goes by numbers of transactions, which no dump contains."""
        return self.versioned and any(c.period and c.data_type == "bigint" for c in self.columns)

    @property
    def transactional(self) -> bool:
        """Whether a consistent snapshot contains its rows."""
        return self.engine in TRANSACTIONAL

    @property
    def types(self) -> Mapping[str, str]:
        """The types of the columns that a dump has values for."""
        return {column.name: column.type for column in self.columns if not column.generated}

    @property
    def foreign(self) -> bool:
        """Whether its rows are, or may be, kept elsewhere: FEDERATED, CONNECT, MERGE and such."""
        return self.engine not in TRANSACTIONAL | ROWLESS | LOCKED


@dataclass(frozen=True, slots=True)
class Shape:
    """Tables of a database, and a signature of each object for comparing two moments."""

    tables: tuple[Table, ...]
    signatures: Mapping[str, str]

    @property
    def measured(self) -> tuple[Table, ...]:
        """The tables that have rows of their own, which are counted and compared."""
        return tuple(
            table for table in self.tables if not table.is_sequence and table.engine not in ROWLESS
        )

    @property
    def without_snapshot(self) -> tuple[Table, ...]:
        """The tables whose rows no snapshot contains."""
        return tuple(table for table in self.measured if not table.transactional)

    def changed_since(self, earlier: Shape) -> tuple[str, ...]:
        """Return the objects that were created, changed or dropped since `earlier`, in words."""
        names = {*self.signatures, *earlier.signatures}
        return tuple(
            sorted(n for n in names if self.signatures.get(n) != earlier.signatures.get(n))
        )


def read_shape(session: Session, name: str) -> Shape:
    """Read tables and signatures of database `name`. Needs no transaction."""
    columns: dict[str, list[Column]] = {}
    signed: dict[str, list[object]] = {}
    for table, column, kind, data, charset, generated, *rest in session.rows(_COLUMNS, [name]):
        period = rest[-1] if rest[-1] in ("ROW START", "ROW END") else ""
        columns.setdefault(table, []).append(
            Column(column, kind, data, charset, generated != "NEVER", period)
        )
        signed.setdefault(table, []).append((column, kind, charset, generated, *rest))
    tables, signatures = [], {}
    for table, kind, engine, size, *rest in session.rows(_TABLES, [name]):
        if kind in {"BASE TABLE", "SEQUENCE", "SYSTEM VERSIONED"}:
            own = tuple(columns.get(table, ()))
            tables.append(Table(table, kind, engine or "", int(size), own))
            signatures[f"table {table}"] = _signature(engine, *rest, *signed.get(table, ()))
    for table, file, number in session.rows(_NUMBERS, [name]):
        owner = f"table {table}"
        if owner in signatures:  # InnoDB also lists what it is about to drop
            signatures[owner] = _signature(signatures[owner], file, number)
    for word, query in _CODE:
        for one, *rest in session.rows(query, [name]):
            key = f"{word} {one}"  # a function and a procedure may share a name
            signatures[key] = _signature(signatures.get(key), *rest)
    return Shape(tuple(tables), signatures)


def read_sequences(session: Session, name: str, shape: Shape) -> tuple[SequenceRecord, ...]:
    """Return the next value of every sequence. Sequences are not part of a snapshot."""
    found = []
    for table in shape.tables:
        if table.is_sequence:
            where = f"{identifier(name)}.{identifier(table.name)}"
            following = session.value(f"SELECT next_not_cached_value FROM {where}")  # noqa: S608
            found.append(SequenceRecord("", table.name, str(following), is_called=False))
    return tuple(found)


def databases(session: Session) -> tuple[str, ...]:
    """Return the databases of the server that the user sees, without the server's own."""
    found = session.rows("SELECT schema_name FROM information_schema.schemata")
    return tuple(sorted(name for (name,) in found if name.lower() not in SYSTEM))


def is_new(session: Session) -> bool:
    """Whether nobody has put anything into the server yet: no database has a table."""
    own = ", ".join("%s" for _ in SYSTEM)
    return not session.rows(
        f"SELECT 1 FROM information_schema.tables WHERE table_schema NOT IN ({own}) LIMIT 1",  # noqa: S608
        sorted(SYSTEM),
    )


def definers(session: Session, name: str) -> tuple[str, ...]:
    """Return the accounts with whose rights code of a database runs."""
    parts = (
        "SELECT definer FROM information_schema.views WHERE table_schema = %s",
        "SELECT definer FROM information_schema.triggers WHERE trigger_schema = %s",
        "SELECT definer FROM information_schema.routines WHERE routine_schema = %s",
        "SELECT definer FROM information_schema.events WHERE event_schema = %s",
    )
    found = {str(one) for part in parts for (one,) in session.rows(part, [name]) if one}
    return tuple(sorted(one.removesuffix("@") for one in found))


def movable(session: Session, name: str) -> tuple[str, ...]:
    """Return all that RENAME TABLE moves to another database: tables and sequences."""
    found = session.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
        " AND table_type IN ('BASE TABLE', 'SEQUENCE', 'SYSTEM VERSIONED') AND table_name <> %s"
        " ORDER BY table_name",
        [name, KEPT],
    )
    return tuple(table for (table,) in found)


def defaults(session: Session, name: str) -> tuple[str, str]:
    """Return the character set and collation of a database."""
    charset, collation = session.row(
        "SELECT default_character_set_name, default_collation_name"
        "  FROM information_schema.schemata WHERE schema_name = %s",
        [name],
    )
    return str(charset), str(collation)


def size(session: Session, name: str) -> int | None:
    """Return the bytes of a database by the server's statistics, None if there is none."""
    if name not in databases(session):
        return None
    return int(
        session.value(
            "SELECT coalesce(sum(coalesce(data_length, 0) + coalesce(index_length, 0)), 0)"
            "  FROM information_schema.tables WHERE table_schema = %s",
            [name],
        )
    )


def unfit_tables(shape: Shape) -> tuple[str, ...]:
    """Return the tables that cannot be backed up, each with the reason."""
    return (
        *(
            f"{table.name} (its engine {table.engine or 'none'} may keep rows elsewhere)"
            for table in shape.tables
            if table.foreign
        ),
        *(
            f"{table.name} (its history goes by transactions, which mariadb-dump cannot write)"
            for table in shape.tables
            if table.by_transaction
        ),
    )


def _signature(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
