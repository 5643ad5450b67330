"""What tests that kill have in common: how often they did."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kills import Tried


@pytest.fixture(scope="module")
def tried(request: pytest.FixtureRequest) -> Iterator[Tried]:
    """Counts the points of a module, and says so at the end; one that tried none has failed."""
    counts = Tried()
    yield counts
    name = request.module.__name__.rpartition(".")[2]
    print(f"\n{name}: {counts.points} points tried, {counts.kept} kept")
    assert counts.points == counts.kept > 0
