"""Two levels of a volume never tear an SQLite database from its log, and live files stay."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from quiesce.model import SqliteRecord, VolumeRecord
from tests.integration.volumes_support import (
    age,
    describe,
    files_of,
    require_two_levels,
    silent,
    volume,
)

_WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text)")
n = 0
while True:
    db.execute("INSERT INTO t (text) VALUES (?)", ("x" * 500,))
    n += 1
    print(n, flush=True)
"""


class Backup:
    """A volume that is a folder, and a backup of it in two levels."""

    def __init__(self, base: Path) -> None:
        self.root = base / "volume"
        self.root.mkdir()
        staging = base / "staging"
        self.set = staging / "set"
        (self.set / "volumes").mkdir(parents=True)
        self.files = files_of(staging)

    def level(self, level: int) -> VolumeRecord:
        """Make one level."""
        state = volume(self.root)
        if level == 0:
            self.files.begin(state)
        return self.files.archive(state, level, self.set, "volumes/media", (), silent)

    def databases(self, record: VolumeRecord) -> dict[str, SqliteRecord]:
        """What is in the archives, by name."""
        gone = self.set / record.gone if record.gone else None
        archives = [self.set / file for file in record.levels]
        return {one.file: one for one in self.files.sqlite(archives, gone, silent)}


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    """An empty volume."""
    return Backup(tmp_path)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_writer_during_level_0_that_is_killed_tears_nothing(backup: Backup, mode: str) -> None:
    """The copy has every committed row, and the live files have content and times as before."""
    command = [sys.executable, "-c", _WRITER, str(backup.root / "app.data"), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(100):
            writer.stdout.readline()
        backup.level(0)
        for _ in range(100):
            said = writer.stdout.readline()
        writer.kill()
        # Nothing more is said by a writer that was killed right after its hundredth row.
        committed = int([said, *writer.stdout][-1])
    live = describe(backup.root)
    names = {path.name for path in backup.root.iterdir()}
    assert ("app.data-wal" in names) is (mode == "WAL")
    one = backup.databases(backup.level(1))["app.data"]
    assert describe(backup.root) == live
    assert {path.name for path in backup.root.iterdir()} == names
    assert one.is_good, one
    # One more may be committed than the writer could say.
    assert one.tables["t"] in (committed, committed + 1)


def test_a_database_of_level_0_has_the_log_of_level_1(backup: Backup) -> None:
    """Its new rows are in the log alone, so level 1 does not contain the database itself."""
    require_two_levels(backup.root)
    keeper = sqlite3.connect(backup.root / "app.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "CREATE TABLE t (n)"):
        keeper.execute(statement)
    keeper.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    age(backup.root)
    backup.level(0)
    keeper.execute("INSERT INTO t VALUES (1), (2), (3)")
    record = backup.level(1)
    keeper.close()
    assert len(record.levels) == 2
    assert backup.databases(record)["app.db"].tables == {"t": 3}
