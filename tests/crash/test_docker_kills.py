"""The same on a real engine: killed before and after every kind of step, and recovered.

Six points in the normal run, every kind of step with `--long`, with the guard and without it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.counting import Counting
from tests.support.kills import TASKS, Tried, inv, kill_and_look, positions

pytestmark = pytest.mark.engine

#: Task, kind of step, which of them (from the end), when, and whether there is a guard.
SAMPLE = [
    pytest.param("backup", "StopServices", "after", True, marks=pytest.mark.core),
    ("backup", "ArchiveVolume", "before", False),
    ("backup", "SealSet", "after", True),
    ("restore", "SwapDatabases", "after", False),
    ("restore", "SwapVolume", "after", True),
    ("restore", "StartServices", "after", False),
]


@pytest.fixture(scope="module")
def counting(engine: str) -> Iterator[Counting]:
    """A stack in containers that counts and stops in under a second, with a set of it."""
    with Counting.temporary(on_engine=True) as made:
        made.begin()
        assert inv(made, "never", "-", "backup").returncode == 0
        yield made


@pytest.mark.parametrize(("task", "kind", "when", "guard"), SAMPLE)
def test_a_sample_of_kills(
    counting: Counting, tried: Tried, task: str, kind: str, when: str, guard: bool
) -> None:
    """Where it hurts most."""
    found = [at for at, step in positions(counting, task).items() if step == kind]
    kill_and_look(counting, tried, task, when, found[-1], guard=guard)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("guard", [False, True], ids=["recover", "guard"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_step(
    counting: Counting, tried: Tried, task: str, when: str, guard: bool
) -> None:
    """The last of each kind, which is the one inside."""
    last = {kind: at for at, kind in positions(counting, task).items()}
    for position in last.values():
        kill_and_look(counting, tried, task, when, position, guard=guard)
