"""`RESTORE.md` compared whole, as text; tests/integration/test_restore_by_hand.py follows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.exclusion import LeftOut
from quiesce.execute.instructions import restore_instructions
from quiesce.model import Manifest, Member, Plain, SqliteRecord, TableRecord, VolumeRecord
from quiesce.obstacles import Obstacle
from tests.support.builders import a_database_record, a_set

FOLDER = Path(__file__).parent / "instructions"

RULES = a_database_record(
    "rulesdb",
    name="Rules db",
    server_version="15.0",
    locale_provider="icu",
    locale="de-x-icu",
    owner="o'neil",
    revision=("0003", "0004"),
)
MEMORY = a_database_record("memorydb", name="a=b", server_version="14.12", revision=())
HERE = (
    Member("g", "globals", "db", "databases/globals.sql", 1, ""),
    Member("h", "globals", "other", "databases/globals-other.sql", 1, ""),
    Member("s", "settings", "memorydb", "databases/memorydb.settings.json", 1, ""),
    Member("t", "database", "rulesdb", "databases/rulesdb.dump", 1, ""),
)
VOLUMES = (
    VolumeRecord("redis-data", "app-redis-data", 3, 400, ("volumes/r.0.tar.zst",), None, "zstd"),
    VolumeRecord(
        *("backend-media", "app-backend-media", 9, 900),
        ("volumes/b.0.tar.zst", "volumes/b.1.tar.zst"),
        *("volumes/b.gone", "zstd"),
        (LeftOut("*.tmp", 2, 20),),
    ),
)


def _full() -> Manifest:
    return replace(a_set().manifest, members=HERE, databases=(RULES, MEMORY), volumes=VOLUMES)


def _broken() -> Manifest:
    names = Obstacle("names", "f() finds its\n tables by the search path")
    orphans = Obstacle("orphans", "rows of a violate b")
    check = Obstacle("check", "rows of a violate c")
    rules = replace(RULES, obstacles=(names,))
    memory = replace(MEMORY, obstacles=(orphans, check), search_path=("$user", 'my "app"'))
    other = replace(memory, key="third", name="third", service="other", server_version="17.5")
    third = replace(other, obstacles=(names, orphans))
    return replace(_full(), databases=(rules, memory, third), volumes=())


def _data() -> Manifest:
    tables = (
        TableRecord("public", "rules", 2, "1"),
        TableRecord("my app", 'it\'s "odd"', 2, "1"),
        TableRecord("pg_catalog", "pg_largeobject", 2, "1"),
        TableRecord("public", "alembic_version", 1, "1"),
        TableRecord("other", "alembic_version", 1, "1"),
    )
    rules = replace(
        RULES,
        tables=tables,
        version_table='"public"."alembic_version"',
        obstacles=(Obstacle("names", "x"),),
    )
    bare = replace(MEMORY, tables=tables[2:3], version_table=None)
    odd = replace(MEMORY, key="odd", name="odd", version_table='"a.b"."it""s"', tables=tables[:1])
    found = replace(_full(), kind="data", databases=(rules, bare, odd), volumes=())
    return replace(found, members=HERE[3:])


def _encrypted(method: str) -> Manifest:
    plain = [replace(m, file=f"{m.file}.{method}", plain=Plain(m.file, 1, "")) for m in HERE]
    open_member = Member("x", "document", "", "private.json", 1, "")
    kept = replace(_full(), kind="schema", databases=(MEMORY,), volumes=())
    return replace(kept, encryption=method, members=(*plain, open_member))


PAGES: dict[str, Callable[[], Manifest]] = {
    "full": _full,
    "with_obstacles": _broken,
    "data": _data,
    "schema_age": lambda: _encrypted("age"),
    "gpg": lambda: replace(_encrypted("gpg"), kind="full"),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_reads_as_it_was_reviewed(name: str) -> None:
    """UPDATE_GOLDEN=1 rewrites the files; the difference is for a person to read."""
    text = restore_instructions(PAGES[name]())
    file = FOLDER / f"{name}.md"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


def test_no_golden_file_is_left_without_a_page() -> None:
    """A file nobody compares proves nothing."""
    assert {file.stem for file in FOLDER.glob("*.md")} == set(PAGES)


@pytest.mark.parametrize(
    ("databases", "volumes", "consistent", "said"),
    [(1, 1, True, True), (0, 2, True, True), (1, 1, False, False), (1, 0, True, False)],
)
def test_only_a_consistent_set_of_several_sources_is_called_of_one_moment(
    databases: int, volumes: int, consistent: bool, said: bool
) -> None:
    """Whoever restores by hand relies on it."""
    kept = {"databases": (RULES,)[:databases], "volumes": VOLUMES[:volumes]}
    text = restore_instructions(replace(_full(), consistent=consistent, **kept))
    assert ("as of one moment" in text) == said


def test_sqlite_databases_are_listed_with_what_is_wrong() -> None:
    """Whoever unpacks the archive has to keep their logs beside them."""
    found = (SqliteRecord("a.db", 9, {"t": 3, "u": 4}), SqliteRecord("b.db", 9, {}, ("torn",)))
    volumes = (replace(VOLUMES[0], sqlite=found),)
    text = restore_instructions(replace(_full(), volumes=volumes))
    assert "SQLite database: `a.db`, 2 tables, 7 rows. Its `-wal` and" in text
    assert "SQLite database: `b.db`, 0 tables, 0 rows; it was damaged: torn. Its" in text


def test_roles_come_from_the_member_with_the_roles() -> None:
    """A database may have the key that its service has."""
    dump = Member("d", "database", "db", "databases/db.dump", 1, "")
    text = restore_instructions(replace(_full(), members=(dump, *HERE)))
    assert "-f databases/globals.sql" in text
    assert "-f databases/db.dump" not in text
