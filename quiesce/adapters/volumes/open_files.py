"""Finds files that are open for writing, in the process table of this machine.

The kernel sets a file's times when a write begins. A write that began more than the clock margin
before level 0, and is still copying when tar reads the file, leaves no trace in any time stamp.
While it copies, the process has the file open or mapped. So files that are open for writing when
level 0 begins are archived again in level 1 whatever their times are. Files are identified by
device and inode, which are the same in every mount namespace and under every name.

If something cannot be inspected, `unseen` says why, and level 1 is the whole volume.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: File systems of volumes with two levels. Calling stat on a descriptor of another one (a file
#: server that is down) could hang.
_ASKED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "overlay"})
_PATIENCE_SECONDS = 30.0
_SYS_PTRACE = 1 << 19
#: The kernel's constant for the first PID namespace (PROC_PID_INIT_INO).
_FIRST_NAMESPACE = "pid:[4026531836]"
#: The machine's first process starts others and writes to no volume; security modules hide it even
#: from root.
_INIT = "1"
#: The number of the system call kcmp, and its argument for comparing file descriptors.
_KCMP = {"x86_64": 312, "aarch64": 272}
_KCMP_FILES = 2
_GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(slots=True)
class Writing:
    """The files that were open for writing: device and inode as find prints them.

    `inodes` are those with an unknown device, which match on any device. `unseen` is the reason why
    there may be others; if it is set, the list is incomplete.
    """

    files: set[tuple[bytes, bytes]] = field(default_factory=set)
    inodes: set[bytes] = field(default_factory=set)
    unseen: str = ""

    def __contains__(self, file: object) -> bool:
        if not isinstance(file, tuple):
            return False
        return file in self.files or file[1] in self.inodes


def seen_writing(root: Path, *, whole_machine: bool, proc: Path = Path("/proc")) -> Writing:
    """Return the files that processes of this machine have open for writing.

    `whole_machine`: any process may write, so all of them must be inspected. Otherwise only
    processes of this user are assumed to write in `root`, and root's not to, provided that no other
    user can enter it.
    """
    if whole_machine and _namespace(proc) != _FIRST_NAMESPACE:
        return Writing(unseen="processes outside of this container cannot be seen")
    privileged = _sees_all(proc)
    if not privileged and (whole_machine or not _is_closed(root)):
        return Writing(unseen="processes of other users cannot be seen")
    found = Writing(unseen="inspecting processes took too long")
    table = _Table(proc, None if privileged else os.geteuid())

    def look() -> None:
        result = table.read()
        found.files, found.inodes, found.unseen = result.files, result.inodes, result.unseen

    # A process that hangs in the kernel can block a reader of its maps.
    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    looker.join(_PATIENCE_SECONDS)
    return found


def _namespace(proc: Path) -> str:
    try:
        return str((proc / "self/ns/pid").readlink())
    except OSError:
        return ""


def _sees_all(proc: Path) -> bool:
    """Whether all processes can be inspected: then `hidepid` and other users do not matter."""
    try:
        status = (proc / "self/status").read_text()
    except OSError:
        return False
    effective = next((x for x in status.splitlines() if x.startswith("CapEff:")), "CapEff: 0")
    return bool(int(effective.split()[1], 16) & _SYS_PTRACE)


def _is_closed(root: Path) -> bool:
    """Whether a parent folder belongs to this user and only root can enter it besides."""
    for folder in (root, *root.resolve().parents):
        status = folder.stat()
        if status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return True
    return False


class _Table:
    """The process table. `only` is the user whose processes must be inspected, None for all."""

    def __init__(self, proc: Path, only: int | None) -> None:
        self._proc = proc
        self._only = only
        self._found = Writing()
        self._mounts: dict[str, Mapping[str, str]] = {}

    def read(self) -> Writing:
        for process in self._proc.iterdir():
            if not process.name.isdigit():
                continue
            try:
                self._process(process)
            except _GONE:
                continue
            except PermissionError:
                if self._must_see(process):
                    self._found.unseen = f"process {process.name} cannot be inspected"
            except OSError as error:
                self._found.unseen = f"process {process.name}: {error.strerror}"
            if self._found.unseen:
                break
        return self._found

    def _must_see(self, process: Path) -> bool:
        if process.name == _INIT:
            return False
        if self._only is None:
            return True
        try:
            # A process that changed its user cannot be inspected by its current user.
            about = _fields((process / "status").read_bytes())
        except _GONE:
            return False
        return str(self._only) in about.get("Uid", "").split()

    def _process(self, process: Path) -> None:
        mapped: set[bytes] = set()
        # Threads may have separate descriptors, and the first thread may have ended.
        for task in (process / "task").iterdir():
            with contextlib.suppress(*_GONE):
                if task.name == process.name or not _share(process.name, task.name):
                    self._task(task)
                if not mapped:
                    with (task / "maps").open("rb") as maps:
                        mapped.update(_shared(maps))
        self._found.inodes |= mapped

    def _task(self, task: Path) -> None:
        for entry in (task / "fdinfo").iterdir():
            with contextlib.suppress(*_GONE):
                about = _fields(entry.read_bytes())
                if int(about.get("flags", "0"), 8) & os.O_ACCMODE:
                    self._descriptor(task, task / "fd" / entry.name, about)

    def _descriptor(self, task: Path, descriptor: Path, about: Mapping[str, str]) -> None:
        target = str(descriptor.readlink())
        if "io_uring" in target and about.get("UserFiles", "0") != "0":
            # Files that were registered with io_uring appear in no descriptor table.
            self._found.unseen = f"process {task.parents[1].name} has given files to io_uring"
        if not target.startswith("/"):
            return
        kind = self._kinds(task).get(about.get("mnt_id", ""), "")
        if kind and kind not in _ASKED:
            return
        status = descriptor.stat()
        if not stat.S_ISREG(status.st_mode):
            return
        inode = b"%d" % status.st_ino
        if kind == "overlay":
            # Shows the inode of the underlying file, on a separate device.
            self._found.inodes.add(inode)
        else:
            self._found.files.add((b"%d" % status.st_dev, inode))

    def _kinds(self, task: Path) -> Mapping[str, str]:
        """Return the file system types by the mounts of the task's namespace."""
        namespace = str((task / "ns/mnt").readlink())
        if namespace not in self._mounts:
            lines = (task / "mountinfo").read_text(errors="surrogateescape").split("\n")
            self._mounts[namespace] = {
                line.split(" ", 1)[0]: line.partition(" - ")[2].split(" ", 1)[0] for line in lines
            }
        return self._mounts[namespace]


def _share(first: str, second: str) -> bool:
    """Whether two tasks share their descriptors; False if unknown."""
    number = _KCMP.get(os.uname().machine)
    if number is None:
        return False
    return int(_libc().syscall(number, int(first), int(second), _KCMP_FILES, 0, 0)) == 0


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _fields(text: bytes) -> Mapping[str, str]:
    lines = (line.partition(":") for line in text.decode(errors="replace").splitlines())
    return {name: value.strip() for name, _, value in lines}


def _shared(maps: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the inodes of shared mappings. On some file systems, the device in these lines differs
    from the device of the files."""
    for line in maps:
        _, rights, _, _, inode, *_ = line.split(None, 5)
        if rights[3:4] == b"s" and inode != b"0":
            yield inode
