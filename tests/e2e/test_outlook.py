"""What a dry run says about space and downtime, on a stack of one service and one volume."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.amounts import size
from quiesce.app.wiring import end_host_processes
from quiesce.plan.expected import OWN
from tests.support.place import ONE_VOLUME, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The stack, up, with 200 kB in its volume."""
    made = Place(tmp_path, ONE_VOLUME)
    try:
        made.succeed("up")
        (made.volume("media") / "upload").write_bytes(random.Random(3).randbytes(200_000))
        yield made
    finally:
        end_host_processes(tmp_path)


def test_a_downtime_is_expected_only_after_one_was_measured(place: Place) -> None:
    """Backups and restores each by their own runs; the first set is judged by the volume's size."""
    restore = ("restore", "--file", "latest", "--yes")
    first = place.succeed("backup", "--dry-run")
    assert f"the set needs about {size(200_000 + OWN)}" in first
    assert "judging by the size of the data" in first
    assert "services will be down" not in first
    assert "ok       free space" in place.succeed("check")
    place.succeed("backup")
    assert "services will be down" not in place.succeed(*restore, "--dry-run")
    assert re.search(
        r"be down for about .* — as in the last run\n", place.succeed("backup", "--dry-run")
    )
    place.succeed(*restore)
    place.succeed(*restore)
    text = place.succeed(*restore, "--dry-run")
    assert re.search(r"services will be down for .* — as in the last 2 runs\n", text), text
    down, again = text.index("services are stopped: web"), text.index("these services run again")
    assert down < text.index("stop web") < text.index("exchange volume media") < again
    assert again < text.index("after success:")
    assert text.index("stage volume media") < down
