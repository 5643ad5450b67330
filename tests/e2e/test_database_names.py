"""Databases of every name that PostgreSQL takes, through every verb that touches them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from quiesce.commands.lifecycle import run_up
from tests.support.counting import ROOT, Counting
from tests.support.postgres import quoted

#: By key. Two are alike in all that a name beside the live one keeps of them.
NAMES: Mapping[str, str] = {
    "2fauth": "2fauth",
    "Shop.prod": "Shop.prod",
    "odd": "-U host=nowhere \"grüße\" 'x' 100% \\ $HOME;",
    "long1": "ü" * 31 + "1",
    "long2": "ü" * 31 + "2",
}
EMPTY = """\
version: 1
timezone: UTC
instances: {core: {runtime: host, env_file: core.env, retention: few}}
databases:
DATABASES
volumes:
  postgres-data: {purpose: PostgreSQL data, priority: critical, backup: by-dump}
retention:
  few: {keep_last: 3}
services:
  db:
    postgres: embedded
    password: ${POSTGRES_PASSWORD}
    port: ${DB_PORT}
    volumes: {postgres-data: PGDATA}
"""


@pytest.fixture(scope="module")
def counting() -> Iterator[Counting]:
    """A server with one database of each name, each with a row that says which."""
    with Counting.temporary() as made:
        lines = []
        for key, name in NAMES.items():
            entry = 'service: db, port: "${DB_PORT}", password: "${POSTGRES_PASSWORD}"'
            if name != key:
                escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
                entry += f', name: "{escaped}"'
            lines.append(f"  {key}: {{{entry}}}")
        (made.folder / "stack.yaml").write_text(EMPTY.replace("DATABASES", "\n".join(lines)))
        run_up(made.session(), ())
        for key, name in NAMES.items():
            if "postgres" in name or not _exists(made, name):
                made.sql("postgres", f"CREATE DATABASE {quoted(name)}".replace("%", "%%"))
            made.sql(name, f"CREATE TABLE t (word text); INSERT INTO t VALUES ('{key}')")
        yield made


def _exists(counting: Counting, name: str) -> bool:
    found = counting.sql("postgres", "SELECT datname FROM pg_database")
    return (name,) in found


def words(counting: Counting) -> dict[str, list[str]]:
    """What each database says."""
    return {
        key: [w for (w,) in counting.sql(name, "SELECT word FROM t")] for key, name in NAMES.items()
    }


def test_a_database_of_any_name_is_kept_and_comes_back(counting: Counting) -> None:
    """Backed up, restored, its rows alone, beside the live one, from a single file, and undone."""
    kept = {key: [key] for key in NAMES}
    assert words(counting) == kept
    for task in (["check"], ["backup"], ["backup-db"]):
        done = counting.inv(*task)
        assert done.returncode == 0, done.stdout + done.stderr
    (made,) = counting.sets()
    assert {record.key: record.name for record in made.manifest.databases} == NAMES
    changed = {key: ["changed"] for key in NAMES}
    for options in ([], ["--data-only"]):
        for name in NAMES.values():
            counting.sql(name, "UPDATE t SET word = 'changed'")
        done = counting.inv("restore", "--file", "latest", "--yes", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert words(counting) == kept
    undone = counting.inv("undo-restore", "--yes")
    assert undone.returncode == 0, undone.stdout + undone.stderr
    assert words(counting) == changed
    aside = "Copy of = x'"
    done = counting.inv("restore", "--file", "latest", "--only", "odd", "--as", aside, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert counting.sql(aside, "SELECT word FROM t") == [("odd",)]
    counting.sql("postgres", f"DROP DATABASE {quoted(aside)}")
    for key in ("Shop.prod", "odd"):
        (file,) = (counting.folder / "backups").glob(f"{key}-*.sql")
        done = counting.inv("restore", "--file", file.name, "--database", key, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert counting.sql(NAMES[key], "SELECT word FROM t") == [(key,)]
    # Rows alone of a file: how many they are is said, and that nothing says whether they are right.
    done = counting.inv("backup-db", "--database", "2fauth", "--data-only")
    assert done.returncode == 0, done.stderr
    (file,) = (counting.folder / "backups").glob("2fauth-data-*.sql")
    done = counting.inv("restore", "--file", file.name, "--database", "2fauth", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2fauth: 1 table, 1 row, nothing to compare with" in done.stdout + done.stderr
    assert "not compared" in counting.inv("status").stdout
    found = {name for (name,) in counting.sql("postgres", "SELECT datname FROM pg_database")}
    assert found == {*NAMES.values(), "postgres", "template0", "template1"}
    stack = ["--stack", str(counting.folder / "stack.yaml"), "--database", "odd"]
    asked = subprocess.run(
        [sys.executable, "-m", "invoke", "db-shell", *stack, "--", "-XAtc", "SELECT word FROM t"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.stdout.strip() == "odd", asked.stderr
