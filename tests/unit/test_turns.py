"""Which files of tests a run tries: every one has its turn, and runs take about as long."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from tests.costs import read_costs
from tests.support import sampling, turns

TESTS = Path(__file__).parent.parent
ONE_IN = 5
SEEDS = 400
COSTS = {f"e2e/test_{number}": 20.0 + number for number in range(23)} | {"e2e/test_cheap": 2.0}
FILES = {*COSTS, "e2e/test_new"}


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """What runs with different seeds try."""
    drawn = []
    for seed in range(SEEDS):
        monkeypatch.setenv(sampling.SEED, str(seed))
        drawn.append(turns.draw(FILES, COSTS, ONE_IN))
    return drawn


def test_every_expensive_file_has_its_turn_as_often_as_others(draws: list[set[str]]) -> None:
    """Within a factor of two, over 400 runs."""
    counts = Counter(name for drawn in draws for name in drawn)
    expensive = [counts[name] for name in COSTS if name != "e2e/test_cheap"]
    assert min(expensive) > SEEDS / ONE_IN / 2
    assert max(expensive) < SEEDS / ONE_IN * 2


def test_cheap_and_new_files_are_tried_by_every_run(draws: list[set[str]]) -> None:
    """New is what has no noted cost."""
    assert all({"e2e/test_cheap", "e2e/test_new"} <= drawn for drawn in draws)


def test_runs_of_all_seeds_cost_about_the_same(draws: list[set[str]]) -> None:
    """Four whole groups of five are one file each, and the last three are one file or none."""
    assert {len(drawn) for drawn in draws} == {6, 7}


def test_one_seed_draws_the_same_in_every_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers collect in the same order, but draw from a set."""
    monkeypatch.setenv(sampling.SEED, "7")
    assert turns.draw(FILES, COSTS, ONE_IN) == turns.draw(sorted(FILES), COSTS, ONE_IN)


def test_the_costs_are_of_files_that_are_there() -> None:
    """A file that was renamed would otherwise be tried by every run."""
    assert [name for name in read_costs() if not (TESTS / f"{name}.py").is_file()] == []


class Item:
    """As much of a collected test as is asked for here."""

    def __init__(self, name: str, *, core: bool) -> None:
        self.path = TESTS / f"{name}.py"
        self.core = core
        self.skipped = False

    def get_closest_marker(self, name: str) -> str | None:
        return name if self.core and name == "core" else None

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.skipped |= mark.name == "skip"


def test_of_a_file_that_waits_only_the_core_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the most expensive file comes first."""
    monkeypatch.setattr(turns, "read_costs", lambda: COSTS)
    monkeypatch.setattr(turns, "draw", lambda files, _costs, _one_in: files - {"e2e/test_3"})
    names = ["e2e/test_cheap", "e2e/test_3", "e2e/test_22"]
    items = [Item(name, core=core) for name in names for core in (True, False)]
    turns.order_and_draw(cast("list[pytest.Item]", items), ONE_IN)
    assert [item.path.stem for item in items][::2] == ["test_22", "test_3", "test_cheap"]
    assert [item.skipped for item in items] == [False, False, False, True, False, False]


def test_without_turns_everything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when pytest is called by hand."""
    monkeypatch.setattr(turns, "read_costs", lambda: COSTS)
    items = [Item(name, core=False) for name in COSTS]
    turns.order_and_draw(cast("list[pytest.Item]", items), 1)
    assert not any(item.skipped for item in items)
