"""Which files of tests begin first: those that take longest, so that none is last and alone.

`./inv test` prints the slowest files of each run; when the order there has changed much, change it
here. A file that is missing here only begins later.
"""

from __future__ import annotations

import pytest

LONGEST_FIRST: tuple[str, ...] = (
    "e2e/test_cleaning",
    "e2e/test_docker",
    "e2e/test_remote",
    "crash/test_service_faults",
    "e2e/test_lifecycle",
    "e2e/test_drill",
    "e2e/test_wrapper",
    "e2e/test_rows",
    "e2e/test_demo",
    "e2e/test_readme",
    "e2e/test_foreign",
    "integration/test_volumes_levels",
    "crash/test_system_calls",
    "crash/test_real_kills",
    "crash/test_docker_kills",
    "integration/test_volumes_exchange",
)
_PLACES = {name: place for place, name in enumerate(LONGEST_FIRST)}


def place(item: pytest.Item) -> int:
    """Where the file of a test comes in the run; files of one place keep the order they have."""
    folder, _, name = str(item.path.with_suffix("")).rpartition("/tests/")
    return _PLACES.get(name, len(_PLACES)) if folder else len(_PLACES)
