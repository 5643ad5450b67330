"""A MariaDB schema with one of everything that a restore has to bring back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.mariadb import MariaDbServer

RICH = Path(__file__).with_suffix(".sql").read_text()


_NAMES = (
    ("TABLE", "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"),
    ("TRIGGER", "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = %s"),
    ("FUNCTION", "SELECT routine_name FROM information_schema.routines WHERE routine_schema = %s"
                 " AND routine_type = 'FUNCTION'"),
    ("PROCEDURE", "SELECT routine_name FROM information_schema.routines WHERE routine_schema = %s"
                  " AND routine_type = 'PROCEDURE'"),
    ("EVENT", "SELECT event_name FROM information_schema.events WHERE event_schema = %s"),
)  # fmt: skip


def definitions(server: MariaDbServer, name: str) -> dict[str, Any]:
    """All definitions of a database as the server shows them."""
    found: dict[str, Any] = {}
    with server.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@character_set_database, @@collation_database")
        found["database"] = cursor.fetchone()
        for kind, query in _NAMES:
            cursor.execute(query, [name])
            for (one,) in cursor.fetchall():
                cursor.execute(f"SHOW CREATE {kind} `{one}`")
                row = cursor.fetchone()
                # The last column of a trigger is when it was made.
                found[f"{kind} {one}"] = row[:6] if kind == "TRIGGER" and row else row
    return found
