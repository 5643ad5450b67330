"""One context, one endpoint, for the SDK and the CLI alike."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from quiesce.adapters.compose.address import DEFAULT_HOST, Address, find_address
from quiesce.errors import RequestError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the contexts `remote` (ssh) and `tls` (tcp with keys); none is current."""
    contexts = tmp_path / ".docker" / "contexts"
    for name, host in (("remote", "ssh://root@far"), ("tls", "tcp://near:2376")):
        key = hashlib.sha256(name.encode()).hexdigest()
        (contexts / "meta" / key).mkdir(parents=True)
        meta = {"Name": name, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
        (contexts / "meta" / key / "meta.json").write_text(json.dumps(meta))
        if name == "tls":
            folder = contexts / "tls" / key / "docker"
            folder.mkdir(parents=True)
            for file in ("ca.pem", "cert.pem", "key.pem"):
                (folder / file).write_text("")
    return tmp_path


def test_without_anything_it_is_the_default_socket(home: Path):
    """As the CLI does it."""
    assert find_address(None, {}, home).host == DEFAULT_HOST


def test_the_instances_context_wins_over_everything(home: Path):
    """A DOCKER_HOST in somebody's shell must not send a restore elsewhere."""
    environment = {"DOCKER_HOST": "tcp://elsewhere:1", "DOCKER_CONTEXT": "tls"}
    found = find_address("remote", environment, home)
    assert (found.host, found.source) == ("ssh://root@far", "context remote")


def test_docker_host_wins_over_docker_context(home: Path):
    """That is Docker's own order."""
    environment = {"DOCKER_HOST": "tcp://elsewhere:1", "DOCKER_CONTEXT": "remote"}
    assert find_address(None, environment, home).host == "tcp://elsewhere:1"


def test_docker_context_wins_over_the_current_one(home: Path):
    """And the current one over the default socket."""
    (home / ".docker" / "config.json").write_text('{"currentContext": "tls"}')
    assert find_address(None, {"DOCKER_CONTEXT": "remote"}, home).host == "ssh://root@far"
    assert find_address(None, {}, home).host == "tcp://near:2376"


def test_another_configuration_folder_is_respected(home: Path, tmp_path_factory):
    """DOCKER_CONFIG moves contexts and the current one."""
    elsewhere = tmp_path_factory.mktemp("config")
    (home / ".docker" / "config.json").write_text('{"currentContext": "tls"}')
    assert find_address(None, {"DOCKER_CONFIG": str(elsewhere)}, home).host == DEFAULT_HOST


def test_the_default_context_is_docker_host_or_the_socket(home: Path):
    """`default` is a name the CLI reserves for this."""
    assert find_address("default", {"DOCKER_CONTEXT": "remote"}, home).host == DEFAULT_HOST
    assert find_address("default", {"DOCKER_HOST": "tcp://h:1"}, home).host == "tcp://h:1"


def test_an_unknown_context_is_refused(home: Path):
    """Silently taking the default engine would be the wrong one."""
    with pytest.raises(RequestError, match="no docker context prdo") as caught:
        find_address("prdo", {}, home)
    assert "docker context ls" in caught.value.hint


def test_an_unreadable_context_is_refused(home: Path):
    """Half a file is no address."""
    key = hashlib.sha256(b"remote").hexdigest()
    (home / ".docker/contexts/meta" / key / "meta.json").write_text("{")
    with pytest.raises(RequestError, match="context remote cannot be read"):
        find_address("remote", {}, home)


def test_a_context_with_keys_uses_them_in_both_worlds(home: Path):
    """The SDK gets the files, the CLI the options that name them."""
    found = find_address("tls", {}, home)
    assert set(found.tls_files()) == {"tlscacert", "tlscert", "tlskey"}
    arguments = found.arguments()
    assert arguments[:3] == ["--host", "tcp://near:2376", "--tlsverify"]
    assert any(argument.startswith("--tlscacert=") for argument in arguments)


def test_docker_host_uses_keys_only_when_told(home: Path):
    """DOCKER_TLS_VERIFY asks for them; a unix socket never has any."""
    verify = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(home)}
    assert find_address(None, {"DOCKER_HOST": "tcp://h:2376"}, home).certificates is None
    assert find_address(None, {"DOCKER_HOST": "tcp://h:2376", **verify}, home).certificates == home
    assert find_address(None, {"DOCKER_HOST": "unix:///x", **verify}, home).certificates is None


@pytest.mark.parametrize(
    ("host", "machine"),
    [
        ("ssh://root@far:22", "far"),
        ("tcp://10.0.0.5:2376", "10.0.0.5"),
        ("tcp://[fe80::1]:2376", "fe80::1"),
        ("ssh://far/run/docker.sock", "far"),
    ],
)
def test_the_machine_of_an_address(host: str, machine: str):
    """Published ports of a remote engine are reached there."""
    assert Address(host, "").machine == machine


def test_a_socket_is_a_path():
    """And what is not a unix socket has none."""
    assert Address("unix:///run/x.sock", "").socket == Path("/run/x.sock")
    assert Address("tcp://h:1", "").socket is None
