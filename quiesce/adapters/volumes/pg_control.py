"""Finds PostgreSQL data directories in a volume, and reads their control files.

The control file is parsed here instead of by `pg_controldata`, because that program is in the
database's image, and a stopped container cannot run programs. Its first 40 bytes have been the same
since PostgreSQL 11 (`src/include/catalog/pg_control.h`): system identifier, two versions, state,
time, checkpoint.
"""

from __future__ import annotations

import os
import struct

from quiesce.adapters.volumes.location import Place
from quiesce.errors import QuiesceError
from quiesce.exclusion import RUN_FOLDER
from quiesce.model import ClusterRecord

_HEAD = struct.Struct("=QIIi4xqQ")
_STATES = (
    "starting up",
    "shut down",
    "shut down in recovery",
    "shutting down",
    "in crash recovery",
    "in archive recovery",
    "in production",
)
_OLDEST, _NEWEST = 1100, 3000
_FIND = rf"""
cd "$1" && find . -maxdepth 5 -regextype posix-extended -regex '\./{RUN_FOLDER}' -prune -o \
-type f -path '*/global/pg_control' -printf '%P\0'
"""


def find_clusters(place: Place, key: str) -> tuple[ClusterRecord, ...]:
    """Return every data directory of the volume with this key, by path.

    Raise QuiesceError for a control file that is not understood.
    """
    found = place.run(
        ["sh", "-c", _FIND, "clusters", place.root],
        what=f"looking for data directories in volume {place.volume}",
    )
    paths = sorted(os.fsdecode(path) for path in found.output.read_bytes().split(b"\0") if path)
    return tuple(_describe(place, key, path) for path in paths)


def _describe(place: Place, key: str, path: str) -> ClusterRecord:
    directory = path.removesuffix("global/pg_control").rstrip("/")
    root = f"{place.root}/{directory}" if directory else place.root
    version = _read(place, f"{root}/PG_VERSION").decode(errors="replace").strip()
    control = _read(place, f"{root}/global/pg_control")
    locks = place.run(
        ["find", root, "-maxdepth", "1", "-name", "postmaster.pid", "-printf", "x"],
        what=f"looking for postmaster.pid in volume {place.volume}",
    )
    state, identifier, checkpoint = read_control(control, f"{path} of volume {place.volume}")
    return ClusterRecord(
        volume=key,
        directory=directory or ".",
        version=version,
        state=state,
        open=bool(locks.output.stat().st_size),
        system_identifier=identifier,
        checkpoint=checkpoint,
    )


def read_control(content: bytes, where: str) -> tuple[str, str, str]:
    """Return state, system identifier and position of the last checkpoint from a control file.

    Raise QuiesceError naming `where` if it is not one.
    """
    if len(content) < _HEAD.size:
        raise _not_understood(where)
    identifier, version, _, state, _, checkpoint = _HEAD.unpack_from(content)
    if not (_OLDEST <= version <= _NEWEST and 0 <= state < len(_STATES)):
        raise _not_understood(where)
    return _STATES[state], str(identifier), f"{checkpoint >> 32:X}/{checkpoint & 0xFFFFFFFF:X}"


def _not_understood(where: str) -> QuiesceError:
    return QuiesceError(
        f"{where} is not a PostgreSQL control file that Quiesce understands",
        "make a consistent backup instead: it dumps the databases",
    )


def _read(place: Place, file: str) -> bytes:
    return place.run(["cat", "--", file], what=f"reading {file}").output.read_bytes()
