"""Trees of every kind of entry, what to compare in them, and the churn that changes them."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from quiesce.adapters.volumes.archive import PROVEN_FILESYSTEMS
from quiesce.adapters.volumes.io import VolumeFiles
from quiesce.execute.unpacking import most_unpacked
from quiesce.model import VolumeRecord
from quiesce.observed import VolumeState

#: How large a disk of each kind is. mkfs.xfs wants 300 MB, mkfs.btrfs 109. The image is sparse.
DISK_SIZES = {"ext4": 128 << 20, "xfs": 320 << 20, "btrfs": 256 << 20}
TAR = "--xattrs --xattrs-include=* --acls --sparse --numeric-owner".split()
ODD_NAMES = (
    b"-rf",
    b"--checkpoint-action=exec=x",
    b" leading and trailing ",
    b"new\nline",
    b"back\\slash\\n",
    b"quote'\"$HOME`x`",
    b"\xff\xfe not utf-8",
    b"colon: said",
    b"a -> b",
    b"a link to b",
    "ünïcode".encode(),
    b"*?[x]",
    b"x" * 250,
    b"tab\there",
)


def is_root() -> bool:
    """Whether owners, capabilities and mounts can be part of a test."""
    return os.geteuid() == 0


#: Whether `volume` returns an entry of `paths`; `conftest.py` decides for each test.
KIND = ["volume"]


def volume(root: Path, key: str = "media") -> VolumeState:
    """A volume of the host runtime in this folder, or the folder itself as an entry of `paths`."""
    if KIND[0] == "path":
        real = Path(os.path.realpath(root))
        return VolumeState(key, str(real), root.is_dir(), "bind", {}, real, ())
    return VolumeState(key, f"name-{key}", root.is_dir(), "local", {}, root, ())


def files_of(staging: Path, **options: object) -> VolumeFiles:
    """The adapter as the host runtime has it: every volume is a folder of this machine."""
    return VolumeFiles(
        run="20260101000000-0001",
        staging=staging,
        direct=lambda state: state.mountpoint,
        **options,  # type: ignore[arg-type]
    )


def silent(text: str, done: int) -> None:
    """Progress nobody looks at."""


def two_levels_hold(folder: Path) -> bool:
    """Whether the T0 rule is proven for the file system of this folder."""
    found = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, check=True)
    return found.stdout.decode().strip() in PROVEN_FILESYSTEMS


def require_two_levels(folder: Path) -> None:
    """Skip a test that is about what level 1 leaves out."""
    if not two_levels_hold(folder):
        pytest.skip(f"{folder} is on a file system where level 1 is always the whole volume")


def age(root: Path) -> None:
    """Wait until what was just made is older than the margin of the T0 rule.

    The kernel's clock alone dates a change of an inode; there is no condition to wait for.
    """
    newest = max(path.lstat().st_ctime for path in [root, *root.rglob("*")])
    while time.time() < newest + 2.1:
        time.sleep(0.05)


def members(archive: Path) -> list[str]:
    """The names in an archive, in its order."""
    command = ["tar", "-tf", str(archive), "-I", "zstd"]
    return subprocess.check_output(command, text=True).splitlines()


# --------------------------------------------------------------------------------- description


def describe(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything a restore must bring back, by path; our own folders in the root left out."""
    top = os.fsencode(root)
    found: dict[bytes, tuple[object, ...]] = {}
    inodes: dict[tuple[int, int], list[bytes]] = {}
    paths = [top]
    for folder, directories, files in os.walk(top):
        if folder == top:
            directories[:] = [name for name in directories if not name.startswith(b".quiesce-2026")]
        paths += [os.path.join(folder, name) for name in (*directories, *files)]
    for path in paths:
        status = os.lstat(path)
        name = os.path.relpath(path, top)
        if stat.S_ISSOCK(status.st_mode):
            continue
        # Tar keeps the names of a FIFO apart; nothing is in it that they could share.
        if not stat.S_ISDIR(status.st_mode) and not stat.S_ISFIFO(status.st_mode):
            inodes.setdefault((status.st_dev, status.st_ino), []).append(name)
        found[name] = (*_metadata(status), _attributes(path), _content(path, status))
    for names in inodes.values():
        if len(names) > 1:
            for name in names:
                found[name] = (*found[name], frozenset(names))
    return found


def _metadata(status: os.stat_result) -> tuple[object, ...]:
    return (
        stat.filemode(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        status.st_rdev,
    )


def _attributes(path: bytes) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _content(path: bytes, status: os.stat_result) -> tuple[object, ...]:
    if stat.S_ISLNK(status.st_mode):
        return ("link", os.readlink(path))
    if not stat.S_ISREG(status.st_mode):
        return ()
    digest = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
    # A megabyte of holes is kept as holes; less is up to the file system.
    hollow = status.st_size - status.st_blocks * 512 > 1 << 20
    return (status.st_size, digest, "hollow" if hollow else "full")


def differences(expected: dict[bytes, object], actual: dict[bytes, object]) -> list[str]:
    """One line for each path that differs: what pytest can show of two large trees."""
    paths = sorted({*expected, *actual})
    return [
        f"{path!r}: {expected.get(path)} != {actual.get(path)}"
        for path in paths
        if expected.get(path) != actual.get(path)
    ]


def assert_same(expected: dict[bytes, tuple[object, ...]], root: Path) -> None:
    """Fail with a line for each of the first differences."""
    found = differences(dict(expected), dict(describe(root)))
    assert not found, "\n".join(found[:20])


# ---------------------------------------------------------------------------------------- trees


def access_list(*, user: int) -> bytes:
    """A POSIX ACL (as the kernel stores it) that also gives `user` the right to read."""
    anyone = 0xFFFFFFFF
    entries = [(1, 6, anyone), (2, 4, user), (4, 4, anyone), (16, 4, anyone), (32, 0, anyone)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def capability() -> bytes:
    """The capability CAP_NET_BIND_SERVICE, permitted and effective, as the kernel stores it."""
    return struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def make_tree(root: Path) -> None:
    """Put one of each kind of entry into a folder."""
    top = os.fsencode(root)
    for name in ODD_NAMES:
        Path(os.fsdecode(os.path.join(top, name))).write_bytes(name * 3)
    folder = root / "folder"
    (folder / "empty").mkdir(parents=True)
    deep = folder.joinpath(*["a name of some length that makes long paths"] * 6)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (folder / "one").write_text("linked")
    (folder / "two").hardlink_to(folder / "one")
    (root / "three").hardlink_to(folder / "one")
    (root / "relative").symlink_to("folder/one")
    (root / "outside").symlink_to("/etc/hostname")
    (root / "above").symlink_to("../../x")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo", 0o640)
    (root / "empty file").touch()
    with (root / "sparse").open("wb") as stream:
        stream.seek(8 << 20)
        stream.write(b"end")
        stream.truncate(32 << 20)
    (root / "private").write_text("x")
    (root / "private").chmod(0o400)
    (root / "noted").write_text("x")
    os.setxattr(root / "noted", "user.note", b"\0binary\xff")
    os.setxattr(folder, "user.folder", b"yes")
    os.setxattr(root / "empty file", "system.posix_acl_access", access_list(user=4242))
    os.setxattr(folder / "empty", "system.posix_acl_default", access_list(user=4243))
    if is_root():
        (root / "capable").write_bytes(b"\x7fELF")
        os.setxattr(root / "capable", "security.capability", capability())
        os.chown(folder / "one", 1234, 5678)
        os.lchown(root / "relative", 77, 88)
        os.chown(folder / "empty", 999, 999)
        (root / "setuid").write_text("x")
        (root / "setuid").chmod(0o6755)
        os.chown(root, 70, 71)
    (folder / "empty").chmod(0o1777)
    os.utime(root / "private", ns=(1, 1_111_111_111_123_456_789))
    os.utime(root / "relative", ns=(1, 1_222_222_222_000_000_001), follow_symlinks=False)
    os.utime(folder, ns=(1, 1_333_333_333_987_654_321))
    root.chmod(0o2750)
    os.utime(root, ns=(1, 1_444_444_444_444_444_444))


class Churn:
    """Random changes to a tree, of every kind, from a seed."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.done = 0
        self._kinds = [
            self.write, self.write, self.write_through_map, self.append, self.rename,
            self.rename, self.remove, self.make_folder, self.replace, self.swap, self.link,
            self.symlink, self.attributes, self.times, self.recreate,
        ]  # fmt: skip

    def seed(self, count: int) -> None:
        """Make the tree to start from."""
        for _ in range(count):
            with contextlib.suppress(OSError):
                self.make_folder() if self.random.random() < 0.25 else self.write()

    def step(self) -> None:
        """Change something. What cannot be done to the entry that was drawn is not done."""
        # IndexError: everything was removed, so there is no entry to draw.
        with contextlib.suppress(OSError, ValueError, IndexError):
            self.random.choice(self._kinds)()
        self.done += 1

    def run_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.step()

    # -------------------------------------------------------------------------- drawing

    def folder(self) -> str:
        return self.random.choice(self._all(folders=True))

    def entry(self) -> str:
        return self.random.choice(self._all(folders=False))

    def _all(self, *, folders: bool) -> list[str]:
        found = [str(self.root)] if folders else []
        for parent, directories, files in os.walk(self.root):
            directories[:] = [name for name in directories if not name.startswith(".quiesce-2026")]
            kept = [name for name in directories if not os.path.islink(f"{parent}/{name}")]
            found += [f"{parent}/{name}" for name in kept]
            if not folders:
                found += [f"{parent}/{name}" for name in files]
        return found

    def new_name(self) -> str:
        if self.random.random() < 0.2:
            return f"{self.folder()}/{os.fsdecode(self.random.choice(ODD_NAMES))}"
        return f"{self.folder()}/n{self.random.randrange(40)}"

    # ------------------------------------------------------------------------- changing

    def write(self) -> None:
        size = self.random.choice((0, 10, 5000, 200_000))
        self._write(self.new_name(), os.O_TRUNC, size)

    def append(self) -> None:
        self._write(self.entry(), os.O_APPEND, 100)

    def _write(self, path: str, how: int, size: int) -> None:
        # Without waiting: what was drawn may be a FIFO nobody reads.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | how
        with open(os.open(path, flags, 0o644), "wb") as stream:
            stream.write(self.random.randbytes(size))

    def write_through_map(self) -> None:
        path = self.entry()
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return
        with Path(path).open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
            content[0] = self.random.randrange(256)

    def rename(self) -> None:
        os.rename(self.entry(), self.new_name())

    def remove(self) -> None:
        path = self.entry()
        if os.path.isdir(path) and not os.path.islink(path):
            if self.random.random() < 0.5:
                shutil.rmtree(path)
        else:
            os.unlink(path)

    def make_folder(self) -> None:
        os.mkdir(self.new_name())

    def replace(self) -> None:
        """An entry becomes one of another kind."""
        path = self.entry()
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        kind = self.random.randrange(4)
        if kind == 0:
            os.mkdir(path)
            Path(path, "inside").write_bytes(self.random.randbytes(50))
        elif kind == 1:
            os.symlink(self.random.choice(("..", "/tmp", "n1", "nowhere")), path)
        elif kind == 2:
            Path(path).write_bytes(self.random.randbytes(60))
        else:
            os.mkfifo(path)

    def swap(self) -> None:
        """Two folders, or two files, change places."""
        first, second = self.entry(), self.entry()
        aside = f"{self.root}/aside"
        os.rename(first, aside)
        os.rename(second, first)
        os.rename(aside, second)

    def recreate(self) -> None:
        """A folder is removed and one of the same name and other content is made."""
        path = self.folder()
        if path != str(self.root):
            shutil.rmtree(path)
            os.mkdir(path)
            Path(path, f"n{self.random.randrange(40)}").write_bytes(b"again")

    def link(self) -> None:
        entry = self.entry()
        # GNU tar keeps hard links of files and symbolic links; of a FIFO it makes two FIFOs.
        if not stat.S_ISFIFO(os.lstat(entry).st_mode):
            os.link(entry, self.new_name(), follow_symlinks=False)

    def symlink(self) -> None:
        os.symlink(self.random.choice(("n1", "../n2", "/etc", "n3/n4")), self.new_name())

    def attributes(self) -> None:
        path = self.entry()
        choice = self.random.randrange(4)
        if choice == 0 and not os.path.islink(path):
            os.chmod(path, self.random.choice((0o700, 0o755, 0o777, 0o750)))
        elif choice == 1 and is_root():
            os.lchown(path, self.random.randrange(2000), self.random.randrange(2000))
        elif choice == 2:
            os.setxattr(path, f"user.n{self.random.randrange(3)}", self.random.randbytes(9))
        elif not os.path.islink(path):
            os.setxattr(path, "system.posix_acl_access", access_list(user=4000))

    def times(self) -> None:
        """A file claims to be old, as after an unpacking or a copy that keeps times."""
        moment = self.random.choice((10**18, 1_500_000_000_123_456_789))
        os.utime(self.entry(), ns=(moment, moment), follow_symlinks=False)


@contextlib.contextmanager
def churning(churn: Churn) -> Iterator[None]:
    """Change the tree all the time in between."""
    stop = threading.Event()
    thread = threading.Thread(target=churn.run_until, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# ------------------------------------------------------------------------------------- restoring


def restore_by_hand(folder: Path, record: VolumeRecord, target: Path) -> None:
    """Restore with tar, xargs and zstd alone, as RESTORE.md says. `target` is an empty folder."""
    command = ["tar", "-x", *TAR, "-C", str(target), "-I", "zstd", "-f"]
    subprocess.run([*command, str(folder / record.levels[0])], check=True)
    if record.gone:
        with (folder / record.gone).open("rb") as names:
            rm = ["xargs", "-0", "-r", "rm", "-rf", "--"]
            subprocess.run(rm, stdin=names, cwd=target, check=True)
    for level in record.levels[1:]:
        subprocess.run([*command, str(folder / level)], check=True)


def restore(files: VolumeFiles, folder: Path, record: VolumeRecord, target: VolumeState) -> None:
    """Restore as Quiesce does; the size that comes out is the one the record promised."""
    archives = [folder / level for level in record.levels]
    most = most_unpacked(record)
    assert most is not None
    assert files.check(archives, most) == ()
    gone = folder / record.gone if record.gone else None
    size = files.stage(target, "20260101000000-0001", archives, gone, most)
    assert (record.files, record.bytes) == (size.files, size.bytes)
    files.swap(target, "20260101000000-0001")
    files.finish_swap(target, "20260101000000-0001")


@contextlib.contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A tmpfs of this size, mounted for a while. Root only."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", folder]
        subprocess.run(mount, check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def private_disk(kind: str = "ext4") -> Iterator[Path]:
    """A file system of our own, so that nobody else's sync writes its pages. Root only.

    The test is skipped where this machine cannot make or mount one of this kind.
    """
    make = shutil.which(f"mkfs.{kind}", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if make is None:
        pytest.skip(f"mkfs.{kind} is not on this machine")
    with tempfile.TemporaryDirectory() as folder:
        image, root = Path(folder, "image"), Path(folder, "root")
        root.mkdir()
        with image.open("wb") as stream:
            stream.truncate(DISK_SIZES[kind])
        subprocess.run([make, "-q", image], check=True)
        mount = ["mount", "-o", "loop", image, root]
        mounted = subprocess.run(mount, capture_output=True, check=False)
        if mounted.returncode:
            pytest.skip(f"no {kind} can be mounted: {mounted.stderr.decode().strip()}")
        try:
            yield root
        finally:
            subprocess.run(["umount", root], check=True)


def as_user(user: int, function: Callable[[], str], groups: Sequence[int] = ()) -> str:
    """Call a function in a child process that runs as this ordinary user; return what it did.

    A forked child, because that user may not be able to read the interpreter's own files.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(list(groups))
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            said = function()
        except BaseException:  # noqa: BLE001 whatever it is, the parent must hear of it
            said = traceback.format_exc() + str(getattr(sys.exc_info()[1], "details", ""))
        os.write(writing, said.encode(errors="replace"))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read().decode()
    os.waitpid(child, 0)
    return said


needs_root = pytest.mark.skipif(not is_root(), reason="only root may change owners and mount")
