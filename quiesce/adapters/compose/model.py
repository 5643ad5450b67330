"""Parses `docker compose config --format json`: services, their mounts and dependencies, volumes.

Pure, except for `declaration_order`, which reads the Compose files because the JSON is sorted by
name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quiesce.errors import RequestError
from quiesce.observed import Condition, Dependency, Mount
from quiesce.suggest import suggest

CONDITIONS: Mapping[str, Condition] = {
    "service_started": "started",
    "service_healthy": "healthy",
    "service_completed_successfully": "completed",
}


@dataclass(frozen=True, slots=True)
class DeclaredService:
    """A service in the resolved Compose model.

    `active` depends on the chosen profiles, and on `replicas`: 0 means that Compose makes no
    container. `optional` are the dependencies that are not `required`.
    """

    name: str
    image: str
    depends_on: tuple[Dependency, ...]
    mounts: tuple[Mount, ...]
    has_health: bool
    active: bool
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DeclaredVolume:
    """A volume in the resolved Compose model; `name` is its real name."""

    key: str
    name: str
    driver: str
    options: Mapping[str, str]
    external: bool
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ComposeModel:
    """What the runtime uses of the Compose files, with services in declaration order."""

    services: tuple[DeclaredService, ...]
    volumes: Mapping[str, DeclaredVolume]

    def service(self, name: str) -> DeclaredService | None:
        """Return the service of this name, None if it is not declared."""
        return next((service for service in self.services if service.name == name), None)

    def volume(self, key: str) -> DeclaredVolume:
        """Return a volume by its key. Raise RequestError suggesting the nearest key."""
        if key in self.volumes:
            return self.volumes[key]
        raise RequestError(
            f"there is no volume {key}, neither in the Compose file nor on the engine",
            suggest(
                key,
                self.volumes,
                none="declare it in the Compose file, or remove it from stack.yaml",
            ),
        )

    def require(self, names: Collection[str]) -> None:
        """Raise RequestError naming the first of these services that is not declared."""
        known = [service.name for service in self.services]
        for name in names:
            if name not in known:
                raise RequestError(
                    f"the Compose file has no service {name}",
                    suggest(name, known, none="see 'inv status'"),
                )

    def is_closed(self, names: Collection[str]) -> bool:
        """Whether all dependencies of these services are among them. One that is optional and not
        active does not count."""
        active = {service.name for service in self.services if service.active}
        needs = {
            need.service
            for service in self.services
            if service.name in names
            for need in service.depends_on
            if need.service in active or need.service not in service.optional
        }
        return needs <= set(names)

    @property
    def completing(self) -> frozenset[str]:
        """Return the one-shots: services that others expect to have completed successfully."""
        return frozenset(
            need.service
            for service in self.services
            for need in service.depends_on
            if need.condition == "completed"
        )


def parse_model(
    config: Mapping[str, Any], order: Sequence[str], profiles: Collection[str]
) -> ComposeModel:
    """Return the model of a configuration that was resolved with every profile.

    `order` lists the services in declaration order; others follow by name.
    """
    services = config.get("services") or {}
    rank = {name: index for index, name in enumerate(order)}
    names = sorted(services, key=lambda name: (rank.get(name, len(rank)), name))
    project = str(config.get("name", ""))
    return ComposeModel(
        services=tuple(
            DeclaredService(
                name=name,
                image=str(services[name].get("image") or f"{project}-{name}"),
                depends_on=dependencies_of(services[name]),
                mounts=mounts_of(name, services),
                has_health=_has_health(services[name].get("healthcheck")),
                active=_is_active(services[name].get("profiles") or (), profiles)
                and not _has_no_replicas(services[name]),
                optional=frozenset(
                    other
                    for other, entry in (services[name].get("depends_on") or {}).items()
                    if (entry or {}).get("required") is False
                ),
            )
            for name in names
        ),
        volumes={
            key: DeclaredVolume(
                key=key,
                name=str(entry.get("name") or f"{project}_{key}"),
                driver=str(entry.get("driver") or "local"),
                options={k: str(v) for k, v in (entry.get("driver_opts") or {}).items()},
                external=bool(entry.get("external")),
                labels={k: str(v) for k, v in (entry.get("labels") or {}).items()},
            )
            for key, entry in ((k, v or {}) for k, v in (config.get("volumes") or {}).items())
        },
    )


def dependencies_of(service: Mapping[str, Any]) -> tuple[Dependency, ...]:
    """Return the dependencies of a service: declared ones, and those implied by sharing another
    service's network or similar.

    A service that shares a namespace, volumes or a link must start after its owner. If it is
    started first, it has no network, or keeps a namespace that no longer exists.
    """
    found: dict[str, Condition] = {
        name: CONDITIONS.get((entry or {}).get("condition", "service_started"), "started")
        for name, entry in (service.get("depends_on") or {}).items()
    }
    shared = [str(service.get(key) or "") for key in ("network_mode", "ipc", "pid", "uts")]
    others = [value.removeprefix("service:") for value in shared if value.startswith("service:")]
    others += [str(link).partition(":")[0] for link in service.get("links") or ()]
    others += [name for name, _ in _volumes_from(service)]
    for name in others:
        found.setdefault(name, "started")
    return tuple(Dependency(name, condition) for name, condition in found.items())


def mounts_of(name: str, services: Mapping[str, Any]) -> tuple[Mount, ...]:
    """Return the mounts of a service, including those of `volumes_from`."""
    return tuple(_mounts(name, services, frozenset()))


def _mounts(name: str, services: Mapping[str, Any], seen: frozenset[str]) -> list[Mount]:
    service = services.get(name) or {}
    found = [
        Mount(
            volume=(entry.get("source") or None) if entry["type"] == "volume" else None,
            source=str(entry.get("source") or ""),
            target=str(entry.get("target") or ""),
            writable=not entry.get("read_only", False),
        )
        for entry in service.get("volumes") or ()
        if entry.get("type") in ("volume", "bind")
    ]
    taken = {mount.target for mount in found}
    for other, writable in _volumes_from(service):
        if other in seen or other == name:
            continue
        for mount in _mounts(other, services, seen | {name}):
            if mount.target not in taken:
                allowed = mount.writable and writable
                found.append(Mount(mount.volume, mount.source, mount.target, allowed))
    return found


def _volumes_from(service: Mapping[str, Any]) -> list[tuple[str, bool]]:
    found = []
    for entry in service.get("volumes_from") or ():
        parts = str(entry).split(":")
        if parts[0] != "container":
            found.append((parts[0], "ro" not in parts[1:]))
    return found


def _has_health(check: Mapping[str, Any] | None) -> bool:
    if not check or check.get("disable"):
        return False
    test = check.get("test") or []
    return bool(test) and test[0] != "NONE"


def _is_active(wanted: Collection[str], chosen: Collection[str]) -> bool:
    return not wanted or "*" in chosen or not set(wanted).isdisjoint(chosen)


def _has_no_replicas(service: Mapping[str, Any]) -> bool:
    own = service.get("scale")
    return (own if own is not None else (service.get("deploy") or {}).get("replicas")) == 0


def declaration_order(files: Sequence[Path]) -> tuple[str, ...]:
    """Return the names of the services in the order in which the files declare them.

    Only keys are read, so interpolation and Compose's own tags do not matter. A file that cannot be
    read adds nothing; Compose itself reports it.
    """
    import yaml

    names: dict[str, None] = {}
    for path in files:
        try:
            root = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
        except (OSError, ValueError, yaml.YAMLError):
            continue
        for name in _keys(_child(root, "services")):
            names.setdefault(name)
    return tuple(names)


def _child(node: Any, key: str) -> Any:
    pairs = getattr(node, "value", ()) if getattr(node, "id", "") == "mapping" else ()
    return next((value for name, value in pairs if name.value == key), None)


def _keys(node: Any) -> tuple[str, ...]:
    if getattr(node, "id", "") != "mapping":
        return ()
    return tuple(name.value for name, _ in node.value if isinstance(name.value, str))
