"""Views, routines, triggers and events: read, dropped, and made again as they were.

They cannot be moved to another database, and a table with triggers cannot either.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass

from quiesce.adapters.mariadb.catalog import KEPT
from quiesce.adapters.mariadb.session import Session, encoded, identifier

EVENTS = "events"
_KEPT_TABLE = f"""
CREATE TABLE IF NOT EXISTS {{where}}.`{KEPT}` (
  side varchar(8) NOT NULL, position int NOT NULL, kind varchar(16) NOT NULL,
  name varchar(64) NOT NULL, statement longtext NOT NULL, sql_mode text NOT NULL,
  charset varchar(64) NOT NULL, collation varchar(64) NOT NULL, time_zone varchar(64) NOT NULL,
  PRIMARY KEY (side, position)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
"""
_NAMES = (
    ("FUNCTION", "SELECT routine_name FROM information_schema.routines WHERE routine_schema = %s"
                 " AND routine_type = 'FUNCTION'"),
    ("PROCEDURE", "SELECT routine_name FROM information_schema.routines WHERE routine_schema = %s"
                  " AND routine_type = 'PROCEDURE'"),
    ("PACKAGE", "SELECT routine_name FROM information_schema.routines WHERE routine_schema = %s"
                " AND routine_type = 'PACKAGE'"),
    ("PACKAGE BODY", "SELECT routine_name FROM information_schema.routines"
                     " WHERE routine_schema = %s AND routine_type = 'PACKAGE BODY'"),
    ("VIEW", "SELECT table_name FROM information_schema.views WHERE table_schema = %s"),
    ("TRIGGER", "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = %s"
                " ORDER BY event_object_table, event_manipulation, action_timing, action_order"),
    ("EVENT", "SELECT event_name FROM information_schema.events WHERE event_schema = %s"),
)  # fmt: skip
#: Where SHOW CREATE has the statement, sql_mode, character set, collation and time zone.
_SHOWN = {
    "FUNCTION": (2, 1, 3, 4, None),
    "PROCEDURE": (2, 1, 3, 4, None),
    "PACKAGE": (2, 1, 3, 4, None),
    "PACKAGE BODY": (2, 1, 3, 4, None),
    "VIEW": (1, None, 2, 3, None),
    "TRIGGER": (2, 1, 3, 4, None),
    "EVENT": (3, 1, 4, 5, 2),
}


@dataclass(frozen=True, slots=True)
class Code:
    """One object, and the settings under which its statement creates it again."""

    kind: str
    name: str
    statement: str
    sql_mode: str
    charset: str
    collation: str
    time_zone: str


#: The first row of what is kept, so that no code at all can be told from nothing kept.
_MARK = Code("", "", "", "", "", "", "")


def read_code(session: Session, name: str) -> tuple[Code, ...]:
    """Return all code of a database, in an order in which it can be created, except that a view
    may need a later one. The session's database becomes `name`."""
    session.use(name)
    found: list[Code] = []
    for kind, query in _NAMES:
        for (one,) in session.rows(query, [name]):
            with _dialect(session, kind):
                shown = session.row(f"SHOW CREATE {kind} {identifier(one)}")
            text, *rest = (shown[at] if at is not None else "" for at in _SHOWN[kind])
            found.append(Code(kind, str(one), str(text), *(str(part) for part in rest)))
    return tuple(found)


@contextlib.contextmanager
def _dialect(session: Session, kind: str) -> Iterator[None]:
    """Let the session know statements about packages, which are of another dialect."""
    if not kind.startswith("PACKAGE"):
        yield
        return
    session.run("SET SESSION sql_mode = 'ORACLE'")
    try:
        yield
    finally:
        session.reset()


def drop_code(session: Session, name: str, code: Iterable[Code]) -> None:
    """Drop these objects of database `name`."""
    for one in code:
        with _dialect(session, one.kind):
            session.run(f"DROP {one.kind} IF EXISTS {identifier(name)}.{identifier(one.name)}")


def create_code(session: Session, name: str, code: Sequence[Code]) -> None:
    """Create these objects in database `name`; those that exist already are replaced."""
    session.use(name)
    # Views may use each other, so all exist as placeholders first.
    for one in code:
        if one.kind == "VIEW":
            session.run(f"CREATE OR REPLACE VIEW {identifier(one.name)} AS SELECT 1 AS placeholder")
    drop_code(session, name, [one for one in code if one.kind != "VIEW"])
    try:
        for one in code:
            session.run(
                "SET SESSION sql_mode = %s, time_zone = %s, character_set_client = %s,"
                " collation_connection = %s",
                [
                    one.sql_mode,
                    one.time_zone or "+00:00",
                    one.charset or "utf8mb4",
                    one.collation or "utf8mb4_general_ci",
                ],
            )
            text = one.statement
            if one.kind == "VIEW":
                text = text.replace("CREATE ", "CREATE OR REPLACE ", 1)
            session.run_bytes(encoded(text, one.charset))
    finally:
        session.reset()


def keep_code(session: Session, name: str, side: str, code: Sequence[Code]) -> None:
    """Write the code of one side into the table of database `name` that keeps it."""
    where = identifier(name)
    session.run(_KEPT_TABLE.format(where=where))
    session.run("START TRANSACTION")
    session.run(f"DELETE FROM {where}.`{KEPT}` WHERE side = %s", [side])  # noqa: S608
    for position, one in enumerate([_MARK, *code]):
        session.run(
            f"INSERT INTO {where}.`{KEPT}` VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",  # noqa: S608
            [side, position, *astuple(one)],
        )
    session.run("COMMIT")


def kept_code(session: Session, name: str, side: str) -> tuple[Code, ...] | None:
    """Return the code that was kept for one side, None if none was."""
    exists = session.rows(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
        [name, KEPT],
    )
    if not exists:
        return None
    rows = session.rows(
        "SELECT kind, name, statement, sql_mode, charset, collation, time_zone"  # noqa: S608
        f"  FROM {identifier(name)}.`{KEPT}` WHERE side = %s ORDER BY position",
        [side],
    )
    return tuple(Code(*row) for row in rows[1:]) if rows else None


def forget_code(session: Session, name: str, side: str) -> None:
    """Remove what was kept for one side."""
    session.run(f"DELETE FROM {identifier(name)}.`{KEPT}` WHERE side = %s", [side])  # noqa: S608


def events_script(code: Iterable[Code]) -> bytes:
    """Return kept events as mariadb-dump writes them, for the dump of a database beside the live
    one, in which they do not exist."""
    parts = []
    for one in code:
        settings = (
            f"character_set_client = {one.charset or 'utf8mb4'}",
            f"collation_connection = {one.collation or 'utf8mb4_general_ci'}",
            f"sql_mode = '{one.sql_mode}'",
            f"time_zone = '{one.time_zone or '+00:00'}'",
        )
        lines = [b"DELIMITER ;;"]
        lines += [f"/*!50003 SET {setting} */ ;;".encode() for setting in settings]
        lines += [encoded(one.statement, one.charset) + b" ;;", b"DELIMITER ;"]
        parts.append(b"\n".join(lines) + b"\n")
    tail = b"SET NAMES utf8mb4;\nSET time_zone = '+00:00';\n" if parts else b""
    return b"".join(parts) + tail


def all_code(session: Session, name: str) -> tuple[Code, ...]:
    """Return the code of a database that is not the live one, with the events kept beside it."""
    return (*read_code(session, name), *(kept_code(session, name, EVENTS) or ()))


def create_all(session: Session, name: str, code: Sequence[Code], *, live: bool) -> None:
    """Create the code of a database. Unless it is the live one, its events are only kept."""
    create_code(session, name, [one for one in code if live or one.kind != "EVENT"])
    if not live:
        keep_code(session, name, EVENTS, [one for one in code if one.kind == "EVENT"])
