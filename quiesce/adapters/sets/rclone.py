"""Objects of a remote of `rclone`, if that program is on this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, cast

from quiesce.adapters.process import program
from quiesce.adapters.sets.object_store import AlreadyThere
from quiesce.errors import QuiesceError
from quiesce.model import OffsiteStore

#: Seconds for listing, and for anything else that moves little.
SHORT = 300.0
_CHUNK = 1024**2
_HINT = "try it by hand with rclone, then try again"


class Rclone:
    """`object_store.Objects` of `rclone:REMOTE:PATH`. The remote's settings and credentials are in
    rclone's own configuration."""

    def __init__(self, store: OffsiteStore) -> None:
        self._name = store.name
        self._root = store.url.removeprefix("rclone:").rstrip("/")

    def list(self, prefix: str) -> Mapping[str, int]:
        argv = ["lsjson", "--recursive", "--files-only", "--no-mimetype", "--no-modtime"]
        # A missing folder counts as empty: rclone exits with 3 for it.
        listed = program.run(
            ["rclone", *argv, self._place(prefix)],
            timeout=SHORT,
            accept=(0, 3),
            what=f"store {self._name}: rclone lsjson",
            hint=_HINT,
        )
        found = json.loads(listed.stdout or b"[]") if listed.exit_code == 0 else []
        return {f"{prefix}/{entry['Path']}": int(entry["Size"]) for entry in found}

    def send(self, name: str, path: Path, progress: Callable[[int], None]) -> None:
        self._run("copyto", "--no-traverse", "--ignore-times", str(path), self._place(name))
        progress(path.stat().st_size)

    def create(self, name: str, content: bytes) -> None:
        # Remotes have no common way to refuse overwriting, so check first, then write.
        folder, _, last = name.rpartition("/")
        if f"{folder}/{last}" in self.list(folder):
            raise AlreadyThere(name)
        program.run(
            ["rclone", "rcat", self._place(name)],
            stdin=content,
            timeout=SHORT,
            what=f"store {self._name}: rclone rcat",
            hint=_HINT,
        )

    def read(self, name: str) -> Iterator[bytes]:
        argv = ["rclone", "cat", "--", self._place(name)]
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as running:
            output = cast("IO[bytes]", running.stdout)
            try:
                while chunk := output.read(_CHUNK):
                    yield chunk
            finally:
                output.close()
                code = running.wait()
        if code:
            raise QuiesceError(f"store {self._name}: {name} cannot be read (rclone: {code})", _HINT)

    def remove(self, name: str) -> None:
        if name in self.list(name.rpartition("/")[0]):
            self._run("deletefile", self._place(name))

    def _run(self, *argv: str) -> None:
        program.run(["rclone", *argv], what=f"store {self._name}: rclone {argv[0]}", hint=_HINT)

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}" if not self._root.endswith(":") else f"{self._root}{name}"
