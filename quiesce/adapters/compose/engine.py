"""The SDK connection to the Docker engine of an instance, with its errors translated.

The connection is opened on first use.
"""

from __future__ import annotations

import io
import os
import platform
import secrets
import socket
import struct
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiesce.adapters.compose.address import Address
from quiesce.adapters.compose.identity import Ask, identity_of, kind_of, user_namespaces
from quiesce.errors import LostEngine, QuiesceError, RequestError, SilentEngine, translate_errors
from quiesce.observed import Engine

if TYPE_CHECKING:
    from docker.api import APIClient
    from docker.tls import TLSConfig

#: Labels of Quiesce's helper containers; orphans are found by these alone.
LABEL_HELPER = "quiesce.helper"
LABEL_RUN = "quiesce.run"
LABEL_PROJECT = "quiesce.project"

#: Labels that containers inherit from an image that Compose built.
_INHERITED = ("project", "service", "version")


def helper_labels(run: str, project: str = "") -> dict[str, str]:
    """Return the labels of a helper container.

    Compose labels the images that it builds with project and service. A helper created from such an
    image would inherit them, and look like a container of that service.
    """
    return {
        **{f"com.docker.compose.{name}": "" for name in _INHERITED},
        LABEL_HELPER: "1",
        LABEL_RUN: run,
        **({LABEL_PROJECT: project} if project else {}),
    }


#: Seconds that an ordinary request may take. Stopping and running tools have their own limits.
PATIENCE = 60


class EngineConnection:
    """The SDK's client for an address, the engine's `info`, and whether the engine is local.

    `tunnel` opens a connection to an engine that the SDK cannot reach directly (ssh) and returns
    the path of a unix socket; `command_line` runs `docker` with some arguments against the address.
    """

    def __init__(self, address: Address, tunnel: Callable[[], Path], command_line: Ask) -> None:
        self.address = address
        self._tunnel = tunnel
        self._command_line = command_line
        self._lock = threading.Lock()
        self._api: APIClient | None = None
        self._info: dict[str, Any] = {}
        self._engine: Engine | None = None
        self._kind = ""

    @property
    def api(self) -> APIClient:
        """Return the connected low-level client of the SDK.

        Raise RequestError if the engine does not answer.
        """
        with self._lock:
            if self._api is None:
                self._api, self._info = self._connect()
            return self._api

    @property
    def info(self) -> Mapping[str, Any]:
        """Return the output of `docker info`."""
        _ = self.api
        return self._info

    @property
    def kind(self) -> str:
        """Return `podman` or `docker`. Unlike `engine`, this does not need the docker command."""
        if not self._kind:
            with translate_engine_errors("the engine's version cannot be read"):
                self._kind = kind_of(self.api.version(api_version=False))
        return self._kind

    def engine(self) -> Engine:
        """Return the engine's identity, after checking that the CLI reaches the same one."""
        if self._engine is None:
            info = self.info
            identity = identity_of(self.api, info, self._command_line)
            if not identity:
                raise RequestError(
                    "the docker command and the SDK reach different engines at "
                    f"{self.address.host}",
                    "see 'docker context ls' and DOCKER_HOST, and set the instance's context",
                )
            self._engine = Engine(
                id=identity,
                kind=self.kind,
                version=str(info.get("ServerVersion", "")),
                local=self._seems_local(),
            )
        return self._engine

    def is_local(self, image: str | None) -> bool:
        """Whether the engine sees the same files as this process; tested once per process.

        A random word is written to this machine's shared memory and read back through a container
        that is created from `image` but not started. No other host, virtual machine or container
        shares that folder.
        """
        if not self.engine().local or image is None:
            return False
        engine = self.engine().id
        if engine not in _proven:
            _proven[engine] = _prove(self.api, image)
        return _proven[engine]

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._api is not None:
                self._api.close()
                self._api = None

    def _connect(self) -> tuple[APIClient, dict[str, Any]]:
        import docker
        import requests

        host, hint = self.address.host, "start Docker, then run 'inv status'"
        silent = f"docker engine at {host} does not answer"
        try:
            if self.address.socket is not None:
                _knock(self.address.socket)
            base = f"unix://{self._tunnel()}" if self.address.scheme == "ssh" else host
            api = docker.APIClient(base_url=base, version="auto", tls=self._tls(), timeout=PATIENCE)
            return api, api.info()
        except PermissionError:
            user = "add this user to the group that owns its socket, or run this as root"
            raise RequestError(silent, user, details=["permission denied"]) from None
        except (docker.errors.DockerException, requests.RequestException, OSError):
            raise SilentEngine(
                silent, hint, details=[f"taken from {self.address.source}"]
            ) from None

    def _tls(self) -> Any:
        if self.address.certificates is None:
            return False
        files = {name: str(path) for name, path in self.address.tls_files().items()}
        pair = (files["tlscert"], files["tlskey"]) if {"tlscert", "tlskey"} <= set(files) else None
        authority = files.get("tlscacert") if self.address.verify else None
        return make_tls(pair, authority, verify=self.address.verify)

    def _seems_local(self) -> bool:
        """Whether the engine may be local. A cheap, necessary condition, but not a proof.

        The socket's other end must be a Docker daemon (or systemd listening for it) in the same
        process namespace, not the ssh of a forwarded socket. Kernel and host name must match, which
        rules out Docker Desktop's virtual machine. The engine's data folder must exist here.

        An engine whose containers have other user numbers than this machine is not local: the
        owners of files, read from this machine, would mean other users on every other engine, or
        none.
        """
        path = self.address.socket
        if path is None or platform.system() != "Linux" or self.kind == "podman":
            return False
        if user_namespaces(self._info):
            return False
        root = Path(str(self._info.get("DockerRootDir", "")))
        return (
            _listener(path) in ("dockerd", "systemd", "init")
            and self._info.get("KernelVersion") == platform.release()
            and self._info.get("Name") == platform.node()
            and "Desktop" not in str(self._info.get("OperatingSystem", ""))
            and _exists_or_is_hidden(root)
        )


def make_tls(pair: tuple[str, str] | None, authority: str | None, *, verify: bool) -> TLSConfig:
    """Return the SDK's TLS settings, which trust only the engine's own authority."""
    import docker

    class OwnAuthority(docker.tls.TLSConfig):
        def configure_client(self, client: APIClient) -> None:
            super().configure_client(client)
            # These variables would override the authority.
            if any(os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")):
                client.trust_env = False

    return OwnAuthority(client_cert=pair, ca_cert=authority, verify=verify)


def translate_engine_errors(what: str, hint: str = "") -> AbstractContextManager[None]:
    """Turn the SDK's exceptions into a QuiesceError that says `what` failed.

    The engine's answer becomes the details.
    """
    import docker
    import requests

    def translation(error: Exception) -> QuiesceError | None:
        if isinstance(error, docker.errors.APIError):
            reason = " ".join(str(error.explanation or error).split())
            return QuiesceError(what, hint, details=[reason])
        if isinstance(error, requests.RequestException | docker.errors.DockerException | OSError):
            return LostEngine(
                f"{what}: the docker engine stopped answering",
                hint or "check that Docker is running, then run 'inv recover'",
                details=[type(error).__name__],
            )
        return None

    return translate_errors(translation, show_cause=False)


def absent(error: Exception) -> bool:
    """Whether the error says that the requested object does not exist."""
    import docker

    return isinstance(error, docker.errors.NotFound)


def _knock(path: Path) -> None:
    """Connect to a unix socket and disconnect. The SDK's own attempt would leak its socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def _listener(path: Path) -> str:
    """Return the name of the program that listens on a unix socket, "" if it is not on this
    machine."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
            size = struct.calcsize("3i")
            peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            pid = struct.unpack("3i", peer)[0]
            return Path(f"/proc/{pid}/comm").read_text().strip() if pid else ""
        except OSError:
            return ""


def _exists_or_is_hidden(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:
        return True  # an ordinary user may not be able to read the parent folders


_proven: dict[str, bool] = {}


def _prove(api: APIClient, image: str) -> bool:
    shared = Path("/dev/shm")  # noqa: S108  a file system no other kernel and no container has
    if not os.access(shared, os.W_OK):
        return False
    word = secrets.token_bytes(32)
    with tempfile.TemporaryDirectory(prefix="quiesce-", dir=shared) as folder:
        (Path(folder) / "word").write_bytes(word)
        return _read_through_container(api, image, Path(folder)) == word


def create_probe_container(api: Any, image: str, folder: Path, purpose: str) -> str:
    """Create a container that mounts the folder read-only at `/quiesce` and never starts; return
    its id. Raise the SDK's APIError if the engine has no such image or folder."""
    import docker

    mount = docker.types.Mount("/quiesce", str(folder), type="bind", read_only=True)
    made = api.create_container(
        image,
        entrypoint=["/quiesce/never-started"],
        host_config=api.create_host_config(mounts=[mount], network_mode="none"),
        labels=helper_labels(purpose),
    )
    return str(made["Id"])


def _read_through_container(api: APIClient, image: str, folder: Path) -> bytes:
    """Return `folder/word` as a container of the engine sees it, b"" if it does not."""
    import docker

    made = ""
    try:
        made = create_probe_container(api, image, folder, "locality")
        chunks, _ = api.get_archive(made, "/quiesce/word")
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            content = archive.extractfile("word")
            return content.read() if content else b""
    except docker.errors.APIError:
        return b""  # the engine does not see the folder
    finally:
        if made:
            api.remove_container(made, v=True, force=True)
