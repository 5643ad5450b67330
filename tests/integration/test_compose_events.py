"""Who was started since a moment, where the engine remembers its last 256 events alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from quiesce.adapters.compose.address import find_address
from quiesce.adapters.compose.engine import EngineConnection
from quiesce.adapters.compose.events import StartsListener, who_started
from quiesce.errors import QuiesceError
from tests.contract.runtime_worlds import docker
from tests.support.checkout import wait_until

pytestmark = pytest.mark.engine

VOLUME = f"qevents-{os.getpid()}"
REMEMBERED = 256


@pytest.fixture
def connection(tmp_path) -> Iterator[EngineConnection]:
    """A connection to the engine of the tests."""
    address = find_address(None, os.environ, tmp_path)
    made = EngineConnection(address, lambda: tmp_path, lambda *_: "")
    yield made
    made.close()


@pytest.fixture
def listener(connection: EngineConnection) -> Iterator[StartsListener]:
    """One that listens from the beginning of the test."""
    docker("volume", "create", VOLUME)
    made = StartsListener(connection)
    yield made
    made.close()
    docker("volume", "rm", "--force", VOLUME)


def run(name: str, mount: str) -> None:
    """A container that writes nothing and is gone."""
    options = ["--rm", "--name", name, "--volume", f"{VOLUME}:{mount}"]
    docker("run", *options, os.environ["TINY_IMAGE"], "true")


def test_what_the_engine_has_forgotten_is_known(
    connection: EngineConnection, listener: StartsListener
) -> None:
    """Health checks alone push a start out of its memory in less than a minute."""
    run(f"{VOLUME}-writer", "/data")
    run(f"{VOLUME}-reader", "/data:ro")
    for number in range(REMEMBERED // 2 + 1):
        name = f"{VOLUME}-{number}"
        connection.api.create_volume(name)
        connection.api.remove_volume(name)
    starts = ("events", "--since", "10m", "--until", "0s", "--filter", "event=start")
    assert f"{VOLUME}-writer" not in docker(*starts)
    found = who_started(listener.events(), "another", [], [VOLUME])
    assert found == (f"{VOLUME}-writer",)


def test_where_the_engine_stopped_telling_nothing_is_claimed(listener: StartsListener) -> None:
    """Rather no set than one that is called consistent and may not be."""
    listener.events()
    listener.close()

    def refused() -> bool:
        try:
            listener.events()
        except QuiesceError as error:
            return "containers may have started unnoticed" in error.fact
        return False

    wait_until(refused, "the end of the stream to be noticed")
