"""Measuring volumes at once, and saying so when it takes a while."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from quiesce.app import volume_sizes
from quiesce.errors import QuiesceError
from quiesce.ports import VolumeSize
from tests.support.builders import a_world


class Sink:
    """Remembers what was told; the first note sets `told`."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.told = threading.Event()

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.told.set()

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def ports(measure: Any, sink: Sink) -> Any:
    """Ports with just these two."""
    return SimpleNamespace(volumes=SimpleNamespace(measure=measure), sink=sink)


def test_who_waits_is_told_what_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume that is not done after a moment is named while it is still being measured."""
    monkeypatch.setattr(volume_sizes, "PATIENCE", 0.01)
    sink = Sink()

    def measure(state: Any) -> VolumeSize:
        if state.key == "backend-media":
            assert sink.told.wait(30), "nobody was told"
        return VolumeSize(60_000, 5)

    sizes = volume_sizes.measure(ports(measure, sink), a_world().volumes)
    assert sizes["backend-media"] == (60_000, 5)
    assert len(sizes) == 6
    assert "backend-media" in sink.notes[-1]


def test_what_cannot_be_measured_is_unknown_and_the_rest_is_known() -> None:
    """An absent volume is not asked for at all."""

    def measure(state: Any) -> VolumeSize:
        if state.key == "redis-data":
            raise QuiesceError("it is not reached", "see why")
        return VolumeSize(1, 2)

    sink = Sink()
    world = a_world(missing_volumes=("proxy-logs",))
    sizes = volume_sizes.measure(ports(measure, sink), world.volumes)
    assert sizes["redis-data"] is None
    assert sizes["backend-media"] == (1, 2)
    assert "proxy-logs" not in sizes
    assert sink.warnings == ["volume redis-data cannot be measured: it is not reached"]
