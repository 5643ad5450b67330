"""A service that counts: the same number into two databases and a file, round after round.

It ends on SIGTERM between two rounds only, so at rest all three agree. Where the file
`change-tables` lies beside the number, it changes its tables before it is well, as a service does
that migrates when it starts. Runs as a program; imports nothing of this repository.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psycopg2

FOLDER = Path(os.environ["COUNT_DIR"])
DATABASES = ("rulesdb", "memorydb")
_ended: list[int] = []


def connect(name: str):
    """Return a cursor in a session that commits each statement."""
    connection = psycopg2.connect(
        host=os.environ["PGHOST"],
        port=os.environ["PGPORT"],
        user="postgres",
        password=os.environ["PGPASSWORD"],
        dbname=name,
        application_name="the counter",
    )
    connection.autocommit = True
    return connection.cursor()


def prepare() -> dict[str, object]:
    """Make the databases and the table where they are missing; return a cursor for each."""
    admin = connect("postgres")
    cursors = {}
    for name in DATABASES:
        admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if not admin.fetchall():
            admin.execute(f"CREATE DATABASE {name}")
        cursors[name] = connect(name)
        cursors[name].execute("CREATE TABLE IF NOT EXISTS counted (n bigint, padding text)")
        cursors[name].execute("SELECT count(*) FROM counted")
        if cursors[name].fetchone() == (0,):
            cursors[name].execute("INSERT INTO counted VALUES (0, '')")
    admin.connection.close()
    return cursors


def main() -> None:
    """Count until SIGTERM."""
    well = FOLDER / "well"
    well.unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, lambda number, frame: _ended.append(number))
    cursors = prepare()
    if (FOLDER / "change-tables").exists():
        for cursor in cursors.values():
            cursor.execute("ALTER TABLE counted ADD COLUMN IF NOT EXISTS late int")
    number = int((FOLDER / "number").read_text()) if (FOLDER / "number").exists() else 0
    while not _ended:
        number += 1
        for cursor in cursors.values():
            cursor.execute("UPDATE counted SET n = %s", [number])
        # Written in place: the same size and the same inode for ten thousand rounds.
        (FOLDER / "number").write_text(f"{number:09d}")
        well.touch()
        # Often enough for any window without a stop to be seen; faster, it takes a whole processor.
        time.sleep(0.02)
    # Whoever starts it again must not take this one's word for it.
    well.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
