"""Finds an address at which this machine reaches a port of a container.

The same address may belong to another server: 172.18.0.2 or 127.0.0.1:5432 of a remote engine may
exist locally too. So a direct address is used only if the container's bridge is an interface of
this machine (its name contains the network's random id), a published port only on the engine's own
machine or if it is bound for others, and everything else goes through a helper container in the
container's network.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from quiesce.adapters.compose.containers import ComposeUnits
from quiesce.adapters.compose.engine import EngineConnection, translate_engine_errors
from quiesce.adapters.compose.inspected import Inspected
from quiesce.adapters.compose.relay import RelayHelpers
from quiesce.adapters.process import program as process
from quiesce.errors import QuiesceError
from quiesce.ports import Endpoint

Way = Literal["direct", "published", "relay"]
WAYS: tuple[Way, ...] = ("direct", "published", "relay")

#: Seconds to wait for a connection on the same machine or nearby.
CONNECT_TIMEOUT = 2.0

_PYTHON_RELAY = """
import os, socket, sys, threading
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def up():
    while data := os.read(0, 65536):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536):
    while data:
        data = data[os.write(1, data):]
"""
_BASH_RELAY = """
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
cat <&3 & down=$!
cat <&0 >&3 & up=$!
wait -n
kill "$down" "$up" 2>/dev/null
"""

#: Programs that can relay, best first: the last two lose data in transit when one side closes.
RELAYS: Mapping[str, Callable[[int], list[str]]] = {
    "socat": lambda port: ["socat", "-", f"TCP:127.0.0.1:{port}"],
    "python3": lambda port: ["python3", "-c", _PYTHON_RELAY, str(port)],
    "bash": lambda port: ["bash", "-c", _BASH_RELAY, "relay", str(port)],
    "nc": lambda port: ["nc", "127.0.0.1", str(port)],
}


class Relay:
    """A local listener that connects every connection to the input and output of a program."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._argv = list(argv)
        self._environment = dict(environment)
        self._children: list[subprocess.Popen[bytes]] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def listen_on_port(self) -> Endpoint:
        """Listen on a loopback port and return its address."""
        listener = socket.create_server(("127.0.0.1", 0))
        self._begin(listener)
        return Endpoint("127.0.0.1", listener.getsockname()[1])

    def listen_on_socket(self) -> Path:
        """Listen on a unix socket that only this user can access and return its path."""
        self._folder = tempfile.TemporaryDirectory(prefix="quiesce-")
        path = Path(self._folder.name) / "engine"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        self._begin(listener)
        return path

    def close(self) -> None:
        """Close the listener and every connection."""
        if self._listener is not None and self._thread is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._thread.join(10)
        if self._folder is not None:
            self._folder.cleanup()

    def _begin(self, listener: socket.socket) -> None:
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        self._thread.start()

    def _serve(self, listener: socket.socket) -> None:
        try:
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(QuiesceError, OSError):
                    self._children.append(process.attach(self._argv, connection, self._environment))
                self._children = [child for child in self._children if child.poll() is None]
        except OSError:
            pass  # closed
        finally:
            for child in self._children:
                child.terminate()
            for child in self._children:
                child.wait()


class ComposeReach:
    """Finds a way to a container's port, and keeps the relays that it started."""

    def __init__(
        self,
        connection: EngineConnection,
        units: ComposeUnits,
        relay: Callable[[Sequence[str]], Relay],
        helpers: RelayHelpers,
        ways: Sequence[Way] = WAYS,
    ) -> None:
        self._connection = connection
        self._units = units
        self._make_relay = relay
        self._helpers = helpers
        self._ways = tuple(ways)
        self._places: dict[tuple[str, str], tuple[str, str]] = {}
        self._relays: dict[tuple[str, str, int], tuple[Relay, Endpoint]] = {}

    def endpoint(self, service: str, container: Inspected, port: int) -> Endpoint:
        """Return the address at which this machine reaches that port of a running container."""
        owner = self._owner_of_network(container)
        for way in self._ways:
            if way == "relay":
                return self._relayed(service, container, port)
            found = self._direct(owner, port) if way == "direct" else self._published(owner, port)
            for endpoint in found:
                if _answers(endpoint):
                    return endpoint
        raise QuiesceError(
            f"port {port} of service {service} does not answer",
            f"see 'inv logs --service {service}'",
        )

    def close(self) -> None:
        """End every relay."""
        for relay, _ in self._relays.values():
            relay.close()
        self._relays.clear()
        self._helpers.close()
        self._places.clear()

    def _owner_of_network(self, container: Inspected) -> Inspected:
        mode = str(container["HostConfig"].get("NetworkMode") or "")
        if not mode.startswith("container:"):
            return container
        return self._units.inspect(mode.removeprefix("container:")) or container

    def _direct(self, container: Inspected, port: int) -> list[Endpoint]:
        if self._connection.address.scheme != "unix":
            return []
        if container["HostConfig"].get("NetworkMode") == "host":
            return [Endpoint("127.0.0.1", port)] if _shares_network(container) else []
        return [
            Endpoint(str(address), port)
            for network in _networks(container)
            if _bridge_is_here(network)
            for address in (network.get("IPAddress"), network.get("GlobalIPv6Address"))
            if address
        ]

    def _published(self, container: Inspected, port: int) -> list[Endpoint]:
        ports = container["NetworkSettings"].get("Ports") or {}
        found = []
        for entry in ports.get(f"{port}/tcp") or ():
            host = self._published_host(container, str(entry.get("HostIp") or "0.0.0.0"))  # noqa: S104
            if host is not None:
                found.append(Endpoint(host, int(entry["HostPort"])))
        return found

    def _published_host(self, container: Inspected, bound: str) -> str | None:
        address = ipaddress.ip_address(bound)
        if self._connection.address.scheme == "unix":
            here = any(map(_bridge_is_here, _networks(container))) or self._publishes_here()
            loopback = "::1" if address.version == 6 else "127.0.0.1"
            return (loopback if address.is_unspecified else bound) if here else None
        machine = self._connection.address.machine
        if address.is_loopback or machine in ("localhost", "127.0.0.1", "::1"):
            return None  # the loopback of another machine or of a forwarded engine
        return machine if address.is_unspecified else bound

    def _publishes_here(self) -> bool:
        """Whether the engine forwards published ports to this machine's loopback."""
        info = self._connection.info
        options = " ".join(map(str, info.get("SecurityOptions") or ()))
        return "Desktop" in str(info.get("OperatingSystem")) or "name=rootless" in options

    def _relayed(self, service: str, container: Inspected, port: int) -> Endpoint:
        # A restarted container may have another network.
        place = (str(container["Id"]), str(container["State"].get("StartedAt")))
        key = (*place, port)
        if key not in self._relays:
            if place not in self._places:
                with translate_engine_errors(
                    f"service {service} cannot be reached through its network"
                ):
                    self._places[place] = self._helpers.begin(service, container, tuple(RELAYS))
            helper, program = self._places[place]
            relay = self._make_relay(["exec", "-i", helper, *RELAYS[program](port)])
            self._relays[key] = (relay, relay.listen_on_port())
        return self._relays[key][1]


def _networks(container: Inspected) -> list[Mapping[str, object]]:
    return list((container["NetworkSettings"].get("Networks") or {}).values())


def _bridge_is_here(network: Mapping[str, object]) -> bool:
    identity = str(network.get("NetworkID") or "")[:12]
    return len(identity) == 12 and Path(f"/sys/class/net/br-{identity}").exists()


def _shares_network(container: Inspected) -> bool:
    """Whether a container uses this process's own network, as far as can be inspected."""
    try:
        theirs = Path(f"/proc/{container['State']['Pid']}/ns/net").readlink()
        return theirs == Path("/proc/self/ns/net").readlink()
    except OSError:
        return False


def _answers(endpoint: Endpoint) -> bool:
    try:
        with socket.create_connection((endpoint.host, endpoint.port), CONNECT_TIMEOUT):
            return True
    except OSError:
        return False
