"""Finds entries that not even root can rename or remove: immutable (`chattr +i`) or append-only
(`+a`).

They would stop an exchange halfway, and could not be removed with the previous copy. So they are
looked for before anything stops.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from quiesce.adapters.volumes.changes import records
from quiesce.adapters.volumes.location import Place
from quiesce.exclusion import RUN_FOLDER

#: Of linux/stat.h and linux/fcntl.h.
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
_AT_FDCWD, _AT_SYMLINK_NOFOLLOW = -100, 0x100
_ATTRIBUTES = slice(8, 16)
_MOST = 1000

# For root nothing else prevents writing: a read-only file system was refused before.
_FIND = rf"""
cd "$1" && find . -ignore_readdir_race \
-regextype posix-extended -regex '\./{RUN_FOLDER}' -prune -o \
'(' -type f -o -type d ')' ! -writable -printf '%p\0'
"""


def immutable_in_folder(root: Path) -> tuple[bytes, ...] | None:
    """Return such entries of a local folder, as `./a/b`, at most a thousand. None if the system
    does not support the query."""
    ask = _statx()
    if ask is None:
        return None
    found = []
    for path in _walk(os.fsencode(root)):
        if ask(path) & (_IMMUTABLE | _APPEND_ONLY):
            found.append(b"." + path.removeprefix(os.fsencode(root)))
            if len(found) == _MOST:
                break
    return tuple(found)


def immutable_at(place: Place) -> tuple[bytes, ...]:
    """Return the immutable entries of a volume, at a place whose programs run as root. Append-only
    entries cannot be detected there."""
    found = place.run(
        ["sh", "-c", _FIND, "immutable", place.root], what=f"scanning volume {place.volume}"
    )
    return tuple(records(found.output))[:_MOST]


def _walk(root: bytes) -> Iterator[bytes]:
    yield root
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            yield os.path.join(folder, name)  # noqa: PTH118  bytes have no Path


@functools.cache
def _statx() -> Callable[[bytes], int] | None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "statx"):
        return None

    def attributes(path: bytes) -> int:
        answer = ctypes.create_string_buffer(256)
        failed = libc.statx(_AT_FDCWD, path, _AT_SYMLINK_NOFOLLOW, 0, answer)
        return 0 if failed else int.from_bytes(answer.raw[_ATTRIBUTES], sys.byteorder)

    return attributes
