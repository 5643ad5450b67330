"""A backup and a restore of MariaDB, killed by SIGKILL before and after their steps.

On a real engine. Afterwards what ran runs, the database is wholly old or wholly new and so is the
volume, and nothing of the dead run is left on the server.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support import preloaded
from tests.support.checkout import wait_until
from tests.support.composed import Folder
from tests.support.kills import positions_of
from tests.support.mariadb_app import client, facts, last, mariadb_application
from tests.support.sampling import chance

pytestmark = pytest.mark.engine

TASKS = {
    "backup": ("backup",),
    "restore": ("restore", "--file", "latest", "--no-safety", "--yes"),
}
#: What holds and exchanges databases is killed in each run, of the other steps so many.
ALWAYS = {
    "backup": ("ExportSnapshot", "DumpDatabase"),
    "restore": ("LoadDump", "BlockConnections", "SwapDatabases", "DropDatabase"),
}
FEW = 1


@pytest.fixture(scope="module")
def app(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """The stack."""
    with mariadb_application(tmp_path_factory.mktemp("kills")) as made:
        assert made.quiesce("init", "--yes").returncode == 0
        yield made


def mark(app: Folder, word: str) -> None:
    """Write a word into the database and the volume."""
    script = "CREATE TABLE IF NOT EXISTS marked (word text); DELETE FROM marked;"
    client(app, f"{script} INSERT INTO marked VALUES ('{word}')")
    app.compose("exec", "-T", "app", "sh", "-c", f"echo {word} > /data/marked")


def marks(app: Folder) -> set[str]:
    """The words that are there."""
    return {
        client(app, "SELECT word FROM marked"),
        app.compose("exec", "-T", "app", "cat", "/data/marked").strip(),
    }


def killed(app: Folder, when: str, position: str, task: str) -> int:
    """Run the task with a death in it."""
    return preloaded.run(
        [sys.executable, "-m", "tests.support.killing", when, position, *TASKS[task]],
        cwd=app.path,
        env={**app.environment, "QUIESCE_GUARD": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    ).returncode


@pytest.mark.parametrize("task", TASKS)
def test_a_killed_task_leaves_one_state(
    app: Folder, task: str, request: pytest.FixtureRequest
) -> None:
    """`recover` finishes it or takes it back, and the task goes through afterwards."""
    mark(app, "old")
    assert app.quiesce("backup").returncode == 0
    planned = app.quiesce(*TASKS[task], "--dry-run", "--json")
    steps = positions_of(json.loads(planned.stdout)["plan"])
    points = [(when, at) for at in steps for when in ("before", "after")]
    if not request.config.getoption("--long"):
        others = [point for point in points if steps[point[1]] not in ALWAYS[task]]
        points = [("after", at) for at, kind in steps.items() if kind in ALWAYS[task]]
        points += chance(f"mariadb kills {task}").sample(others, FEW)
    before = facts(app).replace("markedBASE TABLE,", "")
    databases = client(app, "SHOW DATABASES")
    for when, at in points:
        here = f"{when} {at} ({steps[at]})"
        mark(app, "new")
        assert killed(app, when, at, task) == -signal.SIGKILL, here
        recovered = app.quiesce("recover", "--yes")
        assert recovered.returncode == 0, (here, recovered.stderr)
        found = marks(app)
        assert len(found) == 1, (here, found)
        assert task == "restore" or found == {"new"}, here
        assert client(app, "SHOW DATABASES") == databases, here
        assert facts(app).replace("markedBASE TABLE,", "") == before, here
        assert client(app, "SELECT count(*) FROM information_schema.processlist"
                           " WHERE user = 'root'") == "1", here  # fmt: skip
        written = last(app)
        wait_until(lambda seen=written: last(app) > seen, f"the application to write, {here}")
    assert app.quiesce(*TASKS[task]).returncode == 0
    assert marks(app) == ({"old"} if task == "restore" else {"new"})
