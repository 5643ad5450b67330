"""A real run, killed by SIGKILL before and after every step; a recovery that is killed as well.

On the host runtime, with real services, PostgreSQL and files. Afterwards what ran runs, every set
that is listed verifies, older ones are as they were, the live data is wholly old or wholly new,
and nothing of the dead run is left. The normal run takes a sample of the points, `--long` all.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.execute import journal
from tests.support.counting import Counting, wait_until
from tests.support.kills import (
    TASKS,
    Tried,
    inv,
    kill_and_look,
    let_go,
    manifests,
    mark,
    marks,
    paused,
    positions,
    require_kept,
)

#: So many points of each task in the normal run.
SAMPLE = 3


@pytest.fixture(scope="module")
def counting() -> Iterator[Counting]:
    """A stack that counts, with a set of it."""
    with Counting.temporary() as made:
        made.begin()
        assert made.inv("backup").returncode == 0
        yield made


@pytest.mark.parametrize("guard", [False, True], ids=["recover", "guard"])
@pytest.mark.parametrize("task", TASKS)
def test_a_sample_of_kills(counting: Counting, tried: Tried, task: str, guard: bool) -> None:
    """Spread over the steps of the plan, every other one before it and after it."""
    steps = list(positions(counting, task))
    chosen = [steps[number * (len(steps) - 1) // (SAMPLE - 1)] for number in range(SAMPLE)]
    for number, position in enumerate(chosen):
        when = "before" if (number + guard) % 2 else "after"
        kill_and_look(counting, tried, task, when, position, guard=guard)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("guard", [False, True], ids=["recover", "guard"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("task", TASKS)
def test_every_step_of_a_real_run(
    counting: Counting, tried: Tried, task: str, when: str, guard: bool
) -> None:
    """All of them."""
    for position in positions(counting, task):
        kill_and_look(counting, tried, task, when, position, guard=guard)


def test_a_recovery_that_starts_nothing_is_noticed(counting: Counting) -> None:
    """The proof that the looks above can fail: a mutation of the code."""
    steps = positions(counting, "backup")
    stop = next(at for at in steps if at.endswith("/enter/0") and at.count("/") > 3)
    died = inv(counting, "after", stop, *TASKS["backup"])
    assert died.returncode == -signal.SIGKILL
    assert inv(counting, "broken", "-", "recover").returncode == 0
    with pytest.raises(AssertionError, match="counter does not run"):
        require_kept(counting, {})
    assert counting.inv("start").returncode == 0
    counting.wait_until_it_counts()


def test_a_signal_while_it_tidies_up_says_what_is_done(counting: Counting, tmp_path: Path) -> None:
    """The exchange is made and stays, so nobody may read that everything was put back."""
    steps = positions(counting, "restore")
    tidying = [at for at, kind in steps.items() if kind in ("FinishSwap", "DropDatabase")][-1]
    mark(counting, "before")
    process = paused(counting, tidying, tmp_path / "paused", "restore", guard=False)
    process.send_signal(signal.SIGTERM)
    code, said = let_go(process, tmp_path / "paused")
    assert code == 128 + signal.SIGTERM, said
    assert "the steps that had begun were completed" in said
    assert "put back" not in said
    counting.wait_until_it_counts()
    assert "before" not in marks(counting)


@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("change", ["a mistake in it", "gone"])
def test_a_recovery_goes_by_the_stack_as_it_was(
    counting: Counting, tmp_path: Path, change: str, *, guard: bool
) -> None:
    """Somebody edited stack.yaml in the window, or removed it; other tasks say so."""
    counting.wait_until_it_counts()
    mark(counting, f"{change}, {guard}")
    older = manifests(counting)
    at = [at for at, step in positions(counting, "backup").items() if step == "ArchiveVolume"][-1]
    process = paused(counting, at, tmp_path / "paused", guard=guard)
    assert counting.is_down("counter")
    file = counting.folder / "stack.yaml"
    text = file.read_text()
    try:
        if change == "gone":
            file.unlink()
        else:
            file.write_text(text.replace("retention: few", "retention: fwe"))
        assert inv(counting, "never", "-", "backup").returncode == 2
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if guard:
            folder = counting.folder / "backups" / ".runs" / "core"
            wait_until(lambda: not journal.unfinished(folder), "the guard to settle it")
        else:
            recovered = inv(counting, "never", "-", "recover")
            assert recovered.returncode == 0, recovered.stderr
            assert "using the configuration from when the interrupted run began" in recovered.stderr
    finally:
        file.write_text(text)
    require_kept(counting, older)
