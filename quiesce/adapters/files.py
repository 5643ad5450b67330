"""Writes files so that they survive a power cut: synced and renamed, with their folders synced
too."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from quiesce.adapters import zstd

_BLOCK = 1024 * 1024
_MOST_RESERVED = 1 << 30
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


#: Device, inode, size, and the times of the last change to the content and to the file.
Identity = tuple[int, int, int, int, int]


def identity(path: Path) -> Identity:
    """Return values that change when the file is replaced or written. Never follows a symlink."""
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def sum_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in blocks. Never follows a symlink."""
    digest = hashlib.sha256()
    # A FIFO with this name must not block the open.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def copy_within_room(source: BinaryIO | IO[bytes], target: Path) -> None:
    """Write a stream into a new 0600 file, unless the disk becomes nearly full.

    A small compressed file may unpack to a thousand times its size. Raise OSError (EFBIG).
    """
    disk = os.statvfs(target.parent)
    reserve = min(disk.f_blocks * disk.f_frsize // 20, _MOST_RESERVED)
    with new_private(target) as out:
        while chunk := source.read(_BLOCK):
            disk = os.statvfs(target.parent)
            if disk.f_bavail * disk.f_frsize < reserve + len(chunk):
                raise OSError(errno.EFBIG, "it unpacks to more than the free space on the disk")
            out.write(chunk)


def sum_and_sync(path: Path) -> tuple[str, int]:
    """Sync a file, read it back, and return its SHA-256 and size."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    return sum_of(path), size


def write_synced(path: Path, content: bytes) -> None:
    """Write a new 0600 file and sync it, replacing any file of this name."""
    # One after the other: mkdir sets the mode only of the last one.
    for parent in reversed([one for one in path.parents if not one.exists()]):
        parent.mkdir(mode=0o700, exist_ok=True)
    # Removed, not opened: a link or a FIFO of this name would lead elsewhere.
    path.unlink(missing_ok=True)
    with new_private(path) as file:
        file.write(content)


@contextmanager
def new_private(path: Path) -> Iterator[BinaryIO]:
    """Open a new 0600 file for writing, synced at the end. The name must not exist."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def replace_synced(path: Path, content: bytes) -> None:
    """Replace a file by one rename, so that a reader sees either the old or the new content."""
    partial = path.with_name(f".{path.name}.partial")
    write_synced(partial, content)
    partial.replace(path)
    sync_folder(path.parent)


def compressed(path: Path) -> Path:
    """Compress a file with zstd and a checksum, remove the original, and return the new path."""
    target = path.with_name(f"{path.name}.zst")
    options = {zstd.module().CompressionParameter.checksum_flag: 1}
    with path.open("rb") as plain, zstd.module().open(target, "wb", options=options) as packed:
        shutil.copyfileobj(plain, packed, _BLOCK)
    path.unlink()
    return target


def sync_folder(folder: Path) -> None:
    """Sync a folder's own entries: without it a power cut loses the rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(top: Path) -> None:
    """Sync every folder below and including `top`, innermost first."""
    for folder, _, _ in os.walk(top, topdown=False):
        sync_folder(Path(folder))


def remove_empty_folders(top: Path) -> None:
    """Remove the empty folders below `top`."""
    for folder, _, _ in os.walk(top, topdown=False):
        path = Path(folder)
        if path != top and not any(path.iterdir()):
            path.rmdir()


def regular_files(top: Path) -> Iterator[str]:
    """Yield every entry below `top` that is not a folder, as a path relative to it."""
    for folder, folders, names in os.walk(top):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*names, *links):
            yield str((Path(folder) / name).relative_to(top))


def is_inside(top: Path, file: str) -> bool:
    """Whether `file` is a plain relative path that stays below `top`, through no symlink."""
    path = Path(file)
    if not file or path.is_absolute() or ".." in path.parts or "\0" in file:
        return False
    return not any((top / parent).is_symlink() for parent in (path, *path.parents))


def rename_without_replacing(source: Path, target: Path) -> None:
    """Rename a folder; raise FileExistsError if `target` exists.

    Plain rename(2) silently replaces an empty folder; renameat2 does not. On file systems without
    it (some network ones) the target is checked while the instance's lock is held.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        result = libc.renameat2(
            _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE
        )
        if result == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number), str(target))
    if target.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def make_empty(path: Path) -> Path:
    """Create an empty 0600 file. A helper that writes into it as root leaves it owned by the
    caller."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return path
