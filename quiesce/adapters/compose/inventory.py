"""Combines the declarations of the Compose model with the objects on the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quiesce.adapters.compose.engine import (
    LABEL_HELPER,
    LABEL_PROJECT,
    EngineConnection,
    absent,
    translate_engine_errors,
)
from quiesce.adapters.compose.inspected import (
    LABEL_ONEOFF,
    LABEL_PROJECT_NAME,
    Inspected,
    has_health,
    mounts_seen,
    service_of,
    unit_of,
)
from quiesce.adapters.compose.model import ComposeModel, DeclaredVolume
from quiesce.model import Volume
from quiesce.observed import Mount, Service, VolumeState

_LABEL_VOLUME = "com.docker.compose.volume"
_LABEL_VERSION = "com.docker.compose.version"
_AWAKE = ("running", "restarting")


def volume_states(
    connection: EngineConnection, project: str, model: ComposeModel, declared: Sequence[Volume]
) -> tuple[VolumeState, ...]:
    """Return the state of each volume on the engine, declared ones first, and its external users.
    Raise RequestError for a declared one that is not in the model."""
    uses = _outside_uses(connection, project)
    keys = [model.volume(volume.key).key for volume in declared if volume.folder is None]
    chosen = [model.volumes[key] for key in dict.fromkeys((*keys, *model.volumes))]
    return tuple(_state(connection, volume, uses.get(volume.name, ())) for volume in chosen)


def found_model(connection: EngineConnection, project: str, keys: Sequence[str]) -> ComposeModel:
    """Return a model of a project's existing objects, by their labels; no file is read.

    Services are built from their containers, as strays. A volume of `keys` that is not found does
    not exist.
    """
    wanted = {"label": [f"{LABEL_PROJECT_NAME}={project}"]}
    with translate_engine_errors("the volumes of the project cannot be listed"):
        found = connection.api.volumes(filters=wanted)["Volumes"] or []
    names = {(entry.get("Labels") or {}).get(_LABEL_VOLUME, ""): entry["Name"] for entry in found}
    return ComposeModel(
        (),
        {
            key: DeclaredVolume(key, names.get(key, f"{project}_{key}"), "local", {}, False, {})
            for key in dict.fromkeys((*keys, *filter(None, names)))
        },
    )


def services_of(model: ComposeModel, containers: Sequence[Inspected]) -> list[Service]:
    """Return the services of the active profiles with their containers, then the strays."""
    found = []
    for declared in model.services:
        own = [entry for entry in containers if service_of(entry) == declared.name]
        if declared.active or own:
            service = Service(
                name=declared.name,
                depends_on=declared.depends_on,
                mounts=declared.mounts,
                units=(),
                image=declared.image,
                has_health=declared.has_health,
            )
            found.append(joined(service, own, model))
    names = {service.name for service in found}
    for name in dict.fromkeys(map(service_of, containers)):
        if name not in names:
            own = [entry for entry in containers if service_of(entry) == name]
            image = str(own[0]["Config"].get("Image") or own[0]["Image"])
            stray = Service(name, (), (), (), image, has_health=False)
            found.append(joined(stray, own, model))
    return found


def joined(service: Service, containers: Sequence[Inspected], model: ComposeModel) -> Service:
    """Return the service with its units, and with their actual mounts and health checks."""
    keys = {volume.name: key for key, volume in model.volumes.items()}
    known = {(mount.volume or mount.source, mount.target) for mount in service.mounts}
    more: dict[tuple[str, str], Mount] = {}
    for container in containers:
        for mount in mounts_seen(container, keys):
            place = (mount.volume or mount.source, mount.target)
            if place not in known:
                more.setdefault(place, mount)
    # An anonymous volume is declared without a source, but has a name once it exists.
    there = {mount.target for mount in more.values()}
    declared = tuple(m for m in service.mounts if m.source or m.target not in there)
    return replace(
        service,
        units=tuple(unit_of(container) for container in containers),
        mounts=(*declared, *more.values()),
        has_health=service.has_health or any(map(has_health, containers)),
    )


def image_name(connection: EngineConnection, container: Inspected) -> str:
    """Return the image of a container: by digest or, if it has none, by name and id."""
    name, identity = str(container["Config"].get("Image") or ""), str(container["Image"])
    api: Any = connection.api
    with translate_engine_errors("an image cannot be inspected"):
        try:
            image = api.inspect_image(identity)
        except Exception as error:
            if not absent(error):
                raise
            return f"{name} ({identity})"
    digests = image.get("RepoDigests") or []
    return str(digests[0]) if digests else f"{name} ({identity})"


def images_there(
    connection: EngineConnection,
    containers: Sequence[Inspected],
    model: Callable[[], ComposeModel | None],
) -> tuple[str, ...]:
    """Return the images of the containers; if there are none, the images of services that are on
    the engine."""
    if containers:
        return tuple(dict.fromkeys(str(entry["Image"]) for entry in containers))
    declared = model()
    names = dict.fromkeys(service.image for service in declared.services) if declared else ()
    return tuple(found for name in names if (found := _image_id(connection, name)))


def _image_id(connection: EngineConnection, name: str) -> str:
    """Return the id of an image, "" if it is not on the engine."""
    api: Any = connection.api
    with translate_engine_errors(f"image {name} cannot be inspected"):
        try:
            return str(api.inspect_image(name)["Id"])
        except Exception as error:
            if not absent(error):
                raise
            return ""


@dataclass(frozen=True, slots=True)
class _Use:
    """A use of a volume by an external container."""

    container: str
    writes: bool


def volume_labels(
    model: ComposeModel | None, project: str, key: str, version: str
) -> dict[str, str]:
    """Return the labels that Compose gives to a volume when it creates it.

    Newer versions add a hash of its configuration. Compose accepts volumes without that label. An
    external volume gets no labels, because Compose does not create it.
    """
    declared = model.volumes.get(key) if model is not None else None
    if declared is not None and declared.external:
        return {}
    return {
        **(declared.labels if declared is not None else {}),
        LABEL_PROJECT_NAME: project,
        _LABEL_VOLUME: key,
        _LABEL_VERSION: version,
    }


def _outside_uses(connection: EngineConnection, project: str) -> Mapping[str, list[_Use]]:
    """Return, by real volume name, the containers that mount it and are neither units of the
    project nor helpers."""
    uses: dict[str, list[_Use]] = {}
    with translate_engine_errors("the containers that use volumes cannot be listed"):
        everyone = connection.api.containers(all=True)
    for entry in everyone:
        labels = entry.get("Labels") or {}
        ours = labels.get(LABEL_PROJECT_NAME) == project
        helper = LABEL_HELPER in labels and labels.get(LABEL_PROJECT) == project
        if helper or (ours and labels.get(LABEL_ONEOFF) != "True"):
            continue
        name = str((entry.get("Names") or [entry["Id"]])[0]).removeprefix("/")
        for mount in entry.get("Mounts") or ():
            if mount.get("Type") == "volume":
                writes = bool(mount.get("RW")) and entry.get("State") in _AWAKE
                uses.setdefault(str(mount.get("Name")), []).append(_Use(name, writes))
    return uses


def _state(
    connection: EngineConnection, declared: DeclaredVolume, uses: Sequence[_Use]
) -> VolumeState:
    state = VolumeState(
        key=declared.key,
        name=declared.name,
        exists=False,
        driver=declared.driver,
        options=declared.options,
        mountpoint=None,
        outside=tuple(sorted({use.container for use in uses})),
        external=declared.external,
        outside_writers=tuple(sorted({use.container for use in uses if use.writes})),
    )
    with translate_engine_errors(f"volume {declared.name} cannot be inspected"):
        try:
            found = connection.api.inspect_volume(declared.name)
        except Exception as error:
            if absent(error):
                return state
            raise
    place = str(found.get("Mountpoint") or "")
    return replace(
        state,
        exists=True,
        driver=str(found["Driver"]),
        options={k: str(v) for k, v in (found.get("Options") or {}).items()},
        project=str((found.get("Labels") or {}).get(LABEL_PROJECT_NAME, "")),
        mountpoint=Path(place) if place and connection.engine().local else None,
    )
