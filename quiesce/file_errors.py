"""Hints for file errors, which depend on the error code.

The same call fails for a full disk, a read-only file system and missing permissions; the remedy for
one is useless or harmful for another.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from shlex import quote

_LOST = "check whether the disk or file server of {place} is available: findmnt -T {place}"
_IN_THE_WAY = "see ls -ld {place}: something else has this name; move it away"
_HINTS = {
    errno.ENOSPC: "free some space or inodes there (df -h {place}; df -i {place}), then try again",
    errno.EDQUOT: "the disk quota is used up: free some space below {place}, or have it raised",
    errno.EROFS: (
        "the file system of {place} is read-only: see findmnt -T {place} and dmesg; a disk that "
        "had errors is checked before it is mounted writable again"
    ),
    errno.EACCES: "see namei -l {place}: run this as the folder's owner, or give it to this user",
    errno.EPERM: (
        "see ls -ld {place} and lsattr -d {place}: its owner or an immutable flag forbids it"
    ),
    errno.EMFILE: (
        "this process may open too few files: raise the limit (ulimit -n), then try again"
    ),
    errno.ENFILE: "the machine has too many files open: see /proc/sys/fs/file-nr, then try again",
    errno.EIO: (
        "the disk of {place} reports errors: see dmesg, and keep the existing backups until the "
        "disk has been checked"
    ),
    errno.ENAMETOOLONG: "the name is too long for this file system: use a shorter name or folder",
    errno.EFBIG: "the file is larger than allowed: see ulimit -f, and findmnt -T {place}",
    errno.ELOOP: "see ls -l {place}: Quiesce follows no symbolic link there; remove the link",
    errno.EMLINK: (
        "{place} has another hard link, which must not be written: make it a separate file with cp "
        "-p {place} {place}.new && mv {place}.new {place}"
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


def hint_for_reading(
    error: OSError, place: Path | str, mistaken: str = "check the path and its permissions"
) -> str:
    """Return a hint for a file that a user named and that cannot be read; `mistaken` if probably
    another file was meant."""
    if error.errno in (None, 0, errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.EISDIR):
        return mistaken
    return hint_for(error, place)
