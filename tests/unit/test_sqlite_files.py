"""SQLite databases in archives: which are found, and what a check of a copy says."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from quiesce.adapters import sqlite
from quiesce.adapters.volumes.sqlite_files import check_archived
from quiesce.errors import QuiesceError
from quiesce.model import SqliteRecord
from quiesce.plan.sqlite import summary

#: Each check is a process.
pytestmark = pytest.mark.thorough


def nothing(text: str, count: int) -> None:
    """Nobody watches."""


def make(path: Path, rows: int = 100, *, more: str = "") -> Path:
    """A database with one table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            f"PRAGMA foreign_keys = OFF; CREATE TABLE a (id INTEGER PRIMARY KEY, text TEXT); {more}"
        )
        connection.executemany("INSERT INTO a (text) VALUES (?)", [("x" * 500,)] * rows)
    return path


def archive(tree: Path, file: Path, *options: str) -> Path:
    """Archive a folder as a volume is archived."""
    command = ["tar", "-c", "--sparse", "--format=posix", *options, "-f", str(file), "-C"]
    subprocess.run([*command, str(tree), "."], check=True)
    return file


def found(folder: Path, *archives: Path, gone: Path | None = None) -> dict[str, SqliteRecord]:
    """What is in these archives, by name; no copy is left over."""
    scratch = folder / "scratch"
    result = check_archived(archives, gone, scratch, nothing)
    assert list(scratch.iterdir()) == []
    return {one.file: one for one in result}


def test_databases_are_found_by_their_header_whatever_their_name(tmp_path: Path) -> None:
    """And nothing else is."""
    tree = tmp_path / "tree"
    make(tree / "app.db", 3)
    make(tree / "deep/er/no suffix", 4)
    make(tree / os.fsdecode(b"bytes \xff.db"), 5)
    (tree / "text.db").write_bytes(b"SQLite format 4\0" + b"x" * 496)
    (tree / "short.db").write_bytes(b"SQLite")
    (tree / "empty.db").touch()
    (tree / "link.db").symlink_to("app.db")
    os.link(tree / "app.db", tree / "second name")
    result = found(tmp_path, archive(tree, tmp_path / "0.tar"))
    names = {"app.db", "second name"} & {*result}
    assert len(names) == 1
    assert {*result} - names == {"deep/er/no suffix", "bytes \\xff.db"}
    assert result["deep/er/no suffix"] == SqliteRecord(
        "deep/er/no suffix", (tree / "deep/er/no suffix").stat().st_size, {"a": 4}
    )
    assert result["bytes \\xff.db"].tables == {"a": 5}


def unread(tree: Path) -> dict[str, tuple[int, ...]]:
    """What changes if somebody writes to the files, and not if tar reads them."""
    found = {path.name: path.stat() for path in tree.iterdir()}
    return {name: (one.st_ino, one.st_size, one.st_mtime_ns) for name, one in found.items()}


def test_a_log_belongs_to_its_database(tmp_path: Path) -> None:
    """Rows that are only in the write-ahead log count, and the live files stay as they are."""
    tree = tmp_path / "tree"
    make(tree / "app.db", 3)
    with closing(sqlite3.connect(tree / "app.db", isolation_level=None)) as live:
        live.execute("PRAGMA journal_mode = WAL")
        live.execute("PRAGMA wal_autocheckpoint = 0")
        live.executemany("INSERT INTO a (text) VALUES (?)", [("y",)] * 7)
        assert (tree / "app.db-wal").stat().st_size
        before = unread(tree)
        result = found(tmp_path, archive(tree, tmp_path / "0.tar"))
        assert unread(tree) == before
    assert [*result] == ["app.db"]
    assert result["app.db"].tables == {"a": 10}


def test_half_a_transaction_is_rolled_back(tmp_path: Path) -> None:
    """A server that was killed leaves a hot journal."""
    tree = tmp_path / "tree"
    make(tree / "app.db", 2000)
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('PRAGMA cache_spill = 1')\n"
        "c.execute('BEGIN'); c.execute('UPDATE a SET text = text || 1')\n"
        "c.execute('DELETE FROM a WHERE id > 1000'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run(["python3", "-c", code, str(tree / "app.db")], check=False)
    assert (tree / "app.db-journal").stat().st_size
    result = found(tmp_path, archive(tree, tmp_path / "0.tar"))
    assert result["app.db"] == SqliteRecord("app.db", result["app.db"].bytes, {"a": 2000})


def test_level_1_goes_over_level_0(tmp_path: Path) -> None:
    """A database that changed counts as it is in level 1; one that was deleted does not count."""
    tree = tmp_path / "tree"
    make(tree / "changed.db", 1)
    make(tree / "stays.db", 2)
    make(tree / "gone/below.db", 3)
    make(tree / "deleted.db", 3)
    (tree / "stays.db-wal").write_bytes(b"")
    zero = archive(tree, tmp_path / "0.tar")
    later = tmp_path / "later"
    make(later / "changed.db", 9)
    make(later / "deleted.db", 4)
    one = archive(later, tmp_path / "1.tar")
    gone = tmp_path / "1.gone"
    gone.write_bytes(b"./gone\0./deleted.db\0")
    result = found(tmp_path, zero, one, gone=gone)
    assert {name: one.tables for name, one in result.items()} == {
        "changed.db": {"a": 9},
        "stays.db": {"a": 2},
        "deleted.db": {"a": 4},
    }


def test_damage_is_named(tmp_path: Path) -> None:
    """The rest is checked all the same."""
    tree = tmp_path / "tree"
    broken = make(tree / "broken.db", 2000)
    content = bytearray(broken.read_bytes())
    content[4096 * 10 : 4096 * 12] = os.urandom(4096 * 2)
    broken.write_bytes(content)
    make(tree / "cut.db", 2000)
    os.truncate(tree / "cut.db", 4096 * 50)
    (tree / "header.db").write_bytes(sqlite.HEADER)
    make(tree / "good.db")
    result = found(tmp_path, archive(tree, tmp_path / "0.tar"))
    assert {name for name, one in result.items() if one.problems} == {
        *("broken.db", "cut.db", "header.db"),
    }
    assert result["good.db"].is_good
    assert summary(result.values()) == "4 databases, 1 good"


def test_orphans_are_counted_and_are_no_damage(tmp_path: Path) -> None:
    """Many applications work without foreign keys."""
    tree = tmp_path / "tree"
    more = "CREATE TABLE b (a INTEGER REFERENCES a (id)); INSERT INTO b VALUES (900), (901);"
    make(tree / "app.db", 3, more=more)
    result = found(tmp_path, archive(tree, tmp_path / "0.tar"))["app.db"]
    assert (result.orphans, result.is_good) == (2, True)


def test_what_only_the_application_can_read_is_no_damage(tmp_path: Path) -> None:
    """Its own collations and functions, and features of later versions of SQLite."""
    tree = tmp_path / "tree"
    tree.mkdir()
    with closing(sqlite3.connect(tree / "own.db")) as connection, connection:
        connection.create_collation("own", lambda a, b: (a > b) - (a < b))
        connection.execute("CREATE TABLE a (t TEXT COLLATE own)")
        connection.executemany("INSERT INTO a VALUES (?)", [("x",), ("y",)])
        connection.execute("CREATE INDEX i ON a (t)")
    make(tree / "later.db", 2)
    with closing(sqlite3.connect(tree / "later.db")) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE a (id, text) FUTURE'")
    result = found(tmp_path, archive(tree, tmp_path / "0.tar"))
    assert "no such collation sequence: own" in result["own.db"].unchecked
    assert "malformed database schema" in result["later.db"].unchecked
    assert all(one.problems == () for one in result.values())


def test_a_database_with_holes_is_found(tmp_path: Path) -> None:
    """It is stored in another form."""
    tree = tmp_path / "tree"
    tree.mkdir()
    with closing(sqlite3.connect(tree / "app.db")) as connection:
        # The first bytes of each page of a large value are a pointer.
        connection.execute("PRAGMA page_size = 65536")
        connection.execute("CREATE TABLE a (value BLOB)")
        connection.execute("INSERT INTO a VALUES (zeroblob(4000000))")
        connection.commit()
    subprocess.run(["fallocate", "--dig-holes", str(tree / "app.db")], check=True)
    file = archive(tree, tmp_path / "0.tar")
    assert file.stat().st_size < 1_000_000
    assert found(tmp_path, file)["app.db"].tables == {"a": 1}


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("while True: pass", "did not end within"),
        ("import os; os.kill(os.getpid(), 11)", "the check ended with 139"),
        ("raise SystemExit(3)", "the check ended with 3"),
    ],
)
def test_a_check_that_does_not_end_well_says_nothing(
    tmp_path: Path, program: str, said: str
) -> None:
    """Whatever a hostile file does to SQLite, the run goes on."""
    path = make(tmp_path / "app.db", 1)
    (tmp_path / "child.py").write_text(program)
    found = sqlite.check(path, "app.db", 1, most_seconds=1, child=tmp_path / "child.py")
    assert found.problems == ()
    assert said in found.unchecked


def test_a_foreign_key_to_no_key_is_no_damage(tmp_path: Path) -> None:
    """SQLite refuses to check such a schema, and applications live with it."""
    tree = tmp_path / "tree"
    more = "CREATE TABLE b (a TEXT REFERENCES a (text)); INSERT INTO b VALUES ('y');"
    make(tree / "app.db", 3, more=more)
    assert found(tmp_path, archive(tree, tmp_path / "0.tar"))["app.db"].is_good


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """It says nothing about what it held."""
    tree = tmp_path / "tree"
    make(tree / "app.db", 2000)
    file = archive(tree, tmp_path / "0.tar")
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(QuiesceError, match=r"0\.tar is not a readable tar archive"):
        found(tmp_path, file)


def test_a_full_disk_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of the database then."""
    tree = tmp_path / "tree"
    make(tree / "app.db", 20)
    file = archive(tree, tmp_path / "0.tar")

    def on_a_full_disk(**_: object) -> tuple[int, str]:
        return os.open("/dev/full", os.O_WRONLY), str(tmp_path / "never there")

    monkeypatch.setattr("tempfile.mkstemp", on_a_full_disk)
    result = found(tmp_path, file)["app.db"]
    assert result.unchecked == "there was no space for a copy of it"


def test_copies_leave_room_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set that is being made needs it more."""
    tree = tmp_path / "tree"
    size = make(tree / "app.db", 20).stat().st_size
    file = archive(tree, tmp_path / "0.tar")
    for free, said in ((size + (64 << 20), ""), (size, "there was no space for a copy of it")):
        usage = shutil._ntuple_diskusage(1 << 40, 0, free)
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        assert found(tmp_path, file)["app.db"].unchecked == said


def test_no_copy_is_made_of_anything_else(tmp_path: Path) -> None:
    """Not even for a moment: files of a volume can be as large as the disk."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "large").write_bytes(b"x" * 5_000_000)
    (tree / "large-wal").write_bytes(b"x" * 5_000_000)
    shutil.rmtree(tmp_path / "scratch", ignore_errors=True)
    assert found(tmp_path, archive(tree, tmp_path / "0.tar")) == {}


#: Ends with a hot journal: pages of an open transaction were written to the database.
_KILLED = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 5")
db.execute("BEGIN")
db.execute("UPDATE a SET text = 'b' || text")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("shortened", [False, True])
def test_a_file_that_a_journal_names_stays(tmp_path: Path, *, shortened: bool) -> None:
    """SQLite would remove it, wherever it is, as the journal that several databases share."""
    tree, precious = tmp_path / "tree", tmp_path / "precious"
    file = make(tree / "app.db", 1000)
    subprocess.run([sys.executable, "-c", _KILLED, str(file)], check=False)
    precious.write_bytes(b"/nowhere/a-journal\0")
    name = os.fsencode(precious)
    # https://www.sqlite.org/fileformat2.html: page number, name, length, sum, header.
    ending = (
        b"\0\0\0\0" + name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big")
    ) + sqlite.JOURNAL_HEADER
    journal = tree / "app.db-journal"
    assert journal.stat().st_size > 512
    with journal.open("r+b") as stream:
        if shortened:
            stream.truncate(len(sqlite.JOURNAL_HEADER))
        stream.seek(0, os.SEEK_END)
        stream.write(ending)
    one = found(tmp_path, archive(tree, tmp_path / "0.tar"))["app.db"]
    assert precious.exists()
    assert "several databases" in one.unchecked
