"""A live backup of an SQLite database whose application never stops committing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.composed import Folder
from tests.support.sqlite_app import rows, writing_application

pytestmark = pytest.mark.engine

#: Transaction n adds row n and changes every 499th page from n % 499 on, and empties the log often,
#: so that the file itself changes in many places while it is read. A plain copy of it is torn.
WRITER = """\
import sqlite3
c = sqlite3.connect("/data/app.db", isolation_level=None)
c.execute("PRAGMA journal_mode = WAL")
c.execute("PRAGMA synchronous = OFF")
c.execute("PRAGMA wal_autocheckpoint = 50")
c.execute("CREATE TABLE IF NOT EXISTS done (n INTEGER PRIMARY KEY)")
c.execute("CREATE TABLE IF NOT EXISTS page (i INTEGER PRIMARY KEY, n INTEGER, text)")
c.execute("CREATE INDEX IF NOT EXISTS by_n ON page (n, i)")
c.execute("BEGIN")
c.executemany(
    "INSERT OR IGNORE INTO page VALUES (?, 0, hex(randomblob(1500)))", ((i,) for i in range(15000))
)
c.execute("COMMIT")
(n,) = c.execute("SELECT ifnull(max(n), 0) FROM done").fetchone()
while True:
    n += 1
    c.execute("BEGIN IMMEDIATE")
    c.execute("INSERT INTO done VALUES (?)", (n,))
    for i in range(n % 499, 15000, 499):
        c.execute("UPDATE page SET n = n + 1 WHERE i = ?", (i,))
    c.execute("COMMIT")
"""
#: Of the application, while it is stopped: what the database says about itself.
STATE = """\
import json, os, sqlite3
beside = sorted(os.listdir("/data"))
c = sqlite3.connect("/data/app.db")
one = lambda question: c.execute(question).fetchone()[0]
print(json.dumps([beside, one("PRAGMA integrity_check"), one("SELECT count(*) FROM done"),
    one("SELECT max(n) FROM done"), one("SELECT sum(n) FROM page")]))
"""


@pytest.fixture
def app(engine: str, tmp_path: Path) -> Iterator[Folder]:
    """A running application that commits all the time."""
    with writing_application(tmp_path, WRITER, "done") as made:
        yield made


def test_a_prefix_of_the_transactions_comes_back(app: Folder) -> None:
    """All that were committed before the backup, none by halves, and the writer never stopped."""
    before = rows(app, "done")
    made = app.quiesce("backup", "--mode", "live")
    after = rows(app, "done")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "not through SQLite" not in made.stderr
    (manifest,) = app.path.glob("backups/*/manifest.json")
    (volume,) = json.loads(manifest.read_text())["volumes"]
    (found,) = volume["sqlite"]
    assert (found["problems"], found["unchecked"]) == ([], "")
    assert before <= found["tables"]["done"] <= after
    assert app.quiesce("verify", "--deep").returncode == 0
    app.compose("stop", "--timeout", "1")
    restored = app.quiesce("restore", "--file", "latest", "--yes", "--no-safety")
    assert restored.returncode == 0, restored.stderr
    app.compose("stop", "--timeout", "1")
    said = app.compose("run", "--rm", "--no-deps", "-T", "app", "python3", "-c", STATE)
    beside, integrity, count, last, changes = json.loads(said)
    assert (beside, integrity) == (["app.db"], "ok")
    assert count == last == found["tables"]["done"]
    assert changes == sum(len(range(n % 499, 15000, 499)) for n in range(1, count + 1))
