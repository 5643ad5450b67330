"""How often a service that starts slowly is asked whether it is healthy, by a clock of the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from quiesce.adapters.compose import containers
from quiesce.adapters.compose.health_checks import HealthChecks
from quiesce.adapters.compose.inspected import LABEL_PROJECT_NAME
from quiesce.observed import Unit


class Clock:
    """Stands in for the module `time`: it goes on only while somebody sleeps."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Api:
    """One container that is healthy after a while; `probes` is when it was asked."""

    def __init__(self, clock: Clock, healthy_after: float) -> None:
        self.clock, self.healthy_at = clock, clock.now + healthy_after
        self.probes: list[float] = []
        self.looks = 0

    def inspect_container(self, container: str) -> dict[str, Any]:
        self.looks += 1
        state = {
            "Status": "running",
            "Health": {"Status": "starting"},
            "FinishedAt": "2026-11-29T10:00:00Z",
        }
        config = {"Healthcheck": {"Test": ["CMD", "check"]}, "Labels": {LABEL_PROJECT_NAME: "p"}}
        return {"Id": container, "Name": "/p-web-1", "State": state, "Config": config}

    def exec_create(self, container: str, command: list[str]) -> dict[str, str]:
        assert command == ["check"]
        self.probes.append(self.clock.now)
        return {"Id": str(len(self.probes))}

    def exec_start(self, identity: str, *, detach: bool) -> None:
        assert detach

    def exec_inspect(self, identity: str) -> dict[str, Any]:
        well = self.probes[-1] >= self.healthy_at
        return {"Running": False, "ExitCode": 0 if well else 1}


def wait(monkeypatch: pytest.MonkeyPatch, healthy_after: float) -> tuple[Api, float]:
    """Wait for that container; return what was asked and for how long was waited."""
    clock = Clock()
    monkeypatch.setattr(containers, "time", clock)
    api = Api(clock, healthy_after)
    units = containers.ComposeUnits(SimpleNamespace(api=api, kind="docker"), "p")  # type: ignore[arg-type]
    unit = Unit("web", "p-web-1", "c1", "running", "healthy", "no")
    (waited,) = units.wait([unit], 120.0, lambda _: None, ()).values()
    return api, waited


def test_a_service_that_starts_at_once_is_found_healthy_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Within the two shortest pauses."""
    api, waited = wait(monkeypatch, 0.3)
    assert waited <= 0.3 + 2 * containers.PROBE_EVERY
    assert len(api.probes) <= 3


@pytest.mark.parametrize("seconds", [2.0, 6.0, 20.0, 60.0])
def test_the_longer_it_takes_the_less_often_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Every three seconds at the least, and soon after it became healthy it is known."""
    api, waited = wait(monkeypatch, seconds)
    pauses = [after - before for before, after in zip(api.probes, api.probes[1:], strict=False)]
    assert pauses[0] < 0.5
    assert max(pauses) <= containers.LONGEST_PROBE + 1.0
    assert len(api.probes) < 8 + seconds / 2
    assert waited - seconds <= min(containers.LONGEST_PROBE + 1.0, 0.3 + seconds)
    assert api.looks < 20 + seconds * 4


def test_overdue_checks_are_run_as_long_as_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no longer: an engine that leaves them undone would keep the service `starting`."""
    events: list[str] = []

    @contextmanager
    def run_overdue(_: HealthChecks) -> Iterator[None]:
        events.append("begin")
        yield
        events.append("end")

    monkeypatch.setattr(HealthChecks, "run_overdue", run_overdue)
    probe = Api.exec_create
    monkeypatch.setattr(Api, "exec_create", lambda *a: (events.append("asked"), probe(*a))[1])
    wait(monkeypatch, 0.0)
    assert events == ["begin", "asked", "end"]
