"""Turns a Compose model into one that shares nothing with the original. Pure.

A second project with a fixed volume name would mount the live volume with only a warning; a fixed
container name or port would fail or replace the live one; a network would let the copy reach the
outside as if it were the original. All of this is removed or refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

from quiesce.errors import RequestError

#: Sockets through which a copy could control the engine or the host.
_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock")
LABEL = "quiesce.isolated"


def isolate(
    model: Mapping[str, Any],
    images: Mapping[str, str],
    mark: str,
    *,
    copied: Callable[[str], str],
    kept: Callable[[str], bool] = lambda _: False,
    network_open: bool = False,
    running: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return the model of a copy: own volumes and networks, no ports, no fixed names.

    `images` are those that the services run now; nothing is built or pulled. `copied` copies a host
    path that a service may write to and returns the path of the copy. Read-only paths are shared,
    except those for which `kept` says that sets contain them. Every container, volume and network
    gets `mark` as its label. Raise RequestError for what cannot be isolated. If only the services
    in `running` (None: all) and their dependencies will run, such settings are removed from the
    other services instead.
    """
    services = model.get("services") or {}
    idle = set(services) - _with_needs(services, services if running is None else running)
    made: dict[str, Any] = {
        name: copy.deepcopy(model[name]) for name in ("secrets", "configs") if name in model
    }
    made["services"] = {
        name: _service(
            name,
            _without_reach(service) if name in idle else service,
            images,
            mark,
            str(model.get("name") or ""),
            (copied, kept),
        )
        for name, service in services.items()
    }
    made["volumes"] = {key: {"labels": {LABEL: mark}} for key in model.get("volumes") or {}}
    networks = {"default": {}, **(model.get("networks") or {})}
    made["networks"] = {
        key: {"internal": not network_open, "labels": {LABEL: mark}} for key in networks
    }
    return made


def _with_needs(services: Mapping[str, Any], names: Collection[str]) -> set[str]:
    """Return these services and all that they depend on, directly or not."""
    found: set[str] = set()
    open_ = [name for name in names if name in services]
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += [need for need in services[name].get("depends_on") or () if need in services]
    return found


def _without_reach(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service that could reach nothing outside of the copy, even if it were started."""
    made = {key: value for key, value in service.items() if key != "networks"}
    mounts = [mount for mount in made.get("volumes") or () if not _is_socket(mount)]
    return {**made, "network_mode": "none", "volumes": mounts}


def _is_socket(mount: Any) -> bool:
    source = str(mount.get("source") or "") if isinstance(mount, Mapping) else ""
    return source in _SOCKETS or source.endswith("/docker.sock")


def _service(
    name: str,
    service: Mapping[str, Any],
    images: Mapping[str, str],
    mark: str,
    project: str,
    binds: tuple[Callable[[str], str], Callable[[str], bool]],
) -> dict[str, Any]:
    made = copy.deepcopy(dict(service))
    for key in ("ports", "container_name", "external_links", "build", "hostname", "mac_address"):
        made.pop(key, None)
    mode = str(made.get("network_mode") or "")
    if mode and not mode.startswith("service:") and mode not in ("none", "bridge"):
        raise RequestError(
            f"service {name} shares a network with others (network_mode: {mode})",
            "a copy of it cannot be isolated; use 'inv drill --destructive' on a test instance: it "
            "removes and restores the databases",
        )
    if name in images:
        made["image"] = images[name]
    elif "image" not in made:
        # Compose's own name for an image that it builds.
        made["image"] = f"{project}-{name}"
    made["pull_policy"] = "never"
    made["restart"] = "no"
    made["labels"] = {**_labels(made.get("labels")), LABEL: mark}
    made["volumes"] = [_mount(name, mount, *binds) for mount in made.get("volumes") or ()]
    if isinstance(made.get("networks"), dict):
        # Fixed addresses and aliases are only for the original.
        made["networks"] = {key: _aliases(value) for key, value in made["networks"].items()}
    return made


def _mount(name: str, mount: Any, copied: Callable[[str], str], kept: Callable[[str], bool]) -> Any:
    if not isinstance(mount, Mapping) or mount.get("type") != "bind":
        return mount
    source = str(mount.get("source") or "")
    if _is_socket(mount):
        raise RequestError(
            f"service {name} mounts the engine's socket ({source})",
            "a copy of it could control the engine; use 'inv drill --destructive' on a spare "
            "machine: it removes and restores the databases",
        )
    if mount.get("read_only") and not kept(source):
        return mount
    return {**mount, "source": copied(source)}


def _labels(labels: Any) -> dict[str, str]:
    if isinstance(labels, Mapping):
        return {str(key): str(value) for key, value in labels.items()}
    return dict(str(label).partition("=")[::2] for label in labels or ())


def _aliases(value: Any) -> Any:
    return (
        {"aliases": value["aliases"]} if isinstance(value, Mapping) and "aliases" in value else None
    )
