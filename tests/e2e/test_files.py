"""Single files of databases, for people and pipes, and where migrations stand."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.checkout import Checkout

pytestmark = pytest.mark.engine
SMALL_STACK = True


def test_files_are_written_for_people_and_pipes(core: Checkout) -> None:
    """Named as the old Makefile named them, private, complete; nothing stops for it."""
    core.write("first")
    before = core.started()
    document = core.succeed("backup-db", "--json").document
    names = [path.rpartition("/")[2] for path in (f["path"] for f in document["files"])]
    assert [re.sub(r"\d", "#", name) for name in names] == [
        "rulesdb-########-######.sql", "memorydb-########-######.sql",
    ]  # fmt: skip
    for name in names:
        path = core.folder / "backups" / name
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"-- PostgreSQL database dump complete" in path.read_bytes()[-200:]
    assert "project first" in (core.folder / "backups" / names[0]).read_text()
    core.succeed("backup-db", "--database", "memorydb", "--data-only", "--compress")
    (packed,) = (core.folder / "backups").glob("memorydb-data-*.sql.zst")
    plain = subprocess.run(["zstd", "-dc", packed], capture_output=True, check=True).stdout
    assert b"memory of first" in plain
    assert b"CREATE TABLE" not in plain
    core.succeed("backup-db", "--database", "rulesdb", "--schema-only")
    (schema,) = (core.folder / "backups").glob("rulesdb-schema-*.sql")
    assert "CREATE TABLE" in schema.read_text()
    assert "project first" not in schema.read_text()
    assert core.started() == before
    assert core.leftovers() == []
    assert core.inv("backup-db", "--database", "rulsdb").code == 2
    assert core.inv("backup-db", "--data-only", "--schema-only").code == 2
    assert not list(core.folder.glob("backups/.staging/*"))


def test_migrations_say_where_each_database_stands(core: Checkout) -> None:
    """At the newest; with two rows in the version table exit 7, and what is unknown by name."""
    rows = core.succeed("migrations", "--json").document["migrations"]
    assert {row["database"] for row in rows} == {"rulesdb", "memorydb"}
    assert all(row["current"] == row["heads"] and not row["pending"] for row in rows)
    core.sql("memorydb", "INSERT INTO alembic_version VALUES ('nobody_knows')")
    try:
        result = core.inv("migrations", "--json")
        assert result.code == 7
        (row,) = [row for row in result.document["migrations"] if row["database"] == "memorydb"]
        assert row["unknown"] == ["nobody_knows"]
        refused = core.inv("migrate", "--database", "memorydb")
        assert refused.code in (2, 3)
        assert "nobody_knows" in refused.err
    finally:
        core.sql("memorydb", "DELETE FROM alembic_version WHERE version_num = 'nobody_knows'")
    assert core.inv("migrations", "--database", "rulsdb").code == 2


def test_a_database_is_restored_under_another_name(core: Checkout) -> None:
    """Beside the live one, which goes on; nothing stops, and a name that is taken is refused."""
    core.write("beside")
    name = core.succeed("backup", "--json").document["set"]["name"]
    core.sql("rulesdb", "UPDATE projects SET name = 'changed' WHERE name = 'project beside'")
    before, started = core.contents(), core.started()
    restore = ("restore", "--file", name, "--yes")
    assert core.inv(*restore, "--as", "rulesdb_then").code == 2
    only = (*restore, "--only", "rulesdb")
    for taken in ("memorydb", "rulesdb", "postgres"):
        assert core.inv(*only, "--as", taken).code == 2
    assert core.inv(*only, "--data-only", "--as", "rulesdb_then").code == 2
    told = core.succeed(*only, "--as", "rulesdb_then")
    assert "rulesdb_then is not backed up" in told.out + told.err
    try:
        query = "SELECT count(*) FROM projects WHERE name = 'project beside'"
        assert core.sql("rulesdb_then", query) == ["1"]
        assert (core.contents(), core.started()) == (before, started)
        assert core.inv(*only, "--as", "rulesdb_then").code == 2
        assert core.leftovers() == []
    finally:
        core.sql("postgres", "DROP DATABASE rulesdb_then")
