"""Which projects an engine has of a stack, and which of them run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quiesce.adapters.compose.project_candidates import find_traces, other_projects


class Engine:
    """An engine with one container of another project, from the same Compose file."""

    def __init__(self, folder: Path, state: str) -> None:
        self.labels = {
            "com.docker.compose.project": "other",
            "com.docker.compose.project.config_files": str(folder / "compose.yaml"),
        }
        self.state = state

    @property
    def api(self) -> Any:
        """The SDK's client."""
        return self

    def containers(self, **_: object) -> list[dict[str, Any]]:
        """As the SDK lists them."""
        return [{"Labels": self.labels, "State": self.state}]

    def volumes(self, **_: object) -> dict[str, Any]:
        """None."""
        return {"Volumes": None}


@pytest.mark.parametrize(
    ("state", "runs"),
    [
        *(("running", True), ("paused", True), ("restarting", True)),
        *(("created", False), ("exited", False), ("dead", False), ("removing", False)),
    ],
)
def test_only_what_may_write_is_in_the_way(tmp_path: Path, state: str, runs: bool) -> None:
    """A container that was created only, or died, holds nobody up."""
    files = [tmp_path / "compose.yaml"]
    engine: Any = Engine(tmp_path, state)
    traces = find_traces(engine, tmp_path, files, ["own"], [])
    assert traces["other"].containers
    found = other_projects(traces, "own", ())
    assert [one.project for one in found] == (["other"] if runs else [])
