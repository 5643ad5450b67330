"""Which points of a long matrix the normal run tries: others in each run, all with `--long`.

The seed of a run is in pytest's header; `QUIESCE_TEST_SEED=N ./inv test` tries the same points.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence

import pytest

SEED = "QUIESCE_TEST_SEED"
#: So many points at the beginning and at the end are always tried: there each one is another thing.
EDGE = 4
#: Between them one of so many.
EVERY = 10


def choose_seed() -> str:
    """Return the seed of this run; the workers of a run inherit it."""
    return os.environ.setdefault(SEED, str(random.randrange(10_000)))


def chance(name: str) -> random.Random:
    """Return the random numbers of one test, the same for one seed in whatever order tests run."""
    return random.Random(f"{choose_seed()} {name}")


def require_in_sample(
    name: str, point: object, points: Sequence[object], count: int, *, all_of_them: bool
) -> None:
    """Skip the test of this point unless it is one of the `count` points that this run tries."""
    if not all_of_them and point not in chance(name).sample(list(points), count):
        pytest.skip("not in the sample of this run; --long tries all")


def each_kill(name: str, try_one: Callable[[int], bool], *, all_of_them: bool) -> int:
    """Try the points 0, 1, 2 … until one was not killed any more; return how many there are.

    `try_one` says whether its point was killed. Without `all_of_them` it is called for every
    point at both ends and for one of each few between them.
    """
    numbers = chance(name)
    tried, point = set(), 0
    while try_one(point):
        tried.add(point)
        point += 1 if all_of_them or point < EDGE else numbers.randint(1, 2 * EVERY - 1)
    # The first point that lived may lie before this one, and what comes before it is not tried.
    for earlier in range(max(tried, default=-1) + 1, point):
        if not try_one(earlier):
            point = earlier
            break
        tried.add(earlier)
    for left in range(max(0, point - EDGE), point):
        if left not in tried:
            assert try_one(left), f"{name}: point {left} was not killed, a later one was"
    return point
