"""Finds the Docker engine of an instance, so that the SDK and the CLI use the same one.

The order is Docker's own, with the instance first: its `context`, else DOCKER_HOST, else
DOCKER_CONTEXT, else the current context of the CLI's configuration, else the default socket. If
several of these are set, the SDK and the CLI alone could choose different engines.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quiesce.errors import RequestError

DEFAULT_HOST = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens. `certificates` is the folder of its TLS files, if it uses TLS."""

    host: str
    source: str
    certificates: Path | None = None
    verify: bool = True

    @property
    def scheme(self) -> str:
        """Return the scheme of the host: `unix`, `tcp`, `ssh` or another."""
        return self.host.partition("://")[0]

    @property
    def socket(self) -> Path | None:
        """Return the path of a unix socket, None for anything else."""
        return Path(self.host.removeprefix("unix://")) if self.scheme == "unix" else None

    @property
    def machine(self) -> str:
        """Return the name or address of the machine of a tcp:// or ssh:// host."""
        authority = self.host.partition("://")[2].partition("/")[0].rpartition("@")[2]
        if authority.startswith("["):
            return authority[1:].partition("]")[0]
        return authority.partition(":")[0]

    def tls_files(self) -> dict[str, Path]:
        """Return the TLS files that exist, by the name of the CLI's option for them."""
        if self.certificates is None:
            return {}
        named = {
            "tlscacert": self.certificates / "ca.pem",
            "tlscert": self.certificates / "cert.pem",
            "tlskey": self.certificates / "key.pem",
        }
        return {option: path for option, path in named.items() if path.is_file()}

    def arguments(self) -> list[str]:
        """Return the CLI's options that select this engine."""
        arguments = ["--host", self.host]
        if self.certificates is not None:
            arguments.append("--tlsverify" if self.verify else "--tls")
            arguments += [f"--{option}={path}" for option, path in self.tls_files().items()]
        return arguments


def find_address(context: str | None, environment: Mapping[str, str], home: Path) -> Address:
    """Return the address for an instance's `context` (None: use Docker's own order).

    Raise RequestError when a context is named that the CLI does not know.
    """
    folder = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    host = environment.get("DOCKER_HOST", "")
    if context is None and not host:
        context = environment.get("DOCKER_CONTEXT") or _current_context(folder)
    if context not in (None, "default"):
        return _context_address(folder, context)
    if host:
        return _environment_address(host, environment, folder)
    return Address(DEFAULT_HOST, "the default socket")


def _environment_address(host: str, environment: Mapping[str, str], folder: Path) -> Address:
    uses_tls = environment.get("DOCKER_TLS_VERIFY") or environment.get("DOCKER_TLS")
    if not uses_tls or not host.startswith("tcp://"):
        return Address(host, "DOCKER_HOST")
    certificates = Path(environment.get("DOCKER_CERT_PATH") or folder)
    return Address(host, "DOCKER_HOST", certificates, bool(environment.get("DOCKER_TLS_VERIFY")))


def _current_context(folder: Path) -> str | None:
    try:
        found = json.loads((folder / "config.json").read_bytes()).get("currentContext")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) and found else None


def _context_address(folder: Path, name: str) -> Address:
    key = hashlib.sha256(name.encode()).hexdigest()
    hint = f"see 'docker context ls', or create it with 'docker context create {name}'"
    try:
        meta = json.loads((folder / "contexts" / "meta" / key / "meta.json").read_bytes())
        endpoint = meta["Endpoints"]["docker"]
        host = endpoint.get("Host") or DEFAULT_HOST
    except OSError:
        raise RequestError(f"there is no docker context {name}", hint) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RequestError(f"docker context {name} cannot be read", hint) from None
    certificates = folder / "contexts" / "tls" / key / "docker"
    return Address(
        host=host,
        source=f"context {name}",
        certificates=certificates if certificates.is_dir() else None,
        verify=not endpoint.get("SkipTLSVerify", False),
    )
