"""Which files of a volume are open for writing: seen from here, or from beside its writers."""

from __future__ import annotations

from pathlib import Path

from quiesce.adapters.volumes.folder_root import mounts_below
from quiesce.adapters.volumes.helper import HelperEngine
from quiesce.adapters.volumes.location import Place
from quiesce.adapters.volumes.open_files import Writing, seen_writing
from quiesce.adapters.volumes.open_files_helper import seen_beside_writers
from quiesce.observed import VolumeState


def files_in_use(
    helper: HelperEngine | None, run: str, staging: Path, volume: VolumeState, place: Place
) -> Writing:
    """Return the files that are open for writing in the volume, which is read at `place`.

    A file system that is mounted in a folder may have times of any kind, so such a folder counts
    as one whose writers cannot be seen.
    """
    writing = _seen(helper, run, staging, volume, place)
    if volume.is_folder and not writing.unseen and (points := mounts_below(place)):
        first = points[0].decode(errors="backslashreplace")
        writing.unseen = f"{first} is a mount point, and its file system may date writes late"
    return writing


def _seen(
    helper: HelperEngine | None, run: str, staging: Path, volume: VolumeState, place: Place
) -> Writing:
    if helper is None:
        return seen_writing(Path(place.root), whole_machine=False)
    if helper.is_local():
        root = volume.mountpoint or Path("/")
        writing = seen_writing(root, whole_machine=True)
        if not writing.unseen:
            return writing
    return seen_beside_writers(helper, run, volume, staging)
