"""A helper on an engine that cannot mount local folders: its input and output is streamed.

Archives are the input or output of a single program and are streamed into or out of the file of the
set, compressed on the remote side. Everything small (lists of entries, scratch files) is in an
anonymous volume of the helper, which is removed with it, and in a local copy: files that were
written here are sent before a program that names them runs, and those that it wrote are fetched
afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quiesce.adapters.compose.copy_files import fetch_file, send_file
from quiesce.adapters.compose.exec_stream import Streams, run_streamed
from quiesce.adapters.compose.helper_container import translate_helper_errors
from quiesce.adapters.volumes.helper import (
    STAGING,
    ContainerPlace,
    HelperEngine,
    ended_by_others,
)
from quiesce.adapters.volumes.location import ARCHIVE, ENVIRONMENT, Program
from quiesce.errors import QuiesceError

_EMPTY = (0, 0)


class RemotePlace(ContainerPlace):
    """A volume on another machine, accessed through a helper container that runs until `close`.

    `staging` is the local folder for the scratch files. Raise RequestError if no image is suitable.
    """

    def __init__(
        self, engine: HelperEngine, run: str, volume: str, staging: Path, *, writable: bool
    ) -> None:
        from docker.types import Mount

        self._api = engine.api()
        #: By the path that a program sees: the local file, and its state when it was last
        #: transferred.
        self._files: dict[str, Path] = {}
        self._sent: dict[str, tuple[int, int]] = {}
        self._fetched: dict[str, tuple[int, int]] = {}
        mounts = [Mount(STAGING, None, "volume")]
        super().__init__(engine, run, volume, staging, writable=writable, mounts=mounts)

    def see(self, path: Path) -> str:
        if path == self._scratch:
            return STAGING
        seen = f"{STAGING}/{path.name}"
        if self._files.setdefault(seen, path) != path:
            raise QuiesceError(
                f"the helper of volume {self.volume} uses {path.name} for another file already"
            )
        return seen

    def output(self, name: str) -> Path:
        path = super().output(name)
        self._sent.pop(f"{STAGING}/{name}", None)
        return path

    def _carry_out(self, program: Program) -> int:
        command = ["--file=-" if part == ARCHIVE else part for part in program.argv]
        named = [seen for seen in self._files if any(_names(part, seen) for part in command)]
        streams = Streams(program.writes or program.output, program.errors, program.reads)
        with translate_helper_errors(program.what):
            for seen in named:
                self._send(seen)
            exit_code = self._run(command, program.what, streams)
            for seen in named:
                if not self._sent.get(seen, _EMPTY)[0]:
                    self._fetch(seen)
        return exit_code

    def _run(self, command: Sequence[str], what: str, streams: Streams) -> int:
        from docker.errors import APIError, NotFound

        try:
            code = run_streamed(self._api, self._container.id, command, ENVIRONMENT, streams)
        except NotFound:
            raise ended_by_others(what, streams.errors) from None
        except APIError as error:
            if error.status_code == 409:  # it is no longer running
                raise ended_by_others(what, streams.errors) from None
            raise
        if self._container.ends(code):
            raise ended_by_others(what, streams.errors)
        return code

    def _send(self, seen: str) -> None:
        """Send a file that was written here since. An empty one may be a place for output."""
        path = self._files[seen]
        if not path.exists():
            return
        state = (path.stat().st_size, path.stat().st_mtime_ns)
        if self._fetched.get(seen) != state and self._sent.get(seen) != state:
            send_file(self._api, self._container.id, path, STAGING)
            self._sent[seen] = state

    def _fetch(self, seen: str) -> None:
        path = self._files[seen]
        if path.exists() and fetch_file(self._api, self._container.id, seen, path):
            self._fetched[seen] = (path.stat().st_size, path.stat().st_mtime_ns)


def _names(part: str, seen: str) -> bool:
    return part == seen or part.endswith(f"={seen}")
