"""Provide the engine, Compose v2 and the images, or give the reason why not."""

from __future__ import annotations

import os
from dataclasses import dataclass

from . import daemon, debian
from .images import ensure_images
from .machine import Unavailable, alone, find_program

_ENGINE_PACKAGES = ("docker.io", "containerd", "runc", "iptables")
# For the tests of shell completion, which are skipped where a shell is missing.
_SHELLS = ("zsh", "fish")


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What the tests talk to; `started` tells whether this call started the daemon."""

    docker_host: str
    started: bool
    compose: str
    images: dict[str, str]

    @property
    def report(self) -> dict[str, object]:
        """What `tests.command` reads."""
        host = {"QUIESCE_TEST_ENGINE": "1", "DOCKER_HOST": self.docker_host}
        return {
            "docker_host": self.docker_host,
            "started": self.started,
            "variables": host | self.images,
            "entering": [],
        }


def ensure_engine(*, provision: bool, version: str | None = None) -> EngineReport:
    """Return the engine that is there, or with `provision` the one made now.

    With `version` another one is refused whose version does not begin with it. Safe to call twice
    and from two processes at once. Raise `Unavailable` with the reason.
    """
    with alone():
        started = False
        if not daemon.engine_answers():
            _refuse_to_start(provision=provision)
            debian.install_packages(_with_client((*_ENGINE_PACKAGES, *_SHELLS)))
            # Where an init system is at work, the package has started the engine already.
            if not daemon.engine_answers():
                daemon.start_daemon()
                started = True
        if version and not (found := daemon.engine_version()).startswith(version):
            raise Unavailable(f"the engine here is {found}, and {version}x was asked for")
        compose = daemon.compose_version()
        if compose is None:
            compose = _provide_compose(provision=provision)
        may_bootstrap = provision and os.geteuid() == 0
        images = ensure_images(may_bootstrap=may_bootstrap)
        return EngineReport(daemon.chosen_host(), started, compose, images)


def stop_engine() -> bool:
    """Stop the daemon an earlier `ensure_engine` started; tell whether there was one."""
    with alone():
        return daemon.stop_daemon()


def _refuse_to_start(*, provision: bool) -> None:
    host = daemon.chosen_host()
    if host != daemon.DEFAULT_HOST:
        raise Unavailable(f"no Docker Engine answers on {host}")
    if not provision:
        raise Unavailable("no Docker Engine answers; start one, or use --provision as root")
    debian.refuse_unless_installable()


def _with_client(names: tuple[str, ...]) -> tuple[str, ...]:
    if find_program("docker") is not None or not debian.has_candidate("docker-cli"):
        return names
    return (*names, "docker-cli")


def _provide_compose(*, provision: bool) -> str:
    if not provision:
        raise Unavailable("the docker client has no Compose v2; install it, or use --provision")
    debian.refuse_unless_installable()
    debian.install_compose()
    version = daemon.compose_version()
    if version is None:
        raise Unavailable("the docker client does not take the Compose v2 plugin")
    return version
