"""Never the wrong server: an address that also exists here is not proof of anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.adapters.compose.address import Address
from quiesce.adapters.compose.endpoint import ComposeReach, Way
from quiesce.errors import QuiesceError
from quiesce.ports import Endpoint


class Connection:
    """An engine at an address, saying of itself what a test wants."""

    def __init__(self, host: str, **info: object) -> None:
        self.address = Address(host, "")
        self.info = info


@pytest.fixture
def server() -> Iterator[int]:
    """Somebody else's server, on a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def container(port: int, *, network: str = "0" * 64, bound: str = "127.0.0.1") -> dict:
    """A container whose address, and whose published port, exist on this machine too."""
    return {
        "Id": "c0ffee",
        "HostConfig": {"NetworkMode": "app_default"},
        "NetworkSettings": {
            "Networks": {"app_default": {"NetworkID": network, "IPAddress": "127.0.0.1"}},
            "Ports": {f"{port}/tcp": [{"HostIp": bound, "HostPort": str(port)}]},
        },
    }


def reach(connection: Connection, way: Way) -> ComposeReach:
    """Return what may go one way only."""
    return ComposeReach(connection, None, None, None, [way])  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["direct", "published"])
@pytest.mark.parametrize("bound", ["0.0.0.0", "127.0.0.1", "::"])
def test_a_socket_is_no_proof_that_the_container_is_here(server: int, way: Way, bound: str):
    """The socket may be forwarded: the network's own bridge must be one of our interfaces."""
    connection = Connection("unix:///run/forwarded.sock")
    with pytest.raises(QuiesceError, match=f"port {server} of service db does not answer"):
        reach(connection, way).endpoint("db", container(server, bound=bound), server)


@pytest.mark.parametrize("way", ["direct", "published"])
def test_a_bridge_of_this_machine_is_the_proof(
    server: int, way: Way, monkeypatch: pytest.MonkeyPatch
):
    """Its name carries the network's random id."""
    seen: list[str] = []

    def exists(path: Path) -> bool:
        seen.append(str(path))
        return True

    monkeypatch.setattr(Path, "exists", exists)
    found = reach(Connection("unix:///x"), way).endpoint("db", container(server), server)
    assert found == Endpoint("127.0.0.1", server)
    assert set(seen) == {"/sys/class/net/br-000000000000"}


@pytest.mark.parametrize(
    "info", [{"OperatingSystem": "Docker Desktop"}, {"SecurityOptions": ["name=rootless"]}]
)
def test_engines_that_publish_on_our_loopback_are_believed(server: int, info: dict):
    """Their bridges are elsewhere, and their published ports are here."""
    connection = Connection("unix:///x", **info)
    found = reach(connection, "published").endpoint("db", container(server), server)
    assert found == Endpoint("127.0.0.1", server)
    with pytest.raises(QuiesceError):
        reach(connection, "direct").endpoint("db", container(server), server)


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("tcp://far.example:2375", "127.0.0.1"),
        ("tcp://localhost:2375", "0.0.0.0"),
        ("tcp://127.0.0.1:2375", "0.0.0.0"),
        ("ssh://far.example", "::1"),
    ],
)
def test_a_loopback_that_is_not_ours_is_not_taken_for_ours(server: int, host: str, bound: str):
    """A far engine's 127.0.0.1, or the one a tunnel ends at, is another machine's."""
    with pytest.raises(QuiesceError, match="does not answer"):
        reach(Connection(host), "published").endpoint("db", container(server, bound=bound), server)


def test_a_published_port_of_a_far_engine_is_reached_on_its_machine(
    server: int, monkeypatch: pytest.MonkeyPatch
):
    """Where the engine listens, its containers publish."""
    monkeypatch.setattr("quiesce.adapters.compose.endpoint._answers", lambda endpoint: True)
    connection = Connection("tcp://far.example:2375")
    found = reach(connection, "published").endpoint(
        "db", container(server, bound="0.0.0.0"), server
    )
    assert found == Endpoint("far.example", server)
