"""A database with something in the way of every kind, by every task, on a real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quiesce.adapters.postgres.admin import PostgresAdmin
from quiesce.commands.backup import run_backup
from quiesce.commands.check import run_check
from quiesce.commands.restore import run_restore
from quiesce.commands.verify import run_verify
from quiesce.errors import CheckFailed, RequestError
from quiesce.plan.backup import BackupRequest
from quiesce.plan.restore_request import RestoreRequest
from tests.support.counting import Counting

pytestmark = pytest.mark.engine

#: A check that reads a table which is loaded later, a key that rows break, a materialized view
#: whose query fails now.
SQL = """
CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1), (2);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
INSERT INTO child VALUES (10, 1), (11, 2);
SET session_replication_role = replica; DELETE FROM parent WHERE id = 2;
RESET session_replication_role;
CREATE FUNCTION known(k int) RETURNS boolean LANGUAGE plpgsql AS
    'BEGIN RETURN EXISTS (SELECT FROM parent WHERE id = k); END';
CREATE TABLE a_item (id int PRIMARY KEY, parent int CHECK (known(parent)));
INSERT INTO a_item VALUES (1, 1);
CREATE MATERIALIZED VIEW quotient AS SELECT 1 / id AS q FROM child;
INSERT INTO child VALUES (0, 1);
"""
ROWS = "SELECT (SELECT count(*) FROM child), (SELECT count(*) FROM a_item)"
VALID = "SELECT convalidated FROM pg_constraint WHERE conname = 'child_parent_fkey'"


@pytest.fixture(scope="module")
def counting(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    """The stack at work; one of its databases has everything in it, and there is a set."""
    made = Counting.make(tmp_path_factory.mktemp("obstacles") / "app", on_engine=True)
    try:
        made.begin()
        made.sql("rulesdb", SQL)
        run_backup(made.session(), BackupRequest())
        yield made
    finally:
        made.destroy()


def said(counting: Counting) -> str:
    """What was said since the last time it was asked."""
    text = counting.said.getvalue()
    counting.said.seek(0)
    counting.said.truncate()
    return text


def test_a_backup_and_a_check_name_it(counting: Counting) -> None:
    """Known before the disaster: in a warning, in the manifest, in `inv check`."""
    run_check(counting.session())
    text = said(counting)
    (backup,) = counting.sets()
    (record,) = [r for r in backup.manifest.databases if r.key == "rulesdb"]
    assert [o.kind for o in record.obstacles] == ["names", "orphans"]
    for obstacle in record.obstacles:
        assert text.count(obstacle.fact) == 2
    assert "a full restore needs --not-valid" in text


def test_verify_says_that_the_set_is_whole_and_what_it_needs(counting: Counting) -> None:
    """A restore on an empty machine, in a copy: exit 7, and the set stays a good one."""
    with pytest.raises(CheckFailed, match="the set is intact, but cannot") as caught:
        run_verify(counting.session(), "latest", everything=False, deep=False, restore=True)
    lines = [caught.value.fact, *caught.value.details]
    assert any("child_parent_fkey" in line for line in lines)
    assert any("quotient" in line for line in lines)
    assert "needs --not-valid --skip-broken" in caught.value.hint
    assert not any("damaged" in line for line in (*lines, caught.value.hint))
    (backup,) = counting.sets()
    assert backup.state.verified_good


def test_a_whole_restore_needs_the_flags_it_names(counting: Counting) -> None:
    """In place of the live one, and beside it: refused with the flag, and then every row."""
    counting.sql("rulesdb", "DELETE FROM child; DELETE FROM a_item")
    with pytest.raises(RequestError, match="complete, but cannot be restored") as caught:
        run_restore(counting.session(), "latest", RestoreRequest(("rulesdb",)))
    assert "--not-valid" in caught.value.hint
    allowed = RestoreRequest(("rulesdb",), not_valid=True, skip_broken=True)
    run_restore(counting.session(), "latest", allowed)
    assert counting.sql("rulesdb", ROWS) == [(3, 1)]
    assert counting.sql("rulesdb", VALID) == [(False,)]
    beside = RestoreRequest(("rulesdb",), not_valid=True, skip_broken=True, beside="looked")
    run_restore(counting.session(), "latest", beside)
    assert counting.sql("looked", ROWS) == [(3, 1)]
    counting.sql("postgres", "DROP DATABASE looked")


def test_what_would_keep_databases_from_being_held_is_found_before_anything_stops(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stopped, and no set was made."""
    problem = "the server has too little room for locks"
    monkeypatch.setattr(PostgresAdmin, "rehearse", lambda *_: (problem,))
    sets = counting.sets()
    said(counting)
    with pytest.raises(RequestError, match=problem):
        run_backup(counting.session(), BackupRequest())
    assert "stop counter" not in said(counting)
    assert counting.sets() == sets
