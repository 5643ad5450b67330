"""Copies one SQLite database that other processes write to, in a separate process like
`sqlite_child`.

A process that writes to the folder may replace any name in it at any moment, and a journal may name
any file of the machine. So this process first confines itself to the database's own folder: a mount
namespace in which that folder, without devices and programs, is the root. It opens the database
read-only: SQLite then neither rolls back a journal nor empties a log. Like every reader, it may
lock the database there, and create the two files of a log if the database's header requires them.
"""

import ctypes
import json
import os
import resource
import sqlite3
import stat
import sys
import time
import urllib.parse

_HEADER = b"SQLite format 3\0"
_MEMORY = 4 << 30
#: The bytes of a database without a log that are copied at a time, while writers wait.
_STEP = 64 << 20
_MOST_SECONDS = 300.0
#: How long another process may keep the database locked.
_PATIENCE = 30.0
_COMPANIONS = ("-wal", "-shm", "-journal")
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x20000
_BIND, _PRIVATE, _REMOUNT = 0x1000, 0x44000, 0x20
_NO_SETUID_DEVICES_PROGRAMS = 0x2 | 0x4 | 0x8


class Refused(Exception):
    """The database is not copied, and why."""


def copy(root: str, path: str, target: str, point: str) -> dict[str, object]:
    """Copy the database `path` below `root` into the empty file `target`, with its owner, mode and
    attributes. `point` is an empty folder for the mount. Return `database` (False if the file is
    not a database), and `why` it was not copied ("" if it was)."""
    try:
        return {"database": _copy(root, path, target, point), "why": ""}
    except (Refused, OSError) as error:
        return {"database": True, "why": str(error)}
    except MemoryError:
        return {"database": True, "why": "the copy needs more memory than is allowed"}
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 1) & 0xFF
        if code == sqlite3.SQLITE_READONLY:
            return {"database": True, "why": "its journal belongs to an unfinished transaction"}
        return {"database": True, "why": f"SQLite {sqlite3.sqlite_version}: {error}"}


def _copy(root: str, path: str, target: str, point: str) -> bool:
    *parents, name = path.split("/")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for parent in parents:
        folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    # Closing a descriptor of a database drops the process's locks on it, so none is closed.
    content = os.open(target, os.O_RDWR | os.O_NOFOLLOW)
    copied = sqlite3.connect(target, isolation_level=None)
    for setting in ("locking_mode = EXCLUSIVE", "journal_mode = OFF", "synchronous = OFF"):
        copied.execute(f"PRAGMA {setting}").fetchall()
    # The lock stays, so no name beside the copy is looked up in what will be the root.
    copied.execute("BEGIN EXCLUSIVE")
    copied.execute("COMMIT")
    original = _opened(folder, name)
    if original is None:
        return False
    header, times = original
    _keep_attributes(name, folder, content)
    _confine(folder, point)
    _opened(os.open("/", os.O_RDONLY | os.O_DIRECTORY), name)
    source = sqlite3.connect(
        f"file:/{urllib.parse.quote(os.fsencode(name))}?mode=ro",
        uri=True,
        isolation_level=None,
        timeout=0,
    )
    _back_up(source, copied, header)
    copied.close()
    os.utime(content, ns=times)
    return True


def _opened(folder: int, name: str) -> tuple[bytes, tuple[int, int]] | None:
    """Return the header and the times of the database, None for another file."""
    for ending in ("", *_COMPANIONS):
        try:
            found = os.stat(name + ending, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            if not ending:
                return None
            continue
        if not stat.S_ISREG(found.st_mode):
            if not ending:
                return None
            raise Refused(f"{name}{ending} is not a regular file")
        if found.st_nlink > 1 and not ending:
            raise Refused("it has several hard links")
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    header = os.pread(file, 100, 0)
    if not header.startswith(_HEADER):
        return None
    about = os.fstat(file)
    return header, (about.st_atime_ns, about.st_mtime_ns)


def _keep_attributes(name: str, folder: int, content: int) -> None:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    about, own = os.fstat(file), os.fstat(content)
    if (about.st_uid, about.st_gid) != (own.st_uid, own.st_gid):
        os.fchown(content, about.st_uid, about.st_gid)
    os.fchmod(content, stat.S_IMODE(about.st_mode))
    for attribute in os.listxattr(file):
        if attribute != "security.selinux":
            os.setxattr(content, attribute, os.getxattr(file, attribute))


def _confine(folder: int, point: str) -> None:
    """Make the folder the root of this process, with no devices in it."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(made: int) -> None:
        if made:
            number = ctypes.get_errno()
            raise Refused(f"its copy cannot be confined to its folder: {os.strerror(number)}")

    os.fchdir(folder)
    call(libc.unshare(_NEW_MOUNTS | (_NEW_USER if os.geteuid() else 0)))
    where = os.fsencode(point)
    call(libc.mount(None, b"/", None, _PRIVATE, None))
    call(libc.mount(b".", where, None, _BIND, None))
    flags = _BIND | _REMOUNT | _NO_SETUID_DEVICES_PROGRAMS
    call(libc.mount(None, where, None, ctypes.c_ulong(flags), None))
    os.chroot(point)
    os.chdir("/")


def _back_up(source: sqlite3.Connection, copied: sqlite3.Connection, header: bytes) -> None:
    """With a log, everything at once: writers go on meanwhile. Without, step by step; SQLite begins
    again after each change."""
    end = time.monotonic() + _MOST_SECONDS
    page = int.from_bytes(header[16:18], "big")
    patience_ends = time.monotonic() + _PATIENCE
    has_log = header[18] == 2

    def progress(status: int, _remaining: int, _total: int) -> None:
        nonlocal patience_ends
        now = time.monotonic()
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            if now > patience_ends:
                raise Refused("another process keeps it locked")
            return
        patience_ends = now + _PATIENCE
        if status != sqlite3.SQLITE_DONE and now > end:
            raise Refused("other processes wrote to it all the time")

    step = -1 if has_log else max(1, _STEP // (65536 if page == 1 else max(page, 512)))
    source.backup(copied, pages=step, progress=progress, sleep=0.01)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write(json.dumps(copy(*sys.argv[1:5])))
