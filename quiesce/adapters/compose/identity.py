"""Checks whether the SDK and the command line reach the same engine, and identifies it.

Docker has an ID that never changes. Podman's Docker API returns a new one for each call, so a
Podman engine is identified by its machine and its data folder. Two answers of Podman are taken to
come from the same engine if they have a container in common (ids are random), or if neither lists
any.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

_FORMAT = "{{.Name}}:{{.DockerRootDir}}"
#: Containers may come and go between two questions.
_ATTEMPTS = 3

#: Runs the docker command with these arguments and returns what it prints.
Ask = Callable[..., str]


def identity_of(api: Any, info: Mapping[str, Any], ask: Ask) -> str:
    """Return the identity of the engine behind `api`, "" if the command line reaches another one.

    It stays the same from one process to the next, and as long as the engine keeps its data.
    """
    stated = str(info["ID"])
    if (told := ask("info", "--format", "{{.ID}}")) == stated:
        return stated
    if stated == str(api.info()["ID"]) or told == ask("info", "--format", "{{.ID}}"):
        return ""
    place = f"{info.get('Name', '')}:{info.get('DockerRootDir', '')}"
    if ask("info", "--format", _FORMAT) != place or not _same_containers(api, ask):
        return ""
    return f"{kind_of(api.version(api_version=False))}:{place}"


def kind_of(version: Mapping[str, Any]) -> str:
    """Return `podman` or `docker`, from an engine's answer about its version."""
    names = [str(part.get("Name", "")) for part in version.get("Components") or ()]
    return "podman" if any(name.startswith("Podman") for name in names) else "docker"


def user_namespaces(info: Mapping[str, Any]) -> str:
    """Return the reason why the engine's containers have other user numbers than its machine,
    `userns-remap` or `rootless`; "" if they have the same."""
    options = {part for one in info.get("SecurityOptions") or () for part in str(one).split(",")}
    if "name=rootless" in options:
        return "rootless"
    return "userns-remap" if "name=userns" in options else ""


def _same_containers(api: Any, ask: Ask) -> bool:
    for _ in range(_ATTEMPTS):
        seen: Collection[str] = {str(entry["Id"]) for entry in api.containers(all=True)}
        told = set(ask("ps", "--all", "--quiet", "--no-trunc").split())
        if not told.isdisjoint(seen) or not (told or seen):
            return True
    return False
