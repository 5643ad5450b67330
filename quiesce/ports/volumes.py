"""What Quiesce needs from volumes, and from folders in `paths`, which are volumes to this port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from quiesce.exclusion import LeftOut
from quiesce.model import (
    ClusterRecord,
    SqliteRecord,
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
    """What patterns would exclude from a volume, and what would be archived (`kept`). `unmatched`
    are the patterns that match nothing."""

    kept: VolumeSize
    left_out: tuple[LeftOut, ...]
    unmatched: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SqliteCopies:
    """The result of copying the SQLite databases of a volume that services write to: the `record`
    of both levels, the databases that were `copied` through SQLite, and why the others stay as
    they were archived (`as_they_were`)."""

    record: VolumeRecord
    as_they_were: Mapping[str, str] = field(default_factory=dict)
    copied: frozenset[str] = frozenset()


class VolumeIO(Protocol):
    """Reads and writes the contents of volumes, as streams."""

    def measure(self, volume: VolumeState) -> VolumeSize:
        """Return entries and apparent bytes in the volume, without stopping anything."""
        ...

    def survey(self, volume: VolumeState, exclude: Sequence[str], path: str = "") -> VolumeSurvey:
        """Return what these patterns exclude from the volume, or with `path` from that file or
        folder of it, without stopping anything."""
        ...

    def immutable(self, volume: VolumeState) -> tuple[str, ...]:
        """Return the immutable and append-only entries (`./a/b`), which not even root may rename
        or remove. Bytes that are not UTF-8 are surrogates, as in all file names in Python."""
        ...

    def mount_points(self, volume: VolumeState) -> tuple[str, ...]:
        """Return the entries (`./a/b`) below the root that are mount points on the engine's
        machine. They cannot be renamed or removed, and their content is on another file system."""
        ...

    def remarks(self, volume: VolumeState) -> tuple[str, ...]:
        """Return warnings about the last `archive` of this volume."""
        ...

    def begin(self, volume: VolumeState) -> None:
        """Prepare to archive this volume while services run, so that `archive` does not depend on
        services that are stopped later: make sure that it can be read directly, or start a helper
        that runs until `close`."""
        ...

    def archive(
        self,
        volume: VolumeState,
        level: int,
        directory: Path,
        stem: str,
        exclude: Sequence[str],
        progress: Progress,
        *,
        copy: str = "",
    ) -> VolumeRecord:
        """Write `stem.<level>.tar.zst` (and for level 1 `stem.gone`) into `directory`.

        Level 1 contains what changed since this run's level 0, by change time; its record
        describes both levels together. A level 1 without level 0 is a level 0. `copy` is a folder
        in the root in which an exchange left content: it is archived, alone, as if it were the
        volume, with the root's owner, mode and times as they were. It needs no `begin`. Raise
        QuiesceError if it does not exist.
        """
        ...

    def copy_sqlite(
        self,
        volume: VolumeState,
        record: VolumeRecord,
        directory: Path,
        stem: str,
        exclude: Sequence[str],
        progress: Progress,
    ) -> SqliteCopies:
        """Write a level 1 that contains each SQLite database in the level 0 of `record`, copied by
        SQLite's online backup while services write. Each copy is one committed state, without log
        and journal. Databases that cannot be copied stay as they are in level 0."""
        ...

    def clusters(self, volume: VolumeState, copy: str = "") -> tuple[ClusterRecord, ...]:
        """Return every PostgreSQL data directory in the volume, as described by its control file.
        `copy` is as for `archive`. Raise QuiesceError for one that cannot be parsed."""
        ...

    def check(self, archives: Sequence[Path], most: VolumeSize | None = None) -> tuple[str, ...]:
        """Return every member that must not be unpacked, with the reason. Reads the whole archive,
        but stops when it exceeds `most`, which is a reason too."""
        ...

    def sqlite(
        self, archives: Sequence[Path], gone: Path | None, progress: Progress
    ) -> tuple[SqliteRecord, ...]:
        """Unpack these archives one over the other, and return every SQLite database in them with
        the result of checking a copy. No live file is opened. Raise QuiesceError for an archive
        that cannot be read."""
        ...

    def create(self, volume: VolumeState) -> None:
        """Create the volume as Compose would, or the folder and its parents, unless it exists."""
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
        """Choose one file or folder of the staged content, which alone will be exchanged. Return
        its size, including itself. Raise QuiesceError if it does not exist."""
        ...

    def swap(self, volume: VolumeState, run: str, path: str = "") -> None:
        """Exchange live and staged content by renames, including owner, mode and times of the root;
        with `path` only the picked file or folder. This is not atomic: readers must be stopped, and
        after a crash between two renames, calling this again finishes it, or `put_back` undoes
        it."""
        ...

    def put_back(self, volume: VolumeState, run: str, path: str = "") -> None:
        """Undo `swap`, with the same `path`, however far it had got."""
        ...

    def finish_swap(self, volume: VolumeState, run: str) -> None:
        """Remove `.quiesce-<run>` and its contents from the volume."""
        ...

    def leftover_size(self, volume: VolumeState, run: str) -> VolumeSize:
        """Return entries and bytes in `.quiesce-<run>`, which `finish_swap` would remove; zero if
        it does not exist."""
        ...

    def empty(self, volume: VolumeState) -> None:
        """Empty the volume, except for previous copies of restores. The root keeps owner and
        mode."""
        ...

    def empty_folder(self, base: Path, folder: Path) -> int:
        """Empty `base/folder`; return how many entries were removed from it.

        Does not follow symbolic links, not even in the path below `base`. A folder that does not
        exist counts as empty.
        """
        ...

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        """Remove the helpers with this run's label, and return their names."""
        ...

    def close(self) -> None:
        """Remove what `begin` created, and discard the records of level 0."""
        ...
