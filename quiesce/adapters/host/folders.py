"""Entries of `paths` on the host runtime: folders that any program may use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from quiesce.errors import RequestError
from quiesce.model import Stack, Volume
from quiesce.observed import Mount, VolumeState


def folder_states(declared: Sequence[Volume]) -> Iterator[VolumeState]:
    """Yield the state of the folders among these sources. Raise RequestError for one that is not a
    folder."""
    for entry in declared:
        if entry.folder is None:
            continue
        real = Path(os.path.realpath(entry.folder))
        if real.exists() and not real.is_dir():
            raise RequestError(
                f"path {entry.key} is not a folder: {real}",
                f"remove {entry.key} from paths in stack.yaml; single files cannot be backed up",
            )
        yield VolumeState(entry.key, str(real), real.is_dir(), "bind", {}, real, ())


def folder_mounts(stack: Stack) -> Iterator[Mount]:
    """Yield a mount of each folder. Every service with a command gets these mounts, because it is
    unknown which program writes to a folder."""
    for entry in stack.folders:
        yield Mount(entry.key, str(entry.folder), str(entry.folder), writable=True)
