"""Which files of tests begin first, and which of the expensive ones have their turn in this run.

A new file, and one that costs little, is tried by every run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from tests.costs import read_costs
from tests.support import sampling

#: Seconds from which on a file takes turns with others.
EXPENSIVE = 10.0
REASON = "has its turn in another run, as one of {} files that cost much; --long runs all of them"


def order_and_draw(items: list[pytest.Item], one_in: int) -> None:
    """Put the most expensive files first, so that no worker is alone with one at the end.

    Of the expensive files only one in `one_in` is left to run, and of the others their tests
    marked `core`.
    """
    costs = read_costs()
    items.sort(key=lambda item: -costs.get(_file(item), 0))
    if one_in == 1:
        return
    files = {_file(item) for item in items}
    drawn = draw(files, costs, one_in)
    skip = pytest.mark.skip(reason=REASON.format(one_in))
    for item in items:
        if _file(item) not in drawn and item.get_closest_marker("core") is None:
            item.add_marker(skip)


def draw(files: Collection[str], costs: Mapping[str, float], one_in: int) -> set[str]:
    """Return the files that this run tries: the cheap ones and one of each `one_in` others.

    Only files that cost about the same are drawn against each other, so runs of all seeds take
    about as long, and each file has its turn in one of `one_in` runs on average.
    """
    expensive = sorted(
        (name for name in files if costs.get(name, 0) >= EXPENSIVE),
        key=lambda name: (-costs[name], name),
    )
    drawn = set(files) - set(expensive)
    numbers = sampling.chance("files of this run")
    for start in range(0, len(expensive), one_in):
        # The last files may be fewer; each of them has the same chance as all others.
        place = start + numbers.randrange(one_in)
        drawn |= set(expensive[place : place + 1])
    return drawn


def _file(item: pytest.Item) -> str:
    folder, _, name = str(item.path.with_suffix("")).rpartition("/tests/")
    return name if folder else str(item.path)
