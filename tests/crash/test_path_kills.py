"""A restore of bind-mounted folders, killed by SIGKILL before and after each of its steps.

On a real engine. Afterwards what ran runs, each folder is wholly old or wholly new, all of them the
same, and nothing of the dead run is left in them or beside them.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support import preloaded
from tests.support.folder_stack import FolderStack, wait_until
from tests.support.kills import positions_of
from tests.support.sampling import chance

pytestmark = pytest.mark.engine

RESTORE = ("restore", "--file", "latest", "--only", "photos,far", "--no-safety", "--yes")
#: What exchanges folders is killed in each run, of the other steps so many.
FEW = 1


@pytest.fixture(scope="module")
def stack(engine: str) -> Iterator[FolderStack]:
    """The stack, with a set of its folders."""
    with FolderStack.temporary() as made:
        made.begin()
        mark(made, "old")
        made.succeed("backup", "--only", "photos,far")
        yield made


def mark(stack: FolderStack, word: str) -> None:
    """Write a word into both folders."""
    (stack.photos / "albums/mark").write_text(word)
    (stack.outside / "mark").write_text(word)


def words(stack: FolderStack) -> set[str]:
    """The words that stand in the folders."""
    return {file.read_text() for file in (stack.photos / "albums/mark", stack.outside / "mark")}


def killed(stack: FolderStack, when: str, position: str) -> subprocess.CompletedProcess[str]:
    """Run the restore with a death in it."""
    return preloaded.run(
        [sys.executable, "-m", "tests.support.killing", when, position, *RESTORE],
        cwd=stack.folder,
        env={**stack.environment, "QUIESCE_GUARD": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_killed_restore_leaves_one_state(
    stack: FolderStack, request: pytest.FixtureRequest
) -> None:
    """`inv recover` finishes it or takes it back, and a restore afterwards goes through."""
    steps = positions_of(json.loads(stack.succeed(*RESTORE, "--dry-run", "--json"))["plan"])
    exchanging = [at for at, kind in steps.items() if "Swap" in kind or "Exchange" in kind]
    assert exchanging, steps
    points = [(when, at) for at in steps for when in ("before", "after")]
    if not request.config.getoption("--long"):
        first, last = exchanging[0], exchanging[-1]
        others = [point for point in points if point[1] not in exchanging]
        points = [("after", first), ("after", last)]
        points += chance("path kills").sample(others, FEW)
    ran = stack.running()
    seen = set()
    for when, at in points:
        mark(stack, "new")
        died = killed(stack, when, at)
        assert died.returncode == -signal.SIGKILL, (when, at, died.stderr)
        stack.succeed("recover", "--yes")
        here = f"{when} {at} ({steps[at]})"
        assert stack.running() == ran, here
        found = words(stack)
        assert len(found) == 1, (here, found)
        seen |= found
        for folder in (stack.photos, stack.outside):
            assert [*folder.rglob(".quiesce-*"), *folder.parent.glob(".quiesce-*")] == [], here
        (stack.photos / "n").unlink()
        wait_until((stack.photos / "n").exists, f"the service to write, {here}")
    assert seen == {"old", "new"}
    mark(stack, "new")
    stack.succeed(*RESTORE)
    assert words(stack) == {"old"}
