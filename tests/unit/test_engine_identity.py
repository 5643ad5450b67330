"""Whether the SDK and the command line reach the same engine."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from quiesce.adapters.compose.identity import identity_of, kind_of, user_namespaces

#: As `GET /version` of each answered.
DOCKER = {"Components": [{"Name": "Engine", "Version": "28.5.2"}, {"Name": "containerd"}]}
PODMAN = {"Components": [{"Name": "Podman Engine", "Version": "5.8.6"}, {"Name": "Conmon"}]}


_NUMBERS = itertools.count()


class Engine:
    """What the SDK and the CLI ask: a Docker with its ID, or a Podman with another one each
    time."""

    def __init__(self, name: str, *containers: str, identity: str = "", root: str = "/r") -> None:
        self.name, self.own, self.identity, self.root = name, containers, identity, root

    def info(self) -> dict[str, Any]:
        """Return `GET /info`."""
        identity = self.identity or f"RANDOM:{next(_NUMBERS)}"
        return {"ID": identity, "Name": self.name, "DockerRootDir": self.root}

    def version(self, *, api_version: bool) -> dict[str, Any]:
        """Return `GET /version`."""
        assert not api_version
        return DOCKER if self.identity else PODMAN

    def containers(self, **options: bool) -> list[dict[str, str]]:
        """Return the containers."""
        assert options == {"all": True}
        return [{"Id": name} for name in self.own]

    def ask(self, *arguments: str) -> str:
        """Answer the command line."""
        if arguments[0] == "ps":
            return "\n".join(self.own)
        info = self.info()
        return info["ID"] if "{{.ID}}" in arguments else f"{info['Name']}:{info['DockerRootDir']}"


def identity(sdk: Engine, cli: Engine) -> str:
    """Return the identity of the engine that both reach, "" for two."""
    return identity_of(sdk, sdk.info(), cli.ask)


def test_dockers_own_id_is_its_identity():
    """It never changes, so another one is another engine."""
    first, second = Engine("a", "1", identity="A:B"), Engine("a", "1", identity="C:D")
    assert identity(first, Engine("elsewhere", identity="A:B")) == "A:B"
    assert identity(first, second) == ""
    assert identity(first, Engine("a", "1")) == "", "a Docker and a Podman"
    assert identity(Engine("a", "1"), first) == ""


def test_podman_is_known_by_its_machine_and_data_folder():
    """The same for each process, with and without containers."""
    assert identity(Engine("a", "1", "2"), Engine("a", "2", "3")) == "podman:a:/r"
    assert identity(Engine("a"), Engine("a")) == "podman:a:/r"


@pytest.mark.parametrize(
    "other",
    [Engine("b", "1"), Engine("a", "1", root="/home/u"), Engine("a", "9"), Engine("a")],
    ids=["another machine", "another data folder", "other containers", "no containers"],
)
def test_two_podmans_are_two(other: Engine):
    """Machines may have the same name; random ids of containers do not repeat."""
    assert identity(Engine("a", "1"), other) == ""
    assert identity(other, Engine("a", "1")) == ""


def test_the_kind_is_read_from_the_version():
    """An engine that does not name its parts counts as Docker."""
    assert [kind_of(DOCKER), kind_of(PODMAN), kind_of({})] == ["docker", "podman", "docker"]


@pytest.mark.parametrize(
    ("options", "how"),
    [
        (["name=seccomp,profile=builtin", "name=cgroupns"], ""),
        (["name=seccomp,profile=builtin", "name=userns"], "userns-remap"),
        (["name=seccomp,profile=/usr/share/x.json,name=rootless"], "rootless"),
        (None, ""),
    ],
)
def test_an_engine_says_whether_its_containers_have_other_user_numbers(
    options: list[str] | None, how: str
) -> None:
    """In its security options: Docker one by one, Podman in one text."""
    assert user_namespaces({"SecurityOptions": options}) == how
