"""What several of these tests stand on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.volumes_killer import Killer
from tests.integration.volumes_support import KIND
from tests.support.sampling import chance


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With `--long`, every test of volumes runs for entries of `paths` too."""
    if metafunc.config.getoption("--long") and _is_of_volumes(metafunc.module.__name__):
        metafunc.fixturenames.append("source_kind")
        metafunc.parametrize("source_kind", ["volume", "path"], indirect=True)


@pytest.fixture(autouse=True)
def source_kind(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test of volumes is about: a volume, or a folder in `paths`. One of the two by chance,
    unless all are tried."""
    if not _is_of_volumes(request.module.__name__):
        yield
        return
    chosen = getattr(request, "param", None)
    KIND[0] = chosen or chance(request.node.nodeid).choice(["volume", "path"])
    yield
    KIND[0] = "volume"


def _is_of_volumes(module: str) -> bool:
    return module.rpartition(".")[2].startswith("test_volumes_")


@pytest.fixture
def killer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Killer:
    """Its stand-ins come first on PATH for the rest of the test."""
    made = Killer(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    return made
