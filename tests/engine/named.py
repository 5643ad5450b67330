"""The engines that tests run on by name, and what each is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: The engine of Debian bookworm, which `ensure_engine` provides on the machine itself.
MACHINE = "docker-20.10"
#: The one that the normal run takes a sample on.
NEWEST = "docker-28.5"

_COMMON = ("docker-cli", "docker-compose", "iptables", "iproute2", "mount", "kmod", "procps")
_DOCKER = ("docker.io", "containerd", "runc", "ca-certificates", *_COMMON)
_PODMAN = (
    *("podman", "crun", "runc", "conmon", "netavark", "aardvark-dns", "catatonit", "nftables"),
    *("ca-certificates", *_COMMON),
)


@dataclass(frozen=True, slots=True)
class NamedEngine:
    """An engine in a root of its own: a suite of Debian, its packages, and how it is started."""

    name: str
    suite: str
    version: str
    """What the engine's version begins with."""
    packages: tuple[str, ...] = _DOCKER
    program: str = "dockerd"
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the engine."""
    options: tuple[str, ...] = ()
    """Of its daemon, besides those that every one gets."""
    client: Mapping[str, str] = field(default_factory=dict)
    """What its clients have in their environment besides."""


ENGINES = {
    engine.name: engine
    for engine in (
        NamedEngine("docker-26.1", "trixie", "26.1."),
        NamedEngine(NEWEST, "sid", "28.5."),
        NamedEngine(
            f"{NEWEST}-min-api-1.44",
            "sid",
            "28.5.",
            # What Engine 29 does by default: older clients are refused.
            environment={"DOCKER_MIN_API_VERSION": "1.44"},
        ),
        NamedEngine(
            f"{NEWEST}-userns",
            "sid",
            "28.5.",
            # `engine.sh` gives this user numbers for its containers.
            options=("--userns-remap=nobody:nogroup",),
        ),
        NamedEngine(
            "podman-5.8",
            "sid",
            "5.8.",
            packages=_PODMAN,
            program="podman",
            # It has no BuildKit: Compose would fetch one from a registry and run it as a container.
            client={"DOCKER_BUILDKIT": "0"},
        ),
    )
}
NAMES = (MACHINE, *ENGINES)
