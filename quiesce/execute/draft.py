"""A set while it is being made: the members that are finished, and their sums.

A member is read back once before its set is published. For archives, this happens in the background
while services become healthy and databases are dumped, because both leave processor time unused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from quiesce.errors import QuiesceError
from quiesce.model import (
    ClusterRecord,
    DatabaseRecord,
    LeftOutFile,
    Member,
    MemberKind,
    Undeclared,
    VolumeRecord,
)
from quiesce.observed import Activity
from quiesce.plan.steps import OpenSet
from quiesce.ports import Measured, SqliteCopies

#: A member before it is measured: its file in the set, its kind, and its source.
Finished = tuple[str, MemberKind, str]


@dataclass(slots=True)
class Draft:
    """The only record of an unfinished set; the store keeps no state of it. `measure` reads a
    finished file back. `measured` contains the results, by the name that the file had before it was
    encrypted.
    """

    opened: OpenSet
    directory: Path
    created_at: datetime
    began: float
    measure: Callable[[Finished], Measured]
    databases: list[DatabaseRecord] = field(default_factory=list)
    volumes: dict[str, VolumeRecord] = field(default_factory=dict)
    files: list[Finished] = field(default_factory=list)
    #: The results of copying the SQLite databases of each volume, in a live backup.
    copies: dict[str, SqliteCopies] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)
    clusters: list[ClusterRecord] = field(default_factory=list)
    inconsistencies: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    undeclared: tuple[Undeclared, ...] = ()
    activity: Activity | None = None
    ignored: tuple[str, ...] = ()
    stack_left_out: tuple[LeftOutFile, ...] = ()
    _thread: threading.Thread | None = None

    def finished(self) -> list[Finished]:
        """The members that are complete, in the order of the steps that made them."""
        found = list(self.files)
        for key, record in self.volumes.items():
            found += [(file, "volume", key) for file in record.levels]
            found += [(record.gone, "gone", key)] if record.gone else []
        return found

    def members(self) -> tuple[Member, ...]:
        """The manifest entries of the finished files. All of them must have been measured."""
        return tuple(self.measured[file].member for file, *_ in self.finished())

    def measure_meanwhile(self) -> None:
        """Begin to measure finished members, in the background and one after the other.

        A failure there is not reported, because `measure_rest` tries again and raises it.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        if new := self._unmeasured():
            # A daemon thread, so that a run that failed does not wait for sums that nobody needs.
            self._thread = threading.Thread(target=self._try, args=(new,), daemon=True)
            self._thread.start()

    def measure_rest(self, progress: Callable[[str, int], None]) -> None:
        """Measure every finished member that was not measured yet."""
        if self._thread is not None:
            self._thread.join()
        for one in self._unmeasured():
            progress(f"computing checksum of {one[0]}", 0)
            self.measured[one[0]] = self.measure(one)

    def _unmeasured(self) -> list[Finished]:
        return [one for one in self.finished() if one[0] not in self.measured]

    def _try(self, members: Sequence[Finished]) -> None:
        for one in members:
            try:
                self.measured[one[0]] = self.measure(one)
            except (OSError, QuiesceError):
                return
