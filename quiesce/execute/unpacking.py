"""How much the archives of a volume may unpack to. Pure."""

from __future__ import annotations

from quiesce.model import ImportedVolume, VolumeRecord
from quiesce.ports import VolumeSize

#: Where nothing recorded how many entries there are.
_ANY_NUMBER = 1 << 62


def most_unpacked(
    record: VolumeRecord | ImportedVolume, room: int | None = None
) -> VolumeSize | None:
    """Return what all archives of a volume may hold together, None where nothing limits it.

    Level 1 is a part of what the volume held in the end; level 0 may hold what was removed since.
    Where nothing recorded it (an older set, or an archive of another program), `room` is the
    limit: the bytes that are free.
    """
    unknown = VolumeSize(_ANY_NUMBER, room) if room is not None else None
    if isinstance(record, ImportedVolume):
        return unknown
    two = len(record.levels) > 1 or record.gone is not None
    if not two or record.level_0 is not None:
        files, size = record.level_0 if two and record.level_0 is not None else (0, 0)
        return VolumeSize(record.files + files, record.bytes + size)
    return unknown
