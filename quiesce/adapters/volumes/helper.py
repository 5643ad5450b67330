"""A helper container that gives access to a volume that is not read directly.

Its programs write into files that this process created: a helper is root inside, and the files stay
the caller's, who may be an ordinary user in group docker.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from quiesce.adapters.compose.engine import LABEL_RUN
from quiesce.adapters.compose.helper_container import (
    VOLUME_LABEL,
    HelperContainer,
    remove_container,
    translate_helper_errors,
)
from quiesce.adapters.volumes.location import (
    ENVIRONMENT,
    NEEDS,
    Place,
    Program,
    last_lines,
    probe_command,
)
from quiesce.errors import QuiesceError, RequestError
from quiesce.observed import VolumeState

if TYPE_CHECKING:
    from docker import APIClient
    from docker.types import Mount

#: Where helpers see the volume and the scratch folder.
ROOT = "/quiesce/volume"
STAGING = "/quiesce/staging"


@dataclass(slots=True)
class HelperEngine:
    """The engine that helpers run on, and their images.

    `images` are tried in order, once; the first that has the programs is used from then on, and
    none is ever pulled. `is_local` tells whether the engine is proven to share this machine's file
    systems. `api` returns the SDK's client; the caller closes it. `labels` returns the labels of a
    new volume, by its key. `project` labels helpers as this project's, so that they are not treated
    as external users of its volumes.
    """

    api: Callable[[], APIClient]
    images: Callable[[], Sequence[str]]
    is_local: Callable[[], bool]
    labels: Callable[[str], Mapping[str, str]]
    project: str = ""
    _image: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def image(self, run: str) -> str:
        """Return the image for helpers. Raise RequestError if none is suitable."""
        with self._lock:
            if self._image is None:
                self._image = next((i for i in self.images() if self._is_suitable(i, run)), None)
            if self._image is None:
                tried = ", ".join(self.images()) or "there is none"
                raise RequestError(
                    f"no image of the stack has {NEEDS} (tried: {tried})",
                    "set 'helper_image' in stack.yaml to an image on this engine that has them",
                )
            return self._image

    def require_local(self, volume: str) -> None:
        """Raise RequestError if helpers cannot see the folders of this machine."""
        if not self.is_local():
            raise RequestError(
                f"volume {volume} is on an engine that does not share this machine's files",
                "run Quiesce on the machine of that engine",
            )

    def create_volume(self, volume: VolumeState) -> None:
        """Create a volume; an existing one is not changed."""
        labels = dict(self.labels(volume.key))
        with translate_helper_errors(f"creating volume {volume.name}"):
            driver = volume.driver or "local"
            self.api().create_volume(volume.name, driver, dict(volume.options), labels)

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        """Remove every helper of this run and return their names."""
        api = self.api()
        wanted = {"label": [f"{LABEL_RUN}={run}", VOLUME_LABEL]}
        with translate_helper_errors("removing helpers"):
            found = api.containers(all=True, filters=wanted)
            for container in found:
                remove_container(api, container["Id"])
        return tuple(container["Names"][0].lstrip("/") for container in found)

    def _is_suitable(self, image: str, run: str) -> bool:
        from docker.errors import APIError

        try:
            container = HelperContainer(self.api(), image, run, self.project, volume="", mounts=[])
        except APIError:
            return False  # no such image, or no `cat` in it
        try:
            return container.execute(probe_command(), {}) == 0
        finally:
            container.close()


class ContainerPlace(Place):
    """A volume that is accessed through a helper container, which runs until `close`.

    `staging` is the local folder for the scratch files; `mounts` are the helper's mounts besides
    the volume. Raise RequestError if no image is suitable.
    """

    def __init__(
        self,
        engine: HelperEngine,
        run: str,
        volume: str,
        staging: Path,
        *,
        writable: bool,
        mounts: Sequence[Mount],
    ) -> None:
        image = engine.image(run)
        super().__init__(volume, ROOT, staging)
        try:
            own = mount_of(volume, writable=writable)
            self._container = _start(engine, image, run, volume, [own, *mounts])
        except BaseException:
            super().close()
            raise

    def close(self) -> None:
        try:
            with translate_helper_errors(f"removing the helper of volume {self.volume}"):
                self._container.close()
        finally:
            super().close()


class HelperPlace(ContainerPlace):
    """A helper on this machine's engine, which sees local folders.

    `folders` are mounted read-only, the parent of the scratch folder (`staging`) writable. A
    `volume` that is an absolute path is that local folder. Raise RequestError if no image is
    suitable or the engine is not local.
    """

    def __init__(
        self,
        engine: HelperEngine,
        run: str,
        volume: str,
        staging: Path,
        *,
        writable: bool,
        folders: Sequence[Path] = (),
    ) -> None:
        from docker.types import Mount

        engine.require_local(volume)
        distinct = sorted({folder.resolve() for folder in folders})
        self._seen = {folder: f"/quiesce/folder-{i}" for i, folder in enumerate(distinct)}
        self._seen[staging.resolve()] = STAGING
        mounts = [
            Mount(target, str(folder), "bind", read_only=target != STAGING)
            for folder, target in self._seen.items()
        ]
        super().__init__(engine, run, volume, staging, writable=writable, mounts=mounts)

    def see(self, path: Path) -> str:
        resolved = path.parent.resolve() / path.name
        for folder, target in self._seen.items():
            if resolved.is_relative_to(folder):
                return os.fspath(target / resolved.relative_to(folder))
        raise QuiesceError(f"the helper of volume {self.volume} cannot see {path}")

    def _carry_out(self, program: Program) -> int:
        command = program.redirected(self.see)
        with translate_helper_errors(program.what):
            code = self._container.execute(command, ENVIRONMENT)
        if code is None:
            raise ended_by_others(program.what, program.errors)
        return code


def mount_of(volume: str, *, writable: bool) -> Mount:
    """Return the mount for a volume, or for the folder that an absolute path names."""
    from docker.types import Mount

    if volume.startswith("/"):
        return Mount(ROOT, volume, "bind", read_only=not writable)
    # Without no_copy the engine fills an empty volume with the image's content.
    return Mount(ROOT, volume, "volume", read_only=not writable, no_copy=True)


def _start(
    engine: HelperEngine, image: str, run: str, volume: str, mounts: Sequence[Mount]
) -> HelperContainer:
    """Start a helper for an existing volume; mounting a missing one would create it."""
    api = engine.api()
    with translate_helper_errors(f"starting a helper for volume {volume}"):
        if not volume.startswith("/"):
            api.inspect_volume(volume)
        return HelperContainer(api, image, run, engine.project, volume, mounts)


def ended_by_others(what: str, errors: Path) -> QuiesceError:
    """Return the error for a helper that was removed by something else."""
    return QuiesceError(
        f"{what} failed: its helper container was stopped",
        "see 'docker events --since 1h' for the cause, then run it again",
        details=last_lines(errors),
    )
