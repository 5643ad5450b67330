"""A helper on an engine that cannot mount our folders: what it reads and writes is streamed.

Archives are one program's input or output and go through the connection, compressed on the far
side, into the file of the set or out of it. Everything small (lists of entries, scratch files)
lies in a nameless volume of the helper, which ends with it, and in a copy here: files that we
wrote since are sent before a program that names them runs, and those it wrote are fetched after.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from quiesce.adapters.helper_container import helper_told
from quiesce.adapters.remote_exec import Streams, run_streamed
from quiesce.adapters.remote_files import fetch_file, send_file
from quiesce.adapters.volume_helper import (
    ROOT,
    STAGING,
    HelperEngine,
    ended_by_others,
    mount_of,
    start_helper,
)
from quiesce.adapters.volume_transport import (
    ARCHIVE,
    ENVIRONMENT,
    Ended,
    Scratch,
    check_end,
)
from quiesce.errors import QuiesceError

_EMPTY = (0, 0)


class RemotePlace:
    """A volume of another machine, seen through a helper container that stays until `close`.

    `staging` is the folder of this machine for the scratch files. Raise RequestError when no
    image is good for a helper.
    """

    def __init__(
        self, engine: HelperEngine, run: str, volume: str, staging: Path, *, writable: bool
    ) -> None:
        from docker.types import Mount

        self.volume = volume
        self.root = ROOT
        self._api = engine.api()
        image = engine.image(run)
        self._scratch = Scratch(staging)
        #: By the path a program sees: our file, and the state in which it last came or went.
        self._files: dict[str, Path] = {}
        self._sent: dict[str, tuple[int, int]] = {}
        self._fetched: dict[str, tuple[int, int]] = {}
        mounts = [mount_of(volume, writable=writable), Mount(STAGING, None, "volume")]
        try:
            self._container = start_helper(engine, image, run, volume, mounts)
        except BaseException:
            self._scratch.remove()
            raise

    def see(self, path: Path) -> str:
        if path == self._scratch.path:
            return STAGING
        seen = f"{STAGING}/{path.name}"
        if self._files.setdefault(seen, path) != path:
            raise QuiesceError(f"the helper of volume {self.volume} knows another {path.name}")
        return seen

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        accept: Collection[int] = (0,),
        reads: Path | None = None,
        writes: Path | None = None,
    ) -> Ended:
        output, errors = self._scratch.output("output"), self._scratch.output("errors")
        command = ["--file=-" if part == ARCHIVE else part for part in argv]
        named = [seen for seen in self._files if any(_names(part, seen) for part in command)]
        with helper_told(what):
            for seen in named:
                self._send(seen)
            exit_code = self._run(command, what, Streams(writes or output, errors, reads))
            for seen in named:
                if not self._sent.get(seen, _EMPTY)[0]:
                    self._fetch(seen)
        check_end(exit_code, accept, what, errors)
        return Ended(exit_code, output, errors)

    def output(self, name: str) -> Path:
        path = self._scratch.output(name)
        self._sent.pop(f"{STAGING}/{name}", None)
        return path

    def close(self) -> None:
        try:
            with helper_told(f"removing the helper of volume {self.volume}"):
                self._container.close()
        finally:
            self._scratch.remove()

    def _run(self, command: Sequence[str], what: str, streams: Streams) -> int:
        from docker.errors import APIError, NotFound

        try:
            code = run_streamed(self._api, self._container.id, command, ENVIRONMENT, streams)
        except NotFound:
            raise ended_by_others(what, streams.errors) from None
        except APIError as error:
            if error.status_code == 409:  # it does not run any more
                raise ended_by_others(what, streams.errors) from None
            raise
        if self._container.ends(code):
            raise ended_by_others(what, streams.errors)
        return code

    def _send(self, seen: str) -> None:
        """Send a file that was written here since. An empty one may be a place to write into."""
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
