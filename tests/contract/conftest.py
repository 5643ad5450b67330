"""What holds for all contracts: the fakes are always tried, and what cannot be kept is skipped."""

from __future__ import annotations

import pytest

from tests.contract.host_world import LACKS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what processes cannot have; `tests/integration/test_host.py` has what they have.

    Other tests trust the fakes, so each run tries them, and they cost nothing.
    """
    for item in items:
        name, _, world = item.name.partition("[")
        if world.startswith("fake"):
            item.add_marker(pytest.mark.core)
        if world == "host]" and item.path.name == "test_runtime.py" and name in LACKS:
            item.add_marker(pytest.mark.skip(reason=f"runtime host: {LACKS[name]}"))
