"""Adds a second level with the SQLite databases that services write to during a live backup.

In the archive of the first level, a database may contain half a transaction, or a log of another
moment. A copy that SQLite made replaces the database, and its log and journal are removed by a
restore.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from quiesce.adapters.files import make_empty
from quiesce.adapters.sqlite import HEADER, copy
from quiesce.adapters.volumes.archive import Archiver
from quiesce.adapters.volumes.changes import records
from quiesce.adapters.volumes.location import DirectPlace
from quiesce.adapters.volumes.sqlite_files import PAGE, REGULAR, RESERVE, own_folder
from quiesce.adapters.volumes.tar_check import (
    Taken,
    components,
    opened,
    read_headers,
    unreadable,
)
from quiesce.errors import QuiesceError
from quiesce.model import VolumeRecord
from quiesce.ports import Progress, SqliteCopies

_COMPANIONS = (b"-wal", b"-shm", b"-journal")
_HARD = b"1"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY


@dataclass(slots=True)
class _Contents:
    """The regular files of an archive by size, those that may be databases, and those with several
    names."""

    sizes: dict[bytes, int] = field(default_factory=dict)
    databases: list[bytes] = field(default_factory=list)
    linked: set[bytes] = field(default_factory=set)


def copy_live(
    archiver: Archiver, record: VolumeRecord, directory: Path, scratch: Path, progress: Progress
) -> SqliteCopies:
    """Copy the databases of level 0 through SQLite, and describe both levels together.

    The volume is not trusted, and names in it may change during the copy: see `sqlite_copy_child`.
    What cannot be copied stays as it is in level 0.
    """
    place, contents = archiver.place, _contents(directory / record.levels[0])
    left = {name: "" for name in contents.databases if _is_kept(archiver, name)}
    if not isinstance(place, DirectPlace):
        return SqliteCopies(
            record, _shown(dict.fromkeys(left, "only a helper container can read it"))
        )
    with own_folder(scratch) as tree:
        copied: dict[bytes, int] = {}
        for name in tuple(left):
            progress(f"copying SQLite database {_words(name)}", 0)
            why = _copy(place.root, name, tree, contents)
            if why == "":
                copied[name] = (tree / os.fsdecode(name)).stat().st_size
            if not why:
                del left[name]
            else:
                left[name] = why
        if not copied:
            return SqliteCopies(record, _shown(left))
        folders = sorted({name.rpartition(b"/")[0] for name in copied})
        try:
            # Unpacking the copies changes the times of their folders.
            kept = [folder for folder in folders if _keep_attributes(place.root, folder, tree)]
            names = (*(b"./" + name for name in copied), *(b"./" + folder for folder in kept))
            level = archiver.add(tree, names)
        finally:
            for folder in folders:
                (tree / os.fsdecode(folder)).chmod(0o700)
    gone = [
        name + ending
        for name in copied
        for ending in _COMPANIONS
        if name + ending in contents.sizes and name + ending not in contents.databases
        if _is_kept(archiver, name + ending)
    ]
    both = replace(
        record,
        files=record.files - len(gone),
        bytes=record.bytes
        - sum(contents.sizes[name] for name in (*copied, *gone))
        + sum(copied.values()),
        levels=(*record.levels, str(level.relative_to(directory))),
        gone=_gone(archiver, record, directory, gone),
    )
    return SqliteCopies(both, _shown(left), frozenset(map(_words, copied)))


def _contents(archive: Path) -> _Contents:
    found, taken = _Contents(), Taken()
    try:
        with opened(archive) as stream:
            for header in read_headers(stream, taken):
                name = b"/".join(components(header.name))
                if header.type == _HARD:
                    found.linked |= {name, b"/".join(components(header.link))}
                if header.type not in REGULAR:
                    continue
                found.sizes[name] = header.unpacked
                if header.sparse:
                    is_database = header.unpacked > 0 and header.unpacked % PAGE == 0
                else:
                    start = stream.read(min(len(HEADER), header.size))
                    taken.count += len(start)
                    is_database = start == HEADER
                if is_database:
                    found.databases.append(name)
    except unreadable() as error:
        raise QuiesceError(
            f"{archive.name} is not a readable tar archive: {error}", "run the backup again"
        ) from error
    return found


def _copy(root: str, name: bytes, tree: Path, contents: _Contents) -> str | None:
    parts = (name, *(name + ending for ending in _COMPANIONS))
    if not contents.linked.isdisjoint(parts):
        return "it has several hard links"
    size = sum(contents.sizes.get(part, 0) for part in parts)
    if shutil.disk_usage(tree).free < size + RESERVE:
        return "there was no space for a copy of it"
    target = tree / os.fsdecode(name)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return copy(root, name, target)


def _keep_attributes(root: str, name: bytes, tree: Path) -> bool:
    """Give a folder of the tree the attributes of the same folder in the volume, unless that no
    longer exists."""
    opened_folders: list[int] = []
    try:
        at = os.open(root, _FOLDER)
        opened_folders.append(at)
        for part in components(name):
            at = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
            opened_folders.append(at)
        own = os.open(tree / os.fsdecode(name), _FOLDER)
        opened_folders.append(own)
        about = os.fstat(at)
        os.fchown(own, about.st_uid, about.st_gid)
        for attribute in os.listxattr(at):
            if attribute != "security.selinux":
                os.setxattr(own, attribute, os.getxattr(at, attribute))
        os.fchmod(own, stat.S_IMODE(about.st_mode))
        os.utime(own, ns=(about.st_atime_ns, about.st_mtime_ns))
    except OSError:
        return False
    finally:
        for descriptor in opened_folders:
            os.close(descriptor)
    return True


def _is_kept(archiver: Archiver, name: bytes) -> bool:
    """Whether the entry counts: one that appeared while tar ran may be one to exclude."""
    return archiver.exclusion.which(b"./" + name) is None


def _gone(
    archiver: Archiver, record: VolumeRecord, directory: Path, names: Iterable[bytes]
) -> str | None:
    """Add the names to those that a restore removes after level 0."""
    before = list(records(directory / record.gone)) if record.gone else []
    every = [*before, *(b"./" + name for name in names)]
    if not every:
        return None
    file = archiver.stem.with_name(f"{archiver.stem.name}.gone")
    if not record.gone:
        make_empty(file)
    file.write_bytes(b"".join(name + b"\0" for name in every))
    return str(file.relative_to(directory))


def _shown(why: Mapping[bytes, str]) -> dict[str, str]:
    return {_words(name): fact for name, fact in why.items()}


def _words(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
