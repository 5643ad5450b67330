"""Rows alone on the real stack: lost databases made anew by migrations, and rows put in place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import Checkout

pytestmark = pytest.mark.engine
SMALL_STACK = True


def in_databases(core: Checkout) -> dict[str, Any]:
    """What a user sees of both databases."""
    contents = core.contents()
    return {name: contents[name] for name in ("projects", "rules", "memories")}


@pytest.fixture(scope="module")
def rows_of(core: Checkout) -> tuple[Path, dict[str, Any]]:
    """The set that a shutdown made, and what was in the databases then."""
    core.write("first")
    before = in_databases(core)
    core.succeed("shutdown")
    (made,) = core.sets()
    core.succeed("start")
    return made, before


def nuke_and_restore(core: Checkout, made: Path) -> None:
    """As it was done by hand before: nuke, up, migrate, restore the rows, bring up the rest."""
    core.succeed("nuke", "--confirm", "NUKE core")
    core.succeed("up", "--service", "db")
    core.succeed("migrate")
    restored = core.succeed("restore", "--file", made.name, "--yes", "--json").document
    assert {d["key"] for d in restored["restored"]["databases"]} == {"rulesdb", "memorydb"}
    core.succeed("up")


def test_after_nuke_and_migrate_the_rows_come_back(
    core: Checkout, rows_of: tuple[Path, dict[str, Any]]
) -> None:
    """Seed rows that a migration made among them: replaced, not doubled; counters go on."""
    made, before = rows_of
    core.write("second")
    nuke_and_restore(core, made)
    assert in_databases(core) == before
    assert core.leftovers() == []
    # The next id is a new one: sequences were set.
    core.write("third")
    core.succeed("restore", "--file", "latest:data", "--yes")
    assert in_databases(core) == before


@pytest.mark.long
def test_three_times_in_a_row_it_is_identical(
    core: Checkout, rows_of: tuple[Path, dict[str, Any]]
) -> None:
    """Nothing of a round shows in the next one."""
    made, before = rows_of
    for round_ in range(3):
        core.write(f"round-{round_}")
        nuke_and_restore(core, made)
        assert in_databases(core) == before


@pytest.mark.core
def test_rows_are_put_in_place_and_can_be_taken_back(
    core: Checkout, rows_of: tuple[Path, dict[str, Any]]
) -> None:
    """One transaction on the live database, with the safety set as the way back."""
    made, before = rows_of
    core.write("fourth")
    written = in_databases(core)
    plan = core.succeed(
        "restore", "--file", made.name, "--in-place", "--only", "rulesdb", "--dry-run"
    ).out
    assert "replace the rows of rulesdb with databases/rulesdb.dump" in plan
    assert plan.index("stop backend") < plan.index("replace the rows") < plan.index("start backend")
    core.succeed("restore", "--file", made.name, "--in-place", "--only", "rulesdb", "--yes")
    now = in_databases(core)
    assert (now["projects"], now["rules"]) == (before["projects"], before["rules"])
    assert now["memories"] == written["memories"]
    core.succeed("undo-restore", "--yes")
    assert in_databases(core) == written
    assert core.leftovers() == []


@pytest.fixture(scope="module")
def full(core: Checkout, rows_of: tuple[Path, dict[str, Any]]) -> Path:
    """A full set of one database and one volume."""
    name = core.succeed("backup", "--only", "rulesdb,backend-media", "--json").document["set"][
        "name"
    ]
    return core.folder / "backups" / str(name)


REFUSED = {
    "two databases in place": (["--in-place", "--yes"], 2, "one database at a time"),
    "no way back without the phrase": (
        ["--in-place", "--only", "rulesdb", "--no-safety", "--yes"], 6, "REPLACE core",
    ),
    "an option for rows with all of a set": (
        ["--file", "FULL", "--in-place", "--yes"], 2, "--in-place applies only when rows",
    ),
    "a volume has no rows": (
        ["--file", "FULL", "--data-only", "--only", "backend-media", "--yes"], 2, "is a volume",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_cannot_be_is_refused_and_nothing_stops(
    core: Checkout, rows_of: tuple[Path, dict[str, Any]], full: Path, wrong: str
) -> None:
    """Each with its exit code, fact and hint."""
    arguments, code, words = REFUSED[wrong]
    given = [full.name if argument == "FULL" else argument for argument in arguments]
    if "--file" not in given:
        given = ["--file", rows_of[0].name, *given]
    before, written = core.started(), in_databases(core)
    result = core.inv("restore", *given)
    assert result.code == code, result.err
    assert words in result.err
    assert (core.started(), in_databases(core)) == (before, written)


def test_rows_of_newer_code_are_refused_by_name(
    core: Checkout, rows_of: tuple[Path, dict[str, Any]]
) -> None:
    """Their revision is said, and what to do; nothing is stamped or downgraded."""
    newest = max((core.folder / "migrations" / "versions").glob("*.py"))
    hidden = newest.with_suffix(".hidden")
    os.rename(newest, hidden)
    try:
        result = core.inv("restore", "--file", rows_of[0].name, "--yes")
        assert result.code == 2
        assert "unknown to alembic.ini" in result.err
        assert "check out the code" in result.err
    finally:
        os.rename(hidden, newest)


def test_rows_of_an_older_revision_are_migrated(
    core: Checkout, rows_of: tuple[Path, dict[str, Any]]
) -> None:
    """Loaded at the revision they are of, compared there, and only then brought to the newest."""
    versions = core.folder / "migrations" / "versions"
    newest = max(versions.glob("*.py"))
    head = newest.read_text().split('\nrevision = "')[1].split('"')[0]
    later = versions / "rulesdb_9999_later.py"
    later.write_text(
        f'revision = "rulesdb_9999"\ndown_revision = "{head}"\n'
        "from alembic import op\n\n\ndef upgrade():\n"
        "    op.execute(\"UPDATE rules SET title = title || ' (later)'\")\n"
    )
    try:
        core.succeed("restore", "--file", rows_of[0].name, "--only", "rulesdb", "--yes")
        (revision,) = core.sql("rulesdb", "SELECT version_num FROM alembic_version")
        assert revision == "rulesdb_9999"
        titles = core.sql("rulesdb", "SELECT title FROM rules")
        assert titles
        assert all(title.endswith(" (later)") for title in titles)
        # In place there is nothing to migrate on, and the difference is said.
        result = core.inv(
            "restore", "--file", rows_of[0].name, "--in-place", "--only", "rulesdb", "--yes"
        )
        assert result.code == 2
        assert "is at rulesdb_9999" in result.err
    finally:
        later.unlink()
