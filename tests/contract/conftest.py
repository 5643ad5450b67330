"""What an adapter cannot keep of the contracts by its nature is skipped, by name and with why."""

from __future__ import annotations

import pytest

from tests.contract.host_world import LACKS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what processes cannot have; `tests/integration/test_host.py` has what they have."""
    for item in items:
        name, _, world = item.name.partition("[")
        if world == "host]" and item.path.name == "test_runtime.py" and name in LACKS:
            item.add_marker(pytest.mark.skip(reason=f"runtime host: {LACKS[name]}"))
