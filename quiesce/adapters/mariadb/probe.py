"""Queries in a live database: the probes of `stack.yaml`, and the markers of a drill."""

from __future__ import annotations

from quiesce.adapters.mariadb.session import Session
from quiesce.errors import QuiesceError

#: The table of a drill; Quiesce creates nothing else in a live database.
MARKS = "quiesce_drill"

_TABLE = """
SELECT table_type = 'BASE TABLE' AND engine = 'InnoDB' AND NOT EXISTS (
         SELECT 1 FROM information_schema.triggers
          WHERE event_object_schema = table_schema AND event_object_table = table_name)
  FROM information_schema.tables WHERE table_schema = database() AND table_name = 'quiesce_drill'
"""


def mark(session: Session, word: str) -> None:
    """Write a row with this word into the table of markers."""
    if not owns_marks(session):
        session.run(
            f"CREATE TABLE {MARKS} (word varchar(255) CHARACTER SET utf8mb4"
            " COLLATE utf8mb4_bin PRIMARY KEY) ENGINE=InnoDB"
        )
    session.run(f"INSERT IGNORE INTO {MARKS} VALUES (%s)", [word])  # noqa: S608 - fixed


def marks(session: Session) -> tuple[str, ...]:
    """Return the words in the table of markers; none if there is no such table."""
    if not owns_marks(session):
        return ()
    return tuple(word for (word,) in session.rows(f"SELECT word FROM {MARKS}"))  # noqa: S608 - fixed


def unmark(session: Session) -> None:
    """Drop the table of markers."""
    if owns_marks(session):
        session.run(f"DROP TABLE {MARKS}")


def owns_marks(session: Session) -> bool:
    """Whether the table of markers exists. Raise QuiesceError if it is not Quiesce's table."""
    found = session.rows(_TABLE)
    if found and not found[0][0]:
        raise QuiesceError(
            f"{MARKS} in {session.where} is not the table that a drill creates",
            "rename it, then try again; Quiesce does not read or write it",
        )
    return bool(found)


def first_value(session: Session, query: str) -> object:
    """Return the first value of a query that may change nothing; None for no row."""
    session.run("START TRANSACTION READ ONLY")
    try:
        rows = session.rows(query)
    finally:
        session.run("ROLLBACK")
    return rows[0][0] if rows and rows[0] else None
