"""The limit for unpacking the archives of a volume. Pure."""

from __future__ import annotations

from quiesce.model import ImportedVolume, VolumeRecord
from quiesce.ports import VolumeSize

#: Used if the number of entries was not recorded.
_ANY_NUMBER = 1 << 62


def most_unpacked(
    record: VolumeRecord | ImportedVolume, room: int | None = None
) -> VolumeSize | None:
    """Return the maximum total size of the archives, or None for no limit.

    Level 1 is a part of the volume's final content; level 0 may contain entries that were deleted
    since. If the size was not recorded (in an older set, or an archive of another program), the
    limit is `room`, the free bytes.
    """
    unknown = VolumeSize(_ANY_NUMBER, room) if room is not None else None
    if isinstance(record, ImportedVolume):
        return unknown
    if len(record.levels) == 1 and record.gone is None:
        return VolumeSize(record.files, record.bytes)
    if record.level_0 is None:
        return unknown
    files, size = record.level_0
    return VolumeSize(record.files + files, record.bytes + size)
