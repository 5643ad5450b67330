"""Checks one copied SQLite database.

Its content is hostile until shown otherwise: its schema may call functions, its pages may be built
to confuse the library. So nothing of its schema is trusted, no other file is attached, no extension
is loaded, and the check has a limit of time.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import sqlite3

#: The first bytes of every SQLite database (https://www.sqlite.org/fileformat2.html).
HEADER = b"SQLite format 3\0"
#: The first bytes of a write-ahead log, in both byte orders, and of a rollback journal.
WAL_HEADERS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
JOURNAL_HEADER = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
#: For one database. A file of this size that takes longer was made to take long.
MOST_SECONDS = 600.0
_MOST_PROBLEMS = 20
_STEPS = 10_000
#: Messages for what this version of the library, or this process, cannot read although it is
#: intact: features of later versions, functions and collations of the application.
_NOT_ITS_FAULT = (
    "malformed database schema",
    "no such collation sequence",
    "no such function",
    "no such module",
    "no such tokenizer",
    "unknown tokenizer",
    "unsafe use of",
    "unsupported file format",
)


@dataclass(slots=True)
class Checked:
    """What a check found; the fields are those of `SqliteRecord`."""

    tables: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    orphans: int = 0
    unchecked: str = ""


def check(copy: Path, most_seconds: float = MOST_SECONDS) -> Checked:
    """Check a copy of a database. Its log or journal, if it has one, lies beside it.

    The copy is changed: what its log or journal contains is applied first, as its application
    would do.
    """
    try:
        import sqlite3
    except ImportError:
        return Checked(unchecked="this Python was built without SQLite")
    found = Checked()

    def authorize(action: int, *_: object) -> int:
        denied = action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH)
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    deadline = time.monotonic() + most_seconds
    uri = f"file:{quote(str(copy))}?mode=rw"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.text_factory = _text
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            connection.set_authorizer(authorize)
            # Some versions do not ask the handler while they check pages.
            timer = threading.Timer(most_seconds, connection.interrupt)
            timer.daemon = True
            for setting in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
                connection.execute(f"PRAGMA {setting}")
            timer.start()
            try:
                _check(connection, found)
            finally:
                timer.cancel()
                timer.join()
    except sqlite3.Error as error:
        _judge(f"{error}", found, f"SQLite {sqlite3.sqlite_version}", most_seconds)
    return found


def _check(connection: sqlite3.Connection, found: Checked) -> None:
    said = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})")]
    for line in said:
        if line != "ok":
            _judge(line, found)
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'"
        " ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    ).fetchall()
    for (name,) in names:
        quoted = '"' + str(name).replace('"', '""') + '"'
        counting = f"SELECT count(*) FROM main.{quoted}"  # noqa: S608  a name cannot be a value
        (count,) = connection.execute(counting).fetchone()
        found.tables[str(name)] = int(count)
    found.orphans = sum(1 for _ in connection.execute("PRAGMA foreign_key_check"))


def _judge(said: str, found: Checked, library: str = "SQLite", seconds: float = 0) -> None:
    """Record a message as a problem of the database, or as a reason why it cannot be checked."""
    if said == "interrupted":
        found.unchecked = f"the check took more than {seconds:.0f} s"
    elif any(sign in said for sign in _NOT_ITS_FAULT):
        found.unchecked = f"{library} cannot check it: {said}"
    else:
        found.problems.append(said)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")
