"""A helper container: the place of a volume that is not reached directly.

What its programs write goes into files that this process made: a helper is root inside, and the
files stay the caller's, who may be an ordinary user in group docker.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from quiesce.adapters.compose_engine import LABEL_RUN
from quiesce.adapters.helper_container import (
    VOLUME_LABEL,
    HelperContainer,
    helper_told,
    remove_container,
)
from quiesce.adapters.volume_transport import (
    ENVIRONMENT,
    NEEDS,
    Ended,
    Scratch,
    check_end,
    last_lines,
    name_archive,
    probe_command,
)
from quiesce.errors import QuiesceError, RequestError

if TYPE_CHECKING:
    from docker import APIClient
    from docker.types import Mount

#: Where helpers see the volume and their scratch folder.
ROOT = "/quiesce/volume"
STAGING = "/quiesce/staging"


@dataclass(slots=True)
class HelperEngine:
    """The engine helpers run on, and what to make them from.

    `images` are tried in order, once; the first with the programs is used from then on, and none
    is ever pulled. `is_local` tells whether the engine is proven to share this machine's file
    systems. `api` gives the SDK's client; it belongs to the caller, who closes it. `project` marks
    helpers as this project's: they are no strangers to its volumes.
    """

    api: Callable[[], APIClient]
    images: Callable[[], Sequence[str]]
    is_local: Callable[[], bool]
    compose_version: str = ""
    project: str = ""
    _image: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def image(self, run: str) -> str:
        """Return the image for helpers. Raise RequestError when none is good for it."""
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
        """Raise RequestError where a helper could not see the folders of this machine."""
        if not self.is_local():
            raise RequestError(
                f"volume {volume} is on an engine that does not share this machine's files",
                "run Quiesce on the machine of that engine",
            )

    def create_volume(
        self, name: str, driver: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> None:
        """Make a volume; one that exists is left as it is."""
        with helper_told(f"creating volume {name}"):
            self.api().create_volume(name, driver or "local", dict(options), dict(labels))

    def sweep(self, run: str) -> tuple[str, ...]:
        """Remove every helper of this run and return their names."""
        api = self.api()
        wanted = {"label": [f"{LABEL_RUN}={run}", VOLUME_LABEL]}
        with helper_told("sweeping helpers"):
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


class HelperPlace:
    """A volume seen through a helper container, which stays until `close`.

    `folders` of this machine are seen read-only, the scratch folder's parent (`staging`) always
    and writable. A `volume` that is an absolute path is that folder of this machine. Raise
    RequestError when no image is good for it or the engine is not local.
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
        engine.require_local(volume)
        self.volume = volume
        self.root = ROOT
        image = engine.image(run)
        self._scratch = Scratch(staging)
        distinct = sorted({folder.resolve() for folder in folders})
        self._seen = {folder: f"/quiesce/folder-{i}" for i, folder in enumerate(distinct)}
        self._seen[staging.resolve()] = STAGING
        try:
            self._container = self._start(engine, image, run, staging.resolve(), writable=writable)
        except BaseException:
            self._scratch.remove()
            raise

    def _start(
        self, engine: HelperEngine, image: str, run: str, staging: Path, *, writable: bool
    ) -> HelperContainer:
        from docker.types import Mount

        mounts = [mount_of(self.volume, writable=writable)]
        for folder, target in self._seen.items():
            mounts.append(Mount(target, str(folder), "bind", read_only=folder != staging))
        return start_helper(engine, image, run, self.volume, mounts)

    def see(self, path: Path) -> str:
        resolved = path.parent.resolve() / path.name
        for folder, target in self._seen.items():
            if resolved.is_relative_to(folder):
                return os.fspath(target / resolved.relative_to(folder))
        raise QuiesceError(f"the helper of volume {self.volume} cannot see {path}")

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        accept: Collection[int] = (0,),
        reads: Path | None = None,
        writes: Path | None = None,
    ) -> Ended:
        argv = name_archive(argv, self.see, reads or writes)
        see = self.see(self._scratch.path)
        command, output, errors = self._scratch.redirect(argv, see)
        with helper_told(what):
            exit_code = self._container.execute(command, ENVIRONMENT)
        if exit_code is None:
            raise ended_by_others(what, errors)
        check_end(exit_code, accept, what, errors)
        return Ended(exit_code, output, errors)

    def output(self, name: str) -> Path:
        return self._scratch.output(name)

    def close(self) -> None:
        try:
            with helper_told(f"removing the helper of volume {self.volume}"):
                self._container.close()
        finally:
            self._scratch.remove()


def mount_of(volume: str, *, writable: bool) -> Mount:
    """How a helper sees a volume, or the folder that an absolute path names."""
    from docker.types import Mount

    if volume.startswith("/"):
        return Mount(ROOT, volume, "bind", read_only=not writable)
    # Without no_copy the engine fills an empty volume with what the image has there.
    return Mount(ROOT, volume, "volume", read_only=not writable, no_copy=True)


def start_helper(
    engine: HelperEngine, image: str, run: str, volume: str, mounts: Sequence[Mount]
) -> HelperContainer:
    """Start a helper for a volume that exists; mounting one that does not would make it."""
    api = engine.api()
    with helper_told(f"starting a helper for volume {volume}"):
        if not volume.startswith("/"):
            api.inspect_volume(volume)
        return HelperContainer(api, image, run, engine.project, volume, mounts)


def ended_by_others(what: str, errors: Path) -> QuiesceError:
    """The error for a helper that is gone though nobody here removed it."""
    return QuiesceError(
        f"{what} failed: its helper container was ended",
        "see 'docker events' for who removed it, then run it again",
        details=last_lines(errors),
    )
