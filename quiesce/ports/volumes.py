"""What Quiesce needs from volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quiesce.exclusion import LeftOut
from quiesce.model import (
    ClusterRecord,
    VolumeRecord,
)
from quiesce.observed import (
    VolumeState,
)
from quiesce.ports.runtime import Progress


@dataclass(frozen=True, slots=True)
class VolumeSize:
    """Entries below the root, and apparent bytes of regular files."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class VolumeSurvey:
    """What patterns would leave out of a volume, and what would be `kept`. `unmatched` are the
    patterns that match nothing."""

    kept: VolumeSize
    left_out: tuple[LeftOut, ...]
    unmatched: tuple[str, ...]


class VolumeIO(Protocol):
    """The bytes of volumes, in and out. Nothing is held in memory."""

    def measure(self, volume: VolumeState) -> VolumeSize:
        """Entries and apparent bytes in the volume, without stopping anything."""
        ...

    def survey(self, volume: VolumeState, exclude: Sequence[str], path: str = "") -> VolumeSurvey:
        """What these patterns leave out of the volume as it is, or with `path` of that file or
        folder of it, without stopping anything."""
        ...

    def immutable(self, volume: VolumeState) -> tuple[str, ...]:
        """Entries (`./a/b`) that not even root may rename or remove. Bytes that are no UTF-8 are
        surrogates in them, as in every name that Python has from the file system."""
        ...

    def remarks(self, volume: VolumeState) -> tuple[str, ...]:
        """What people should know of the last `archive` of this volume."""
        ...

    def begin(self, volume: VolumeState) -> None:
        """Make ready for archiving this volume, so that `archive` needs nothing that stops:
        proves direct reading, or starts a helper that stays until `close`."""
        ...

    def archive(
        self,
        volume: VolumeState,
        level: int,
        directory: Path,
        stem: str,
        exclude: Sequence[str],
        progress: Progress,
    ) -> VolumeRecord:
        """Write `stem.<level>.tar.zst` (and for level 1 `stem.gone`) into `directory`.

        Level 1 holds what differs from this run's level 0 by the T0 rule (rule 12); its
        record describes both levels together. A level 1 without level 0 is a level 0.
        """
        ...

    def clusters(self, volume: VolumeState) -> tuple[ClusterRecord, ...]:
        """Every PostgreSQL data directory in the volume, as its control file describes it. Raise
        QuiesceError for one that cannot be understood."""
        ...

    def check(self, archives: Sequence[Path], most: VolumeSize | None = None) -> tuple[str, ...]:
        """Every member that must not be unpacked, with its reason. Reads to the end, but no
        further than to what is more than `most`, which is a reason too."""
        ...

    def create(self, volume: VolumeState) -> None:
        """The volume exists, as Compose itself would have made it."""
        ...

    def stage(
        self,
        volume: VolumeState,
        run: str,
        archives: Sequence[Path],
        gone: Path | None,
        most: VolumeSize | None = None,
    ) -> VolumeSize:
        """Unpack beside the live content, in `.quiesce-<run>` inside the volume. No file may
        become larger than `most`."""
        ...

    def pick(self, volume: VolumeState, run: str, path: str) -> VolumeSize:
        """Of what is staged, this file or folder alone is to be exchanged. Return its size,
        itself counted. Raise QuiesceError when there is none."""
        ...

    def swap(self, volume: VolumeState, run: str, path: str = "") -> None:
        """Exchange live and staged content by renames, also owner, mode and times of the root;
        with `path` only what was picked.
        Weaker than a transaction: readers must be stopped, and a death between two renames is
        finished by calling this again or `put_back`."""
        ...

    def put_back(self, volume: VolumeState, run: str, path: str = "") -> None:
        """Undo `swap`, with the same `path`, however far it had got."""
        ...

    def finish_swap(self, volume: VolumeState, run: str) -> None:
        """Remove `.quiesce-<run>` from the volume with all it holds."""
        ...

    def unsettled(self, volume: VolumeState, run: str) -> VolumeSize:
        """What `settle` would remove: entries and bytes in `.quiesce-<run>`."""
        ...

    def empty(self, volume: VolumeState) -> None:
        """Nothing is in the volume but what a restore set aside; its root keeps owner and mode."""
        ...

    def empty_folder(self, base: Path, folder: Path) -> int:
        """Nothing is in `base/folder`; return how many entries went from it.

        Follows no symbolic link, not even in the way there below `base`. A folder that does not
        exist is empty.
        """
        ...

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        """Remove helpers that carry this run's label. Return what was removed."""
        ...

    def close(self) -> None:
        """Remove what `begin` made, and forget what level 0 of each volume held."""
        ...
