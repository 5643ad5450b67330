"""Reaching engines and ports: shared networks, tunnels, an engine far away, and never the wrong
server."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quiesce.adapters.compose import endpoint as compose_endpoint
from quiesce.adapters.compose.address import Address
from quiesce.adapters.compose.endpoint import Relay, Way
from quiesce.adapters.compose.engine import EngineConnection
from quiesce.adapters.compose.runtime import ComposeRuntime
from quiesce.errors import QuiesceError, RequestError
from quiesce.ports import DIRECTORY, Endpoint
from tests.contract.runtime_worlds import (
    SERVER,
    compose_stack,
    connected,
    docker,
)
from tests.engine.second import SecondEngine
from tests.support.far import far_engine

pytestmark = pytest.mark.engine

PROJECT = f"qcompose-reach-{os.getpid()}"
COMPOSE = """
services:
  db:
    image: ${TINY_IMAGE}
    command: [python3, -c, "$SERVER"]
    stop_grace_period: 1s
    ports: ["7000", "127.0.0.1::7001"]
    networks: [inside]
  beside:
    image: ${TINY_IMAGE}
    network_mode: service:db
    stop_grace_period: 1s
networks:
  inside: {internal: true}
"""


def image() -> str:
    """Return the smallest image there is."""
    return os.environ.get("TINY_IMAGE", "quiesce-test/tiny")


def make_folder(folder: Path) -> Path:
    """Write the project's files into a folder and return it."""
    folder.mkdir(exist_ok=True)
    (folder / "docker-compose.yml").write_text(COMPOSE)
    (folder / "core.env").write_text(f"TINY_IMAGE={image()}\nSERVER='{SERVER}'\n")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """The project, up on the first engine."""
    found = make_folder(tmp_path_factory.mktemp("reach"))
    runtime = runtime_of(found)
    try:
        runtime.up([], build=False)
        yield found
    finally:
        runtime.remove([])
        runtime.close()


def runtime_of(folder: Path, *ways: Way, **fields) -> ComposeRuntime:
    """Return a runtime onto the project that may take only these ways (none named: all)."""
    environment = fields.pop("outer", None)
    stack = compose_stack(folder, PROJECT, folder / "core.env", {}, **fields)
    chosen = ways or compose_endpoint.WAYS
    return ComposeRuntime(stack, environment=environment, ways=chosen)


def speak(endpoint: Endpoint) -> bytes:
    """Return what the server at this endpoint says."""
    with connected(endpoint.host, endpoint.port) as connection:
        connection.sendall(b"ping")
        return connection.recv(100)


@pytest.mark.parametrize("way", ["direct", "relay"])
def test_who_shares_anothers_network_is_reached_there(folder: Path, way: Way):
    """It has no address and publishes nothing: its owner does."""
    runtime = runtime_of(folder, way)
    assert speak(runtime.endpoint("beside", 7000)) == b"pong"
    runtime.close()


@pytest.mark.parametrize("program", ["python3", "bash"])
def test_each_relay_program_carries_everything(
    folder: Path, monkeypatch: pytest.MonkeyPatch, program: str
):
    """Images have one or the other; large answers arrive whole."""
    only = {program: compose_endpoint.RELAYS[program]}
    monkeypatch.setattr(compose_endpoint, "RELAYS", only)
    runtime = runtime_of(folder, "relay")
    endpoint = runtime.endpoint("db", 7000)
    assert endpoint.host == "127.0.0.1"
    with connected(endpoint.host, endpoint.port) as connection:
        sent = 0
        for _ in range(200):
            connection.sendall(b"x" * 100)
            sent += len(connection.recv(4))
        assert sent > 0
    assert speak(endpoint) == b"pong"
    runtime.close()
    with pytest.raises(ConnectionError):
        speak(endpoint)


@pytest.mark.parametrize("program", ["python3", "bash"])
def test_a_relay_ends_with_its_connections(
    folder: Path, monkeypatch: pytest.MonkeyPatch, program: str
):
    """Nothing of ours runs in the container, where its server would be its parent; when we leave,
    the helper beside it is gone."""
    only = {program: compose_endpoint.RELAYS[program]}
    monkeypatch.setattr(compose_endpoint, "RELAYS", only)
    runtime = runtime_of(folder, "relay")
    endpoint = runtime.endpoint("db", 7000)
    before = processes()
    with connected(endpoint.host, endpoint.port) as connection:
        connection.sendall(b"ping")
        connection.recv(100)
        assert processes() == before
        assert len(helpers()) == 1
        runtime.close()
    assert not helpers()


def helpers() -> list[str]:
    """Return the helper containers of this project."""
    return docker("ps", "--all", "--quiet", "--filter", f"label=quiesce.project={PROJECT}").split()


def processes() -> list[str]:
    """Return what runs inside the container of `db`."""
    return docker("top", f"{PROJECT}-db-1", "-eo", "pid,args").splitlines()[1:]


def test_an_image_without_any_relay_program_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """And the hint says what else would do."""
    monkeypatch.setattr(compose_endpoint, "RELAYS", {"no-such-relay": lambda port: []})
    runtime = runtime_of(folder, "relay")
    with pytest.raises(
        QuiesceError, match="no image of the stack has one of no-such-relay"
    ) as caught:
        runtime.endpoint("db", 7000)
    assert "publish the port" in caught.value.hint
    runtime.close()


def test_a_port_nobody_listens_on_is_an_error_where_it_can_be_told(folder: Path):
    """Direct: the connection is refused."""
    runtime = runtime_of(folder, "direct")
    with pytest.raises(QuiesceError, match="port 7999 of service db does not answer"):
        runtime.endpoint("db", 7999)
    runtime.close()


@pytest.fixture
def forwarded() -> Iterator[Path]:
    """The first engine's socket, forwarded by a process of ours as ssh would forward it."""
    host = os.environ["DOCKER_HOST"]
    relay = Relay(["docker", "--host", host, "system", "dial-stdio"], dict(os.environ))
    yield relay.listen_on_socket()
    relay.close()


def test_a_forwarded_socket_is_neither_local_nor_trusted_with_addresses(
    folder: Path, forwarded: Path
):
    """It may lead to any machine: only the container itself is surely the right one."""
    outer = {**os.environ, "DOCKER_HOST": f"unix://{forwarded}"}
    runtime = runtime_of(folder, outer=outer)
    assert runtime.engine().local is False
    assert runtime.is_local() is False
    assert speak(runtime.endpoint("db", 7000)) == b"pong"
    runtime.close()


def test_an_engine_over_ssh_is_reached_through_the_command_line(forwarded: Path):
    """The SDK speaks to a socket of ours; every connection is one `docker system dial-stdio`."""
    first = Address(os.environ["DOCKER_HOST"], "")
    far = replace(first, host="ssh://nobody@nowhere")
    identity = docker("info", "--format", "{{.ID}}")
    connection = EngineConnection(far, lambda: forwarded, lambda *_: identity)
    assert connection.engine().id == identity
    assert connection.engine().local is False
    assert connection.api.containers(all=True) is not None
    connection.close()


def test_two_engines_at_one_address_are_refused(forwarded: Path):
    """What the SDK stops and what Compose starts would be two worlds."""
    address = Address(os.environ["DOCKER_HOST"], "")
    connection = EngineConnection(address, lambda: forwarded, lambda *_: "ANOTHER:ENGINE")
    with pytest.raises(RequestError, match="reach different engines"):
        connection.engine()
    connection.close()


@pytest.fixture(scope="module")
def second() -> Iterator[SecondEngine]:
    """An engine far away, with the smallest image."""
    with far_engine([image()]) as engine:
        yield engine


def test_the_instances_context_leads_sdk_and_command_line_to_one_engine(
    second: SecondEngine, folder: Path, tmp_path: Path
):
    """DOCKER_HOST says the first engine, DOCKER_CONTEXT nonsense, the instance the second."""
    key = hashlib.sha256(b"far").hexdigest()
    meta = tmp_path / "config" / "contexts" / "meta" / key
    meta.mkdir(parents=True)
    endpoint = {"docker": {"Host": second.host, "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": "far", "Endpoints": endpoint}))
    outer = {
        **os.environ,
        "DOCKER_CONFIG": str(tmp_path / "config"),
        "DOCKER_CONTEXT": "nonsense",
        "DOCKER_CLI_PLUGIN_EXTRA_DIRS": "",
    }
    runtime = runtime_of(make_folder(tmp_path / "far"), context="far", outer=outer)
    first = runtime_of(folder)
    try:
        assert runtime.engine().id != first.engine().id
        assert runtime.engine().local is False
        assert runtime.is_local() is False
        assert not any(service.units for service in runtime.services())
        runtime.up([], build=False)
        assert all(service.running for service in runtime.services())
        assert all(volume.mountpoint is None for volume in runtime.volumes([]))
        assert speak(runtime.endpoint("db", 7000)) == b"pong"
        (tmp_path / "given").write_text("from here\n")
        copy = ["cp", f"{DIRECTORY}/given", f"{DIRECTORY}/made"]
        runtime.run_tool("db", copy, environment={}, directory=tmp_path, writable=True, label="far")
        assert (tmp_path / "made").read_text() == "from here\n"
        assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
        runtime.stop([u for s in runtime.services() for u in s.units], 0)
        assert all(service.running for service in first.services())
    finally:
        runtime.remove([])
        runtime.close()
        first.close()


def test_a_lost_engine_is_an_error_in_words(second: SecondEngine, tmp_path: Path):
    """No traceback of a driver, and the hint says what to do."""
    outer = {**os.environ, "DOCKER_HOST": second.host}
    runtime = runtime_of(make_folder(tmp_path / "far"), outer=outer)
    runtime.engine()
    second.cut()
    try:
        runtime._connection.api.timeout = 3
        with pytest.raises(QuiesceError, match="the docker engine stopped answering") as caught:
            runtime.services()
        assert "inv recover" in caught.value.hint
    finally:
        second.mend()
        runtime.close()


def test_this_module_leaves_no_relay_behind():
    """Children of ours that are still there would be the next test's trouble."""
    seen = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"{PROJECT}-db" not in seen.stdout
