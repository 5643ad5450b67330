"""Private folders and files of Quiesce, accessed without following symbolic links.

`backups/` itself may be a symbolic link or a mount, because people keep backups on another disk.
Quiesce creates everything below it, so a link there was put there by somebody else to redirect
reads or writes. In a folder with mode 0700 and the right owner, nobody else can create one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection
from pathlib import Path
from shlex import quote

from quiesce.errors import RequestError
from quiesce.file_errors import hint_for, reason

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ROOT = 0


def trusted_owners(beside: Path) -> frozenset[int]:
    """Return the users whose folders are trusted: this user and root. If root runs this, the owner
    of `beside` (the stack's folder) is trusted too, because that user controls what is run
    anyway."""
    owners = {os.geteuid(), _ROOT}
    if os.geteuid() == _ROOT:
        with contextlib.suppress(OSError):
            owners.add(beside.stat().st_uid)
    return frozenset(owners)


def make_private(folder: Path) -> None:
    """Create a folder and missing parents, each 0700 (mkdir sets it for the last only)."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def secure_top(folder: Path, owners: Collection[int]) -> None:
    """Ensure that `folder` exists, belongs to one of `owners`, and has mode 0700 if the file system
    supports modes. It may be a symbolic link created by one of them.

    Raise RequestError if other users can write to it.
    """
    try:
        _check_link(folder, owners)
        make_private(folder)
        descriptor = os.open(folder, _FOLDER)
    except OSError as error:
        raise _cannot(folder, error) from error
    try:
        _secure(descriptor, folder, owners)
    finally:
        os.close(descriptor)


def secure_below(top: Path, *names: str, owners: Collection[int], make: bool = False) -> None:
    """Ensure that each folder on the path from `top` is a real folder of one of `owners`, 0700.

    A missing one ends the check, or is created with `make`. Raise RequestError for a symbolic link
    or anything else that is not a folder.
    """
    descriptor = -1
    path = top
    try:
        descriptor = os.open(top, _FOLDER)
        for name in names:
            path = path / name
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=descriptor)
            try:
                below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            except FileNotFoundError:
                return
            os.close(descriptor)
            descriptor = below
            _secure(descriptor, path, owners)
    except OSError as error:
        raise _cannot(path, error) from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def refuse_link(file: Path) -> None:
    """Raise RequestError if there is a symbolic link in the place of a file of Quiesce."""
    if file.is_symlink():
        raise _link(file)


def open_private(file: Path, flags: int) -> int:
    """Open a file of Quiesce, created with mode 0600. Raise OSError: ELOOP for a symbolic link,
    EEXIST for anything but a regular file, EMLINK for one with another hard link.

    Opening a FIFO in its place would block; writing to a hard link would change another file.
    """
    descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    found = os.fstat(descriptor)
    number = errno.EEXIST if not stat.S_ISREG(found.st_mode) else 0
    if not number and found.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
        number = errno.EMLINK
    if number:
        os.close(descriptor)
        raise OSError(number, os.strerror(number), str(file))
    return descriptor


def read_private(file: Path) -> bytes:
    """Return the content of a file of Quiesce. Raise OSError as `open_private`."""
    with os.fdopen(open_private(file, os.O_RDONLY), "rb") as opened:
        return opened.read()


def replace_private(file: Path, content: bytes) -> None:
    """Replace a file with mode 0600 by one rename, synced: readers see the old or new content."""
    partial = file.with_name(f".{file.name}.partial")
    # Removed, not opened: it could be a link or a FIFO.
    partial.unlink(missing_ok=True)
    descriptor = open_private(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    partial.replace(file)
    folder = os.open(file.parent, _FOLDER)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def same_file(descriptor: int, path: Path) -> bool:
    """Whether `path` still names the file that is open as `descriptor`."""
    try:
        named = path.lstat()
    except OSError:
        return False
    held = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def _check_link(folder: Path, owners: Collection[int]) -> None:
    if not folder.is_symlink():
        return
    if (owner := folder.lstat().st_uid) not in owners:
        raise RequestError(
            f"{folder} is a symbolic link that user {owner} created",
            f"see ls -l {quote(str(folder))}; remove the link and create the folder yourself",
        )
    if not folder.exists():
        raise RequestError(
            f"{folder} is a link to {folder.readlink()}, which does not exist",
            "mount that disk, or create the folder",
        )


def _secure(descriptor: int, path: Path, owners: Collection[int]) -> None:
    """Correct owner and mode of an open folder, or refuse it."""
    found = os.fstat(descriptor)
    shown = quote(str(path))
    if found.st_uid not in owners:
        raise RequestError(
            f"{path} belongs to user {found.st_uid}, who can replace its contents",
            f"see ls -ld {shown}; run this as that user, or move the folder away",
        )
    if found.st_mode & stat.S_ISVTX:
        raise RequestError(
            f"several users can write to {path}",
            f"create a folder with mode 0700 in it for the backups, instead of using {shown} "
            "itself",
        )
    if not found.st_mode & 0o077:
        return
    try:
        os.fchmod(descriptor, 0o700)
    except OSError as error:
        if found.st_mode & 0o022:
            raise RequestError(
                f"other users may write to {path}: its mode is {stat.S_IMODE(found.st_mode):04o}",
                f"have its owner, user {found.st_uid}, run: chmod 0700 {shown}",
            ) from error
        return
    # A file system without permission bits accepts the call and changes nothing.
    if os.fstat(descriptor).st_mode & 0o022:
        raise RequestError(
            f"other users may write to {path}, and its file system has no permission bits",
            f"mount it with umask=0077 and this user's uid (findmnt -T {shown})",
        )


def _cannot(path: Path, error: OSError) -> RequestError:
    if error.errno in (errno.ELOOP, errno.ENOTDIR) and path.is_symlink():
        return _link(path)
    return RequestError(f"cannot use {path}: {reason(error)}", hint_for(error, path))


def _link(path: Path) -> RequestError:
    return RequestError(
        f"{path} is a symbolic link, and Quiesce does not follow links below backups/",
        f"check where it points with ls -l {quote(str(path))}, then remove the link",
    )
