"""SIGKILL while a database is dumped or loaded: it is wholly old, and nothing of ours stays."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.checkout import Checkout, wait_until

pytestmark = pytest.mark.engine
SMALL_STACK = True

#: Enough for a load that can be hit in its middle.
FILLED = """
INSERT INTO projects (name, settings)
SELECT 'filled ' || g, jsonb_build_object('text', repeat(md5(g::text), 20))
  FROM generate_series(1, 150000) g
"""
DIGEST = "SELECT count(*), sum(hashtextextended(p::text, 0)) FROM projects p"
#: Somebody of ours moves rows of `projects` at this moment.
MOVING = """
SELECT 1 FROM pg_stat_activity a JOIN pg_stat_progress_copy c ON c.pid = a.pid
 WHERE a.application_name LIKE 'quiesce:%' AND c.tuples_processed > 0 AND c.command = '{}'
"""
RUNS = {
    "dump": (["backup", "--only", "rulesdb"], "COPY TO"),
    "load beside": (["restore", "--file", "FULL", "--only", "rulesdb", "--yes"], "COPY FROM"),
    "rows beside": (["restore", "--file", "FULL", "--data-only", "--only", "rulesdb", "--yes"],
                    "COPY FROM"),
    "rows in place": (["restore", "--file", "FULL", "--data-only", "--in-place", "--no-safety",
                       "--only", "rulesdb", "--confirm", "REPLACE core"], "COPY FROM"),
}  # fmt: skip


@pytest.fixture(scope="module")
def full(core: Checkout) -> str:
    """A set with many rows; what is live is something else afterwards."""
    core.sql("rulesdb", FILLED)
    name: str = core.succeed("backup", "--json").document["set"]["name"]
    core.sql("rulesdb", "UPDATE projects SET settings = '{\"changed\": true}' WHERE id % 7 = 0")
    return name


@pytest.mark.parametrize("run", RUNS)
def test_a_kill_in_the_middle_leaves_the_old_state(core: Checkout, full: str, run: str) -> None:
    """The rows as they were, no session, lock or side database; and the next run goes through."""
    given, command = RUNS[run]
    arguments = [full if argument == "FULL" else argument for argument in given]
    before, running, sets = core.sql("rulesdb", DIGEST), core.running(), core.sets()
    # A helper of the run is a container of the same service, so it is looked up before.
    (db,) = core.containers("label=com.docker.compose.service=db")
    ask = ("exec", db, "psql", "-XAtq", "-U", "postgres", "-c", MOVING.format(command))
    process = core.start_inv(*arguments)
    wait_until(lambda: core.docker(*ask), f"rows that move in a {run}")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    # The guard may be at it already.
    core.succeed("recover", "--yes", "--wait", "60")
    core.wait_until_back(running)
    assert core.sql("rulesdb", DIGEST) == before
    assert core.leftovers() == []
    assert core.sets() == sets
    core.sql("rulesdb", "SET lock_timeout = '20s'; BEGIN; LOCK TABLE projects; ROLLBACK")


def test_the_same_set_is_restored_afterwards(core: Checkout, full: str) -> None:
    """Killed runs left nothing that would be in the way."""
    core.succeed("restore", "--file", full, "--only", "rulesdb", "--yes")
    assert core.sql("rulesdb", "SELECT count(*) FROM projects WHERE settings ? 'changed'") == ["0"]
