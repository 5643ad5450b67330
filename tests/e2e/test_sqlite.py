"""SQLite databases in a volume: found without a word in stack.yaml, checked, and back again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.checkout import wait_until
from tests.support.composed import Folder
from tests.support.sqlite_app import ASKED, MADE, inside, rows, writing_application

pytestmark = pytest.mark.engine

#: It writes all the time, each transaction into both tables, and never empties its log by itself.
WRITER = """\
import sqlite3, time
c = sqlite3.connect("/data/app.db", isolation_level=None)
c.execute("PRAGMA journal_mode = WAL")
c.execute("PRAGMA wal_autocheckpoint = 0")
for name in ("debit", "credit"):
    c.execute(f"CREATE TABLE IF NOT EXISTS {name} (id INTEGER PRIMARY KEY, text TEXT)")
while True:
    c.execute("BEGIN IMMEDIATE")
    for name in ("debit", "credit"):
        c.execute(f"INSERT INTO {name} (text) VALUES (hex(randomblob(200)))")
    c.execute("COMMIT")
    time.sleep(0.01)
"""
BREAK = "f = open('/data/library.sqlite', 'r+b'); f.seek(4096 * 5); f.write(b'x' * 4096 * 5)"


@pytest.fixture(scope="module")
def app(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A running application that writes to its database, and has another one."""
    with writing_application(tmp_path_factory.mktemp("sqlite"), WRITER, "debit") as made:
        fill = "CREATE TABLE book (text); INSERT INTO book SELECT hex(randomblob(500)) FROM"
        fill += " (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500)"
        inside(made, MADE, "library.sqlite", f"{fill} SELECT i FROM n)")
        yield made


def recorded(app: Folder) -> dict[str, Any]:
    """What the newest set records of each database, by its file."""
    newest = max(app.path.glob("backups/*/manifest.json"))
    (volume,) = json.loads(newest.read_text())["volumes"]
    return {one["file"]: one for one in volume["sqlite"]}


@pytest.mark.core
def test_a_database_that_is_written_to_comes_back(app: Folder) -> None:
    """Its log with it: most rows are there only. The writer is killed, not asked, to stop."""
    made = app.quiesce("backup")
    assert made.returncode == 0, made.stderr
    found = recorded(app)
    assert {*found} == {"app.db", "library.sqlite"}
    tables = found["app.db"]["tables"]
    assert tables["debit"] == tables["credit"] > 20
    assert found["library.sqlite"]["tables"] == {"book": 500}
    assert not any(one["problems"] or one["unchecked"] for one in found.values())
    assert "2 SQLite databases, good" in made.stdout + made.stderr
    assert app.quiesce("verify", "--deep").returncode == 0
    wait_until(lambda: rows(app, "debit") > tables["debit"] + 20, "the application to write on")
    restored = app.quiesce("restore", "--file", "latest", "--yes", "--no-safety")
    assert restored.returncode == 0, restored.stderr
    kept = f"SELECT count(*) FROM debit WHERE id <= {tables['debit']}"
    assert inside(app, ASKED, "app.db", kept) == str(tables["debit"])
    assert inside(app, ASKED, "app.db", "PRAGMA integrity_check") == "ok"
    assert inside(app, ASKED, "library.sqlite", "SELECT count(*) FROM book") == "500"


def test_a_damaged_database_is_named_and_the_set_is_there(app: Folder) -> None:
    """What is good in it can be restored, and a check of the set itself finds nothing new."""
    inside(app, BREAK)
    made = app.quiesce("backup")
    assert made.returncode == 7, made.stderr
    assert "an SQLite database was damaged before the backup: library.sqlite" in made.stderr
    assert "--only data --path library.sqlite" in made.stderr
    found = recorded(app)
    assert found["library.sqlite"]["problems"]
    assert not found["app.db"]["problems"]
    assert app.quiesce("verify", "--deep").returncode == 0
    older = min(path.parent.name for path in app.path.glob("backups/*/manifest.json"))
    hinted = ("--only", "data", "--path", "library.sqlite", "--yes", "--no-safety")
    restored = app.quiesce("restore", "--file", older, *hinted)
    assert restored.returncode == 0, restored.stderr
    assert inside(app, ASKED, "library.sqlite", "PRAGMA integrity_check") == "ok"
    assert app.quiesce("backup").returncode == 0
