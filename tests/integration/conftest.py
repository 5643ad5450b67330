"""What several of these tests stand on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.volumes_killer import Killer


@pytest.fixture
def killer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Killer:
    """Its stand-ins come first on PATH for the rest of the test."""
    made = Killer(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    return made
