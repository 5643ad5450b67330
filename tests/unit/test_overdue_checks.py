"""Which health checks are overdue, from what an engine says about its containers."""

from __future__ import annotations

from typing import Any

import pytest

from quiesce.adapters.compose.health_checks import FIRST, HealthChecks, Overdue
from quiesce.errors import RequestError


def _container(**health: Any) -> dict[str, Any]:
    check = {"Test": ["CMD", "true"], "Interval": 5_000_000_000}
    return {
        "Id": "one",
        "State": {"Status": "running", "StartedAt": "10:00", "Health": {"Log": None, **health}},
        "Config": {"Healthcheck": check},
    }


STARTING = _container(Status="starting")
FAILED = _container(Status="starting", Log=[{"End": "10:01"}])


def test_the_first_check_is_due_soon_after_the_start() -> None:
    """It is asked for once, not again while it runs."""
    overdue = Overdue()
    assert overdue.among([STARTING], 100.0) == []
    assert overdue.among([STARTING], 100.0 + FIRST) == ["one"]
    assert overdue.among([STARTING], 100.1 + FIRST) == []


def test_later_ones_are_due_when_their_interval_has_passed() -> None:
    """Counted from the last result: more often, its retries would be used up too early."""
    overdue = Overdue()
    overdue.among([STARTING], 100.0)
    assert overdue.among([FAILED], 103.0) == []
    assert overdue.among([FAILED], 107.9) == []
    assert overdue.among([FAILED], 108.0) == ["one"]


def test_where_something_else_runs_them_none_is_overdue() -> None:
    """As under systemd: each result comes before the next one is due."""
    overdue = Overdue()
    for number in range(5):
        container = _container(Status="starting", Log=[{"End": f"10:0{number}"}])
        assert overdue.among([container], 100.0 + 4.9 * number) == []


def test_after_a_restart_the_count_begins_anew() -> None:
    """The engine forgets the results of the start before."""
    overdue = Overdue()
    overdue.among([FAILED], 100.0)
    again = {**STARTING, "State": {**STARTING["State"], "StartedAt": "10:05"}}
    assert overdue.among([again], 101.0) == []
    assert overdue.among([again], 101.0 + FIRST) == ["one"]


@pytest.mark.parametrize(
    "container",
    [
        _container(Status="healthy", Log=[{"End": "10:01"}]),
        {**STARTING, "State": {"Status": "exited", "StartedAt": "10:00"}},
        {**STARTING, "Config": {"Healthcheck": {"Test": ["NONE"]}}},
    ],
    ids=["healthy", "ended", "without a check"],
)
def test_nobody_waits_for_these(container: dict[str, Any]) -> None:
    """A healthy one, one that does not run, one without a check."""
    overdue = Overdue()
    overdue.among([container], 100.0)
    assert overdue.among([container], 1000.0) == []


class _Api:
    """Podman's Docker API, behind something that lets nothing else through."""

    base_url = "http://engine"

    def __init__(self, status: int) -> None:
        self.status_code = status
        self.asked: list[str] = []

    def get(self, url: str, timeout: float) -> _Api:
        assert timeout > 0
        self.asked.append(url)
        return self


class _Connection:
    def __init__(self, kind: str, status: int) -> None:
        self.kind, self.api = kind, _Api(status)
        self.address = type("Address", (), {"host": "tcp://far:2375"})()


def test_a_wait_that_could_not_end_is_refused() -> None:
    """On Podman, if nothing of what is reached can run a check."""
    with pytest.raises(RequestError, match="service web waits for a healthy service") as caught:
        HealthChecks(_Connection("podman", 403), list).require("web")  # type: ignore[arg-type]
    assert "podman system service" in caught.value.hint


@pytest.mark.parametrize(("kind", "status"), [("podman", 200), ("docker", 404)])
def test_a_wait_that_can_end_is_allowed(kind: str, status: int) -> None:
    """Docker runs its checks itself, and has no such API."""
    HealthChecks(_Connection(kind, status), list).require("web")  # type: ignore[arg-type]
