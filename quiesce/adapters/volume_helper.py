"""A helper container: the place of a volume that is not reached directly.

It runs `cat` on an input that this process holds open, so the kernel and the engine end it with
us, whatever ends us; the label is for the sweep of what even that missed. It has no network, no
log, no writable root and only the capabilities that copying files needs. Programs run in it by
the engine's exec, and their exit code is the engine's own word (`exec inspect`), never that of a
client. Whatever they write goes into files that this process made: a helper is root inside, and
the files stay the caller's, who may be an ordinary user in group docker.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiesce.adapters.compose_engine import LABEL_HELPER, LABEL_PROJECT, LABEL_RUN
from quiesce.adapters.volume_transport import (
    ENVIRONMENT,
    NEEDS,
    Ended,
    Scratch,
    check_end,
    last_lines,
    probe_command,
)
from quiesce.errors import QuiesceError, RequestError

if TYPE_CHECKING:
    from docker import APIClient

#: On every helper: the real name of its volume.
VOLUME_LABEL = "quiesce.volume"

_ROOT = "/quiesce/volume"
_STAGING = "/quiesce/staging"
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
_GONE_SECONDS = 10.0
_DYING_SECONDS = 2.0
_KILLED = 128 + 9


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
        with _told(f"creating volume {name}"):
            self.api().create_volume(name, driver or "local", dict(options), dict(labels))

    def sweep(self, run: str) -> tuple[str, ...]:
        """Remove every helper of this run and return their names."""
        api = self.api()
        wanted = {"label": [f"{LABEL_RUN}={run}", VOLUME_LABEL]}
        with _told("sweeping helpers"):
            found = api.containers(all=True, filters=wanted)
            for container in found:
                _remove(api, container["Id"])
        return tuple(container["Names"][0].lstrip("/") for container in found)

    def _is_suitable(self, image: str, run: str) -> bool:
        from docker.errors import APIError

        try:
            container = _Container(self.api(), image, run, self.project, volume="", mounts=[])
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
        self.root = _ROOT
        image = engine.image(run)
        self._scratch = Scratch(staging)
        distinct = sorted({folder.resolve() for folder in folders})
        self._seen = {folder: f"/quiesce/folder-{i}" for i, folder in enumerate(distinct)}
        self._seen[staging.resolve()] = _STAGING
        try:
            self._container = self._start(engine, image, run, staging.resolve(), writable=writable)
        except BaseException:
            self._scratch.remove()
            raise

    def _start(
        self, engine: HelperEngine, image: str, run: str, staging: Path, *, writable: bool
    ) -> _Container:
        from docker.types import Mount

        api = engine.api()
        if self.volume.startswith("/"):
            root = Mount(_ROOT, self.volume, "bind", read_only=not writable)
        else:
            # Without no_copy the engine fills an empty volume with what the image has there.
            root = Mount(_ROOT, self.volume, "volume", read_only=not writable, no_copy=True)
        mounts = [root]
        for folder, target in self._seen.items():
            mounts.append(Mount(target, str(folder), "bind", read_only=folder != staging))
        with _told(f"starting a helper for volume {self.volume}"):
            # Asked first, because mounting a volume that is not there makes one.
            if not self.volume.startswith("/"):
                api.inspect_volume(self.volume)
            return _Container(api, image, run, engine.project, self.volume, mounts)

    def see(self, path: Path) -> str:
        resolved = path.parent.resolve() / path.name
        for folder, target in self._seen.items():
            if resolved.is_relative_to(folder):
                return os.fspath(target / resolved.relative_to(folder))
        raise QuiesceError(f"the helper of volume {self.volume} cannot see {path}")

    def run(self, argv: Sequence[str], *, what: str, accept: Collection[int] = (0,)) -> Ended:
        see = self.see(self._scratch.path)
        command, output, errors = self._scratch.redirect(argv, see)
        with _told(what):
            exit_code = self._container.execute(command, ENVIRONMENT)
        if exit_code is None:
            raise QuiesceError(
                f"{what} failed: its helper container was ended",
                "see 'docker events' for who removed it, then run it again",
                details=last_lines(errors),
            )
        check_end(exit_code, accept, what, errors)
        return Ended(exit_code, output, errors)

    def output(self, name: str) -> Path:
        return self._scratch.output(name)

    def close(self) -> None:
        self._container.close()
        self._scratch.remove()


class _Container:
    """One running helper. Ends with this process: its input is a connection of ours."""

    def __init__(
        self,
        api: Any,
        image: str,
        run: str,
        project: str,
        volume: str,
        mounts: Sequence[Mapping[str, Any]],
    ) -> None:
        from docker.types import LogConfig

        self._api = api
        self._input: Any = None
        host = api.create_host_config(
            mounts=list(mounts),
            network_mode="none",
            log_config=LogConfig(type="none"),
            auto_remove=True,
            read_only=True,
            cap_drop=["ALL"],
            cap_add=list(_CAPABILITIES),
            # A label of SELinux would keep it from our folders; without effect elsewhere.
            security_opt=["label=disable", "no-new-privileges"],
        )
        created = api.create_container(
            image,
            entrypoint=["cat"],
            command=[],
            user="0:0",
            stdin_open=True,
            labels={
                LABEL_HELPER: "1",
                LABEL_RUN: run,
                LABEL_PROJECT: project,
                VOLUME_LABEL: volume,
            },
            healthcheck={"test": ["NONE"]},
            host_config=host,
        )
        self.id: str = created["Id"]
        try:
            self._input = api.attach_socket(self.id, params={"stdin": 1, "stream": 1})
            api.start(self.id)
        except BaseException:
            self.close()
            raise

    def execute(self, argv: Sequence[str], environment: Mapping[str, str]) -> int | None:
        """Run a program and return its exit code; None when the container ended meanwhile."""
        from docker.errors import APIError, NotFound

        try:
            made = self._api.exec_create(
                self.id, list(argv), stdout=False, stderr=False, environment=dict(environment)
            )
            self._api.exec_start(made["Id"], detach=True)
            pause = 0.005
            while (state := self._api.exec_inspect(made["Id"]))["Running"]:
                time.sleep(pause)
                pause = min(pause * 1.5, 0.1)
        except NotFound:
            return None
        except APIError as error:
            if error.status_code == 409:  # it does not run any more
                return None
            raise
        except BaseException:
            # What runs in it must not go on without us.
            self.close()
            raise
        code: int | None = state["ExitCode"]
        return None if code is None or self._ends(code) else code

    def _ends(self, code: int) -> bool:
        """Whether the container is what ended, not the program alone.

        When a container is killed, its programs are dead a moment before the engine says that it
        is: a program that was killed is given that moment.
        """
        deadline = time.monotonic() + (_DYING_SECONDS if code == _KILLED else 0.0)
        while self._runs():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def _runs(self) -> bool:
        from docker.errors import NotFound

        try:
            return bool(self._api.inspect_container(self.id)["State"]["Running"])
        except NotFound:
            return False

    def close(self) -> None:
        connection, self._input = self._input, None
        if connection is not None:
            # The SDK gives a reader on the socket; the socket ends only when both are closed. Its
            # response reads what is left, which some versions of Python then call an error.
            for part in (connection, getattr(connection, "_sock", None), _response_of(connection)):
                with contextlib.suppress(OSError, ValueError):
                    if part is not None:
                        part.close()
        _remove(self._api, self.id)


def _response_of(connection: Any) -> Any:
    return getattr(connection, "_response", None)


def _remove(api: Any, container: str) -> None:
    """The container is gone. It may be going by itself (auto_remove) at the same time."""
    from docker.errors import APIError, NotFound

    deadline = time.monotonic() + _GONE_SECONDS
    while True:
        try:
            api.remove_container(container, force=True)
            return
        except NotFound:
            return
        except APIError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def _told(what: str) -> Any:
    """Turn the SDK's errors into ours, at this one place."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        reason = str(error.explanation or error).strip()
        raise QuiesceError(
            f"{what} failed: {reason}", "see 'docker info' and 'inv doctor'"
        ) from error
    except (DockerException, RequestException) as error:
        raise QuiesceError(
            f"{what} failed: the engine does not answer", "see 'docker info', then try again"
        ) from error
