"""Containers that are stopped, and started, at the same time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from quiesce.adapters.compose.containers import ComposeUnits
from quiesce.adapters.compose.parallel import with_each
from quiesce.adapters.compose.runtime import ComposeRuntime
from quiesce.errors import LostEngine, QuiesceError, ServiceFailed
from quiesce.observed import Unit
from tests.contract.runtime_worlds import compose_stack, docker, remove_project

PROJECT = f"qatonce-{os.getpid()}"
#: Each ends well only if the other is asked to end meanwhile.
COMPOSE = """
services:
  one: &pair
    image: ${TINY_IMAGE}
    entrypoint: [sh, /pair.sh, one, two]
    stop_grace_period: 60s
    volumes: ["meeting:/meeting", "./pair.sh:/pair.sh:ro"]
  two:
    <<: *pair
    entrypoint: [sh, /pair.sh, two, one]
volumes: {meeting: {}}
"""
PAIR = """
meet() { touch "/meeting/$1"; until test -e "/meeting/$2"; do sleep 0.05; done; exit 0; }
rm -f "/meeting/$1"
trap "meet $1 $2" TERM
while :; do sleep 0.1; done
"""
#: Seconds that a test waits for the other unit; only a failure takes that long.
PATIENCE = 30.0


@pytest.fixture(scope="module")
def runtime(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeRuntime]:
    """Two services that run."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "docker-compose.yml").write_text(COMPOSE)
    (folder / "pair.sh").write_text(PAIR)
    variables = {"STACK": PROJECT, "TINY_IMAGE": os.environ["TINY_IMAGE"]}
    env_file = folder / "core.env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    made = ComposeRuntime(compose_stack(folder, PROJECT, env_file, variables))
    try:
        made.up((), build=False)
        yield made
    finally:
        made.close()
        remove_project(PROJECT, folder)


@pytest.fixture
def pair(runtime: ComposeRuntime) -> tuple[Unit, ...]:
    """Return their units, as they are before the test."""
    return tuple(unit for service in runtime.services() for unit in service.units)


def running(runtime: ComposeRuntime) -> set[str]:
    """Return the services that run now."""
    return {service.name for service in runtime.services() if service.running}


@pytest.mark.engine
def test_units_that_stop_together_end_at_the_same_time(
    runtime: ComposeRuntime, pair: tuple[Unit, ...]
) -> None:
    """One after another, the first would wait for the second until it is killed."""
    results = runtime.stop(pair, 1.0, together=True)
    assert [(result.unit, result.exit_code) for result in results] == [(u, 0) for u in pair]
    runtime.start(pair)
    assert running(runtime) == {"one", "two"}


class _Starts:
    """Counts how many starts are in progress at the same time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meet: Callable[[], object]) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        real = ComposeUnits.start

        def start(units: ComposeUnits, unit: Unit) -> bool:
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
            meet()
            done = real(units, unit)
            with self._lock:
                self._now -= 1
            return done

        monkeypatch.setattr(ComposeUnits, "start", start)


@pytest.mark.engine
def test_units_that_start_together_start_at_the_same_time(
    runtime: ComposeRuntime, pair: tuple[Unit, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start waits for the other to be requested. One whose container was removed is made
    again."""
    runtime.stop(pair, 1.0, together=True)
    docker("rm", pair[1].id)
    starts = _Starts(monkeypatch, threading.Barrier(2, timeout=PATIENCE).wait)
    runtime.start(pair, together=True)
    assert starts.most == 2
    assert running(runtime) == {"one", "two"}


@pytest.mark.engine
def test_units_start_in_order_beside_a_container_outside_of_the_project(
    runtime: ComposeRuntime, pair: tuple[Unit, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may remember addresses, and those are handed out in the order of starts."""
    runtime.stop(pair, 1.0, together=True)
    outside, network = f"{PROJECT}-outside", f"{PROJECT}_default"
    image = os.environ["TINY_IMAGE"]
    docker("run", "--detach", "--name", outside, "--network", network, image, "sleep", "600")
    try:
        starts = _Starts(monkeypatch, lambda: None)
        runtime.start(pair, together=True)
        assert starts.most == 1
        assert running(runtime) == {"one", "two"}
    finally:
        docker("rm", "--force", outside)


@pytest.mark.parametrize("lost", [False, True])
def test_all_units_are_tried_and_each_failure_is_named(lost: bool) -> None:
    """A lost engine is reported as such. All of them have ended before the error is raised."""
    units = [Unit(name, name, name, "exited", "none") for name in ("a", "b", "c", "d")]
    tried: set[str] = set()

    def act(unit: Unit) -> str:
        if unit.service == "a":
            raise QuiesceError("a failed", "mend a")
        if unit.service == "b":
            raise LostEngine("no answer") if lost else QuiesceError("b failed", "mend b")
        tried.add(unit.service)
        return unit.service

    with pytest.raises(QuiesceError) as caught:
        with_each(act, units)
    assert tried == {"c", "d"}
    if lost:
        assert caught.value.lost_engine
    else:
        assert isinstance(caught.value, ServiceFailed)
        assert caught.value.services == ("a", "b")
        assert (caught.value.fact, caught.value.hint) == ("a failed; b failed", "mend a; mend b")
    assert with_each(lambda unit: unit.name, units) == ("a", "b", "c", "d")
