"""Finds large SQLite databases that hardly change from set to set. Pure. Every set contains a full
copy of them, so they are most of the data that a nightly backup reads and stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quiesce.model import BackupSet, SqliteRecord

#: The minimum size, in bytes.
LARGE = 256 << 20
#: The maximum share of its bytes and of its rows that may differ.
LITTLE = 0.01


@dataclass(frozen=True, slots=True)
class LargeDatabase:
    """A large SQLite database of the newest full set.

    `changed` is the larger share by which its bytes and its numbers of rows differ from those in
    the set `since`. Rows that were updated in place are not seen.
    """

    volume: str
    file: str
    bytes: int
    changed: float
    since: str


def large_unchanged(sets: Sequence[BackupSet]) -> tuple[LargeDatabase, ...]:
    """Return those that hardly differ between the two newest full sets, the largest first.

    `sets` are the sets of one instance, oldest first. Safety sets do not count.
    """
    full = [one for one in sets if one.manifest.kind == "full" and not one.manifest.safety]
    if len(full) < 2:
        return ()
    before, now = (_databases(one) for one in full[-2:])
    found = [
        LargeDatabase(*place, record.bytes, changed, full[-2].name)
        for place, record in now.items()
        if record.bytes >= LARGE
        and place in before
        and (changed := _share_changed(before[place], record)) <= LITTLE
    ]
    return tuple(sorted(found, key=lambda one: (-one.bytes, one.volume, one.file)))


def _databases(one: BackupSet) -> Mapping[tuple[str, str], SqliteRecord]:
    """Return the good ones by the key of the volume and the file."""
    return {
        (volume.key, record.file): record
        for volume in one.manifest.volumes
        for record in volume.sqlite or ()
        if record.is_good
    }


def _share_changed(before: SqliteRecord, now: SqliteRecord) -> float:
    tables = before.tables.keys() | now.tables.keys()
    rows = sum(abs(now.tables.get(name, 0) - before.tables.get(name, 0)) for name in tables)
    return max(abs(now.bytes - before.bytes) / now.bytes, rows / max(sum(now.tables.values()), 1))
