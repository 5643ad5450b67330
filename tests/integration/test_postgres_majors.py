"""Sets go to the same major and to every newer one, whole and as rows alone: identical."""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path

import psycopg2
import pytest

from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.errors import QuiesceError
from quiesce.execute.comparison import differences, row_differences
from quiesce.model import Database
from quiesce.ports import DatabaseContents
from tests.support.hostile import NEEDS, SCHEMAS
from tests.support.postgres import LocalRuntime, PostgresServer, new_database, nothing
from tests.support.postgres_wheels import RELEASES, server_of

pytestmark = pytest.mark.postgres

RUN = "20261121020000-ab12"
FULL, ROWS, SIDE = "databases/full.dump", "databases/rows.dump", "hostile__new_ab12"
PAIRS = list(combinations_with_replacement(sorted(RELEASES), 2))
#: What rows alone refuse, with the reason (tests of rows alone).
NOT_BY_ROWS = {"large objects"}


def admin_of(server: PostgresServer, database: Database, scratch: Path) -> PostgresAdmin:
    """The adapter, for one database."""
    return PostgresAdmin(LocalRuntime(server), [database], RUN, scratch=scratch)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(old, new, marks=() if (old, new) == (14, 18) else pytest.mark.long)
        for old, new in PAIRS
    ],
    ids=str,
)
def test_a_dump_goes_to_the_same_major_and_to_newer_ones(
    old: int, new: int, tmp_path: Path
) -> None:
    """Every hostile schema that the older major can have at all."""
    source, target = server_of(old), server_of(new)
    done = [
        hazard
        for hazard in SCHEMAS
        if _is_possible(source, hazard) and _goes(source, target, hazard, tmp_path / hazard)
    ]
    print(f"PostgreSQL {old} to {new}: {len(done)} of {len(SCHEMAS)} schemas identical")
    assert len(done) > len(SCHEMAS) // 2


def _is_possible(server: PostgresServer, hazard: str) -> bool:
    if needed := NEEDS.get(hazard):
        query = f"SELECT 1 FROM pg_available_extensions WHERE name = '{needed}'"
        return bool(server.run(query))
    try:
        with new_database(server, "possible", SCHEMAS[hazard]):
            return True
    except psycopg2.Error:
        return False


def _goes(source: PostgresServer, target: PostgresServer, hazard: str, folder: Path) -> bool:
    folder.mkdir()
    scratch = folder / "scratch"
    with new_database(source, "hostile", SCHEMAS[hazard]) as database:
        admin = admin_of(source, database, scratch)
        full = admin.dump(database, "full", folder, FULL, nothing)
        rows = admin.dump(database, "data", folder, ROWS, nothing)
    with new_database(target, "hostile") as database:
        admin = admin_of(target, database, scratch)
        assert admin.check_loadable(database, full) == (), hazard
        admin.create(database, SIDE, full)
        admin.load(database, SIDE, folder, FULL)
        admin.finish(database, SIDE, full)
        found = admin.contents(database, SIDE, full.digest_algorithm)
        assert differences(full, found) == (), hazard
        if hazard in NOT_BY_ROWS:
            return True

        def check(contents: DatabaseContents) -> None:
            if different := row_differences(rows, contents, frozenset()):
                raise QuiesceError(f"{hazard} is different", details=different)

        admin.replace_rows(database, SIDE, rows, folder, ROWS, check)
        return True


def test_a_dump_never_goes_to_an_older_major(tmp_path: Path) -> None:
    """Said before anything is made."""
    source, target = server_of(18), server_of(14)
    with new_database(source, "hostile", "CREATE TABLE t (a int)") as database:
        admin = admin_of(source, database, tmp_path / "scratch")
        record = admin.dump(database, "full", tmp_path, FULL, nothing)
    with new_database(target, "hostile") as database:
        admin = admin_of(target, database, tmp_path / "scratch")
        problems = admin.check_loadable(database, record)
        assert any("18" in problem and "14" in problem for problem in problems)
