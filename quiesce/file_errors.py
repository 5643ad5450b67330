"""Hints for file errors, which depend on the error code.

The same call fails for a full disk, a read-only file system and missing permissions; the remedy for
one is useless or harmful for another.
"""

from __future__ import annotations

import errno
import os
from contextlib import AbstractContextManager
from pathlib import Path
from shlex import quote

from quiesce.errors import QuiesceError, translate_errors

_LOST = "check whether the disk or file server of {place} is mounted: findmnt -T {place}"
_IN_THE_WAY = "something else has this name; check it with ls -ld {place} and move it away"
_HINTS = {
    errno.ENOSPC: "free some space or inodes there (df -h {place}; df -i {place}), then try again",
    errno.EDQUOT: "the disk quota is used up: free some space below {place}, or raise the quota",
    errno.EROFS: (
        "the file system of {place} is read-only: see findmnt -T {place} and dmesg; if the disk "
        "had errors, check it before you mount it writable again"
    ),
    errno.EACCES: (
        "check the permissions with namei -l {place}; run this as the folder's owner, or make this "
        "user its owner"
    ),
    errno.EPERM: (
        "see ls -ld {place} and lsattr -d {place}: its owner or an immutable flag forbids it"
    ),
    errno.EMFILE: ("the limit on open files is too low: raise it (ulimit -n), then try again"),
    errno.ENFILE: "the machine has too many files open: see /proc/sys/fs/file-nr, then try again",
    errno.EIO: (
        "the disk of {place} reports errors: see dmesg, and keep the existing backups until the "
        "disk has been checked"
    ),
    errno.ENAMETOOLONG: "the name is too long for this file system: use a shorter name or folder",
    errno.EFBIG: "the file is larger than allowed: see ulimit -f, and findmnt -T {place}",
    errno.ELOOP: (
        "Quiesce does not follow symbolic links there; check it with ls -l {place} and remove "
        "the link"
    ),
    errno.EMLINK: (
        "{place} has another hard link, and writing would change that file too: make it a separate "
        "file with cp -p {place} {place}.new && mv {place}.new {place}"
    ),
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOENT: "check whether {place} was removed or is not mounted: findmnt -T {place}",
    errno.ESTALE: _LOST,
    errno.ENOTCONN: _LOST,
    errno.ETIMEDOUT: _LOST,
    errno.EHOSTDOWN: _LOST,
    errno.EHOSTUNREACH: _LOST,
    errno.ENODEV: _LOST,
    errno.ENXIO: _LOST,
}


def reason(error: OSError) -> str:
    """Return the system's message for the error, without a path."""
    return os.strerror(error.errno) if error.errno else (error.strerror or "unknown error")


def hint_for(error: OSError, place: Path | str) -> str:
    """Return a hint for this error at `place`, by its errno. Safe if followed literally."""
    text = _HINTS.get(error.errno or 0, "see ls -ld {place} and dmesg, then try again")
    return text.format(place=quote(str(place)))


def translate_write_errors(folder: Path) -> AbstractContextManager[None]:
    """Raise QuiesceError with reason and hint for an OSError of files that are written in `folder`.

    It names the file itself where the system does.
    """

    def translation(error: Exception) -> QuiesceError | None:
        if not isinstance(error, OSError):
            return None
        where = error.filename or folder
        return QuiesceError(f"cannot write {where}: {reason(error)}", hint_for(error, where))

    return translate_errors(translation)


def hint_for_reading(
    error: OSError, place: Path | str, mistaken: str = "check the path and its permissions"
) -> str:
    """Return what to do about a file given by the user that cannot be read; `mistaken` is the hint
    if the path is probably wrong."""
    if error.errno in (None, 0, errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.EISDIR):
        return mistaken
    return hint_for(error, place)
