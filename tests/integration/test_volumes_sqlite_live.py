"""SQLite databases that are written to during a live backup: copied by SQLite, or named."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from quiesce.adapters import sqlite
from quiesce.adapters.volumes import sqlite_live
from quiesce.adapters.volumes.helper import HelperPlace
from quiesce.adapters.volumes.io import VolumeFiles
from quiesce.ports import SqliteCopies, VolumeSize
from tests.integration.volumes_support import describe, files_of, is_root, silent, volume

_RUN = "20260101000000-0001"
#: Each transaction adds a row, changes pages all over the file, and keeps the sum of both tables.
_WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
db.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
db.execute("PRAGMA synchronous = OFF")
db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text)")
db.execute("CREATE TABLE seen (page INTEGER PRIMARY KEY, n INTEGER, text)")
db.execute("BEGIN")
for page in range(2000):
    db.execute("INSERT INTO seen VALUES (?, 0, ?)", (page, "y" * 3000))
db.execute("COMMIT")
n = 0
while True:
    n += 1
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO t VALUES (?, ?)", (n, "x" * 500))
    for page in range(n % 97, 2000, 97):
        db.execute("UPDATE seen SET n = n + 1 WHERE page = ?", (page,))
    db.execute("COMMIT")
    print(n, flush=True)
"""
#: It ends with a transaction half written, as after a loss of power.
_KILLED = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("CREATE TABLE t (text)")
db.execute("INSERT INTO t VALUES (hex(randomblob(200000)))")
db.execute("BEGIN")
db.execute("UPDATE t SET text = hex(randomblob(200000))")
os.kill(os.getpid(), signal.SIGKILL)
"""


class Backup:
    """A volume that is a folder, and a live backup of it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / "volume"
        self.root.mkdir()
        self.set = base / "staging" / "set"
        (self.set / "volumes").mkdir(parents=True)
        self.files: VolumeFiles = files_of(base / "staging")

    def made(
        self, before_copy: Callable[[], object] = lambda: None, exclude: tuple[str, ...] = ()
    ) -> SqliteCopies:
        """Make level 0 and then the copies."""
        state = volume(self.root)
        self.files.begin(state)
        record = self.files.archive(state, 0, self.set, "volumes/media", exclude, silent)
        before_copy()
        return self.files.copy_sqlite(state, record, self.set, "volumes/media", exclude, silent)

    def restored(self, copies: SqliteCopies) -> Path:
        """Unpack the set into another volume; its entries and bytes are the recorded ones."""
        record, target = copies.record, self.base / "restored"
        target.mkdir()
        archives = [self.set / file for file in record.levels]
        gone = self.set / record.gone if record.gone else None
        size = self.files.stage(volume(target), _RUN, archives, gone)
        assert size == VolumeSize(record.files, record.bytes)
        self.files.swap(volume(target), _RUN)
        self.files.finish_swap(volume(target), _RUN)
        return target


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    """An empty volume."""
    return Backup(tmp_path)


def make(path: Path, rows: int = 3) -> None:
    """A small database."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (n)")
        connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(rows)])


def asked(path: Path, question: str) -> object:
    """The first value of the answer."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchone()[0]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_copy_has_a_prefix_of_what_was_committed(backup: Backup, mode: str) -> None:
    """Everything committed before the copy is in it, nothing by halves, and no log of another
    moment is beside it."""
    command = [sys.executable, "-c", _WRITER, str(backup.root / "app.data"), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        before = 0

        def write_on() -> None:
            nonlocal before
            for _ in range(30):
                before = int(writer.stdout.readline())  # type: ignore[union-attr]

        write_on()
        try:
            copies = backup.made(write_on)
        finally:
            writer.kill()
        # Nothing more is said by a writer that was killed right after the row that was read last.
        last = int([before, *writer.stdout][-1]) + 1
    assert copies.copied == {"app.data"}
    assert copies.as_they_were == {}
    restored = backup.restored(copies)
    assert [path.name for path in restored.iterdir()] == ["app.data"]
    copy = restored / "app.data"
    assert asked(copy, "PRAGMA integrity_check") == "ok"
    rows = asked(copy, "SELECT count(*) FROM t")
    assert isinstance(rows, int)
    assert before <= rows <= last
    assert asked(copy, "SELECT max(n) FROM t") == rows
    changes = sum(len(range(n % 97, 2000, 97)) for n in range(1, rows + 1))
    assert asked(copy, "SELECT sum(n) FROM seen") == changes


def test_everything_else_is_as_in_level_0(backup: Backup) -> None:
    """Odd names, owners, modes and attributes; the live files stay as they are."""
    folder = backup.root / "a b" / "ünï?#%"
    folder.mkdir(parents=True)
    odd = folder / os.fsdecode(b"\xff 1.db")
    make(odd)
    odd.chmod(0o640)
    os.setxattr(odd, "user.kept", b"\0yes")
    if is_root():
        os.chown(odd, 1234, 4321)
    (folder / "text").write_text("as it is")
    live = describe(backup.root)
    copies = backup.made()
    assert copies.copied == {"a b/ünï?#%/\\xff 1.db"}
    assert describe(backup.root) == live
    assert describe(backup.restored(copies)) == live


def test_an_excluded_one_stays_out(backup: Backup) -> None:
    """Nothing is added for it, and there is one level."""
    make(backup.root / "cache.db")
    copies = backup.made(exclude=("cache.db",))
    assert (copies.copied, copies.as_they_were, len(copies.record.levels)) == (set(), {}, 1)


def test_links_lead_nowhere(backup: Backup, tmp_path: Path) -> None:
    """A service may exchange a file or a folder after it was archived."""
    make(tmp_path / "secret.db", rows=99)
    for folder in ("", "one", "two"):
        (backup.root / folder).mkdir(exist_ok=True)
        make(backup.root / folder / "app.db")
    (tmp_path / "elsewhere").mkdir()
    make(tmp_path / "elsewhere" / "app.db", rows=99)

    def exchange() -> None:
        (backup.root / "app.db").unlink()
        (backup.root / "app.db").symlink_to(tmp_path / "secret.db")
        (backup.root / "one").rename(backup.root / "was")
        (backup.root / "one").symlink_to(tmp_path / "elsewhere")
        (backup.root / "two" / "app.db-wal").symlink_to(tmp_path / "secret.db")

    copies = backup.made(exchange)
    assert copies.copied == set()
    assert {*copies.as_they_were} == {"one/app.db", "two/app.db"}
    assert "app.db-wal is not a regular file" in copies.as_they_were["two/app.db"]
    assert not [*tmp_path.glob("**/*.db-shm")]
    restored = backup.restored(copies)
    assert [asked(path, "SELECT count(*) FROM t") for path in restored.glob("**/app.db")] == [3] * 3


def test_one_behind_a_helper_container_is_named(
    backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs SQLite there."""
    make(backup.root / "app.db")
    monkeypatch.setattr(sqlite_live, "DirectPlace", HelperPlace)
    copies = backup.made()
    assert copies.as_they_were == {"app.db": "only a helper container can read it"}
    assert len(copies.record.levels) == 1


def test_a_device_is_not_opened_even_if_it_appears_late(tmp_path: Path) -> None:
    """Where the process looks for it, no device can be opened."""
    if not is_root():
        pytest.skip("only root makes devices")
    make(tmp_path / "app.db")
    code = (
        "import os, runpy, sys; child = runpy.run_path(sys.argv[1]); os.mkdir('point')\n"
        "folder = os.open('.', os.O_RDONLY); child['_confine'](folder, 'point')\n"
        "os.mknod('/app.db-shm', 0o20666, os.makedev(1, 5))\n"
        "print(sorted(os.listdir('/')))\n"
        "open('/app.db-shm')"
    )
    child = Path(sqlite.__file__).with_name("sqlite_copy_child.py")
    command = [sys.executable, "-c", code, str(child)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.stdout == "['app.db', 'app.db-shm', 'point']\n"
    assert "PermissionError" in ended.stderr


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("_PATIENCE = 0", "another process keeps it locked"),
        ("_MOST_SECONDS = _STEP = 0", "other processes wrote to it all the time"),
    ],
)
def test_the_copy_of_a_database_is_given_up_at_last(
    tmp_path: Path, settings: str, why: str
) -> None:
    """If it is locked, or if so much was written that SQLite began again and again."""
    make(tmp_path / "app.db")
    locked = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    if "PATIENCE" in settings:
        locked.execute("BEGIN EXCLUSIVE")
    for name in ("copy", "point"):
        (tmp_path / name).mkdir()
    (tmp_path / "copy" / "new").touch()
    child = Path(sqlite.__file__).with_name("sqlite_copy_child.py")
    source = tmp_path / "child.py"
    head, _, tail = child.read_text().partition("_COMPANIONS = ")
    source.write_text(f"{head}{settings}\n_COMPANIONS = {tail}")
    places = (source, tmp_path, "app.db", tmp_path / "copy" / "new", tmp_path / "point")
    command = [sys.executable, *map(str, places)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    locked.close()
    assert json.loads(ended.stdout) == {"database": True, "why": why}


def test_what_has_several_names_is_named(backup: Backup) -> None:
    """A copy under one of them would part them."""
    make(backup.root / "app.db")
    os.link(backup.root / "app.db", backup.root / "same.db")
    (only,) = backup.made().as_they_were.items()
    assert only[1] == "it has several hard links"


def test_a_half_transaction_is_not_rolled_back_in_the_live_file(backup: Backup) -> None:
    """SQLite would remove a file that the journal names, wherever it is."""
    path, victim = backup.root / "app.db", backup.base / "victim"
    subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    victim.write_text("of somebody else")
    name = os.fsencode(victim)
    with (backup.root / "app.db-journal").open("ab") as journal:
        total = sum(name)
        journal.write(b"\0\0\0\1" + name)
        journal.write(
            len(name).to_bytes(4, "big") + total.to_bytes(4, "big") + sqlite.JOURNAL_HEADER
        )
    live = describe(backup.root)
    copies = backup.made()
    assert copies.as_they_were == {"app.db": "its journal belongs to an unfinished transaction"}
    assert describe(backup.root) == live
    assert victim.exists()
