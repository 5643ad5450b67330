"""A sample of points: both ends whole, the same for one seed, and the number of points is right."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.sampling import EDGE, EVERY, SEED, each_kill


def tried_of(total: int, *, all_of_them: bool = False) -> list[int]:
    """Try what has so many points; return those that were tried."""
    tried: list[int] = []

    def try_one(point: int) -> bool:
        tried.append(point)
        return point < total

    assert each_kill("a test", try_one, all_of_them=all_of_them) == total
    assert len(set(tried)) == len(tried)
    return sorted(tried)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("total", [0, 1, EDGE, EDGE + 1, 23, 60])
def test_both_ends_are_whole_and_no_gap_is_long(
    total: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first and the last points are each another thing; between them there are many alike."""
    monkeypatch.setenv(SEED, str(seed))
    tried = tried_of(total)
    ends = {*range(min(EDGE, total)), *range(max(0, total - EDGE), total)}
    assert ends <= {*tried}
    inside = [point for point in tried if point < total]
    assert all(b - a < 2 * EVERY for a, b in pairwise(inside))
    assert tried_of(total) == tried


def test_another_seed_tries_other_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that all of them are tried in the long run."""
    tried: set[int] = set()
    for seed in range(40):
        monkeypatch.setenv(SEED, str(seed))
        tried |= {*tried_of(60)}
    assert {*range(60)} <= tried


def test_all_of_them_are_tried_when_that_is_asked_for() -> None:
    """With `--long`."""
    assert tried_of(60, all_of_them=True) == [*range(61)]
