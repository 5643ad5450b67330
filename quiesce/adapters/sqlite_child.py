"""Checks one SQLite database in a separate process, with only the standard library.

The content is hostile until shown otherwise, so an error in SQLite must not reach Quiesce. Nothing
of the schema is trusted, no other file is attached, no extension is loaded, and memory is limited.
The database is a copy that may change: SQLite first applies its log or journal.
"""

import json
import resource
import sqlite3
import sys

_MEMORY = 4 << 30
_MOST_PROBLEMS = 20
_TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
    " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
)


def examine(path: str) -> dict[str, object]:
    """Return `tables`, `problems`, `orphans` and `unchecked` as a `SqliteRecord` has them."""
    found: dict[str, object] = {"tables": {}, "problems": [], "orphans": 0, "unchecked": ""}
    try:
        _examine(path, found)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 1) & 0xFF
        # A schema that this version cannot parse has the code of a damaged file.
        unparsed = "malformed database schema" in str(error) and " - " in str(error)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) and not unparsed:
            found["problems"] = [str(error)]
        else:
            # Functions and collations of the application, later features, no space, no memory.
            found["unchecked"] = f"SQLite {sqlite3.sqlite_version} cannot check it: {error}"
    except MemoryError:
        found["unchecked"] = "its check needs more memory than is allowed"
    return found


def _examine(path: str, found: dict[str, object]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.text_factory = lambda text: text.decode(errors="backslashreplace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for setting in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {setting}")
    said = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})")]
    found["problems"] = [line for line in said if line != "ok"]
    tables = {}
    for (name,) in connection.execute(_TABLES).fetchall():
        quoted = '"' + name.replace('"', '""') + '"'
        counting = f"SELECT count(*) FROM main.{quoted}"  # noqa: S608  a name cannot be a value
        (tables[name],) = connection.execute(counting).fetchone()
    found["tables"] = tables
    try:
        found["orphans"] = sum(1 for _ in connection.execute("PRAGMA foreign_key_check"))
    except sqlite3.OperationalError:
        # A foreign key refers to columns that are not a key: a mistake in the schema, not damage.
        found["orphans"] = 0


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write(json.dumps(examine(sys.argv[1])))
