"""Finds the SQLite databases in the archives of a volume, and checks a copy of each.

A database is recognised by its header, whatever its name. Its write-ahead log or rollback journal
belongs to it: without it, the last transactions are missing or incomplete.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from quiesce.adapters.sqlite import HEADER, JOURNAL_HEADER, WAL_HEADERS, check
from quiesce.adapters.volumes.changes import records
from quiesce.adapters.volumes.tar_check import (
    Header,
    Taken,
    components,
    opened,
    read_headers,
    unreadable,
)
from quiesce.errors import QuiesceError
from quiesce.model import SqliteRecord
from quiesce.ports import Progress

_COMPANIONS = (b"-wal", b"-journal")
_CHUNK = 1 << 20
REGULAR = frozenset({b"0", b"\0", b"7", b"S"})
#: The space that copies leave free on the disk.
RESERVE = 64 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
#: A page is at least this large, and a database is a number of pages.
PAGE = 512


@dataclass(frozen=True, slots=True)
class _Copy:
    """An entry that was unpacked; `path` is None if the disk was full."""

    path: Path | None
    bytes: int


def check_archived(
    archives: Sequence[Path], gone: Path | None, scratch: Path, progress: Progress
) -> tuple[SqliteRecord, ...]:
    """Return every SQLite database in these archives, sorted by name, with what its check found.

    The archives are unpacked one over the other; the entries in `gone` are removed after the first.
    Copies are made in a new folder in `scratch`, which is removed. Raise QuiesceError for an
    archive that cannot be read.
    """
    with own_folder(scratch) as folder:
        copies: dict[bytes, _Copy] = {}
        for number, archive in enumerate(archives):
            _unpack(archive, folder, copies)
            if number == 0 and gone is not None:
                _forget(copies, gone)
        found = []
        for name in sorted(copies):
            if not name.endswith(_COMPANIONS):
                shown = name.decode("utf-8", "backslashreplace")
                progress(f"checking SQLite database {shown}", 0)
                found.append(_checked(name, shown, copies))
        return tuple(found)


@contextmanager
def own_folder(scratch: Path) -> Iterator[Path]:
    """Make a new folder in `scratch`, and remove it with its content."""
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="sqlite-", dir=scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(archive: Path, folder: Path, copies: dict[bytes, _Copy]) -> None:
    """Copy what looks like a database, or like its companion, into the folder."""
    sparse, taken = set[bytes](), Taken()
    try:
        with opened(archive) as stream:
            for header in read_headers(stream, taken):
                name = b"/".join(components(header.name))
                copies.pop(name, None)
                if header.type not in REGULAR:
                    continue
                if header.sparse:
                    if header.unpacked and header.unpacked % PAGE == 0:
                        sparse.add(name)
                    continue
                start = stream.read(min(len(HEADER), header.size))
                taken.count += len(start)
                if _is_wanted(name, start):
                    copies[name] = _copy(folder, header.size, start, _rest(stream, header, taken))
        if sparse:
            _unpack_sparse(archive, folder, copies, sparse)
    except unreadable() as error:
        raise QuiesceError(
            f"{archive.name} is not a readable tar archive: {error}",
            "run 'inv verify', which names what is damaged",
        ) from error


def _rest(stream: IO[bytes], header: Header, taken: Taken) -> Callable[[], bytes]:
    def read() -> bytes:
        chunk = stream.read(min(_CHUNK, header.size - taken.count))
        taken.count += len(chunk)
        return chunk

    return read


def _unpack_sparse(
    archive: Path, folder: Path, copies: dict[bytes, _Copy], names: set[bytes]
) -> None:
    """Copy files with holes: tarfile knows every form of them, but is slow."""
    with opened(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            name = b"/".join(components(os.fsencode(member.name)))
            content = tar.extractfile(member) if name in names and member.isreg() else None
            if content is None:
                continue
            start = content.read(len(HEADER))
            if _is_wanted(name, start):
                more = functools.partial(content.read, _CHUNK)
                copies[name] = _copy(folder, member.size, start, more)


def _is_wanted(name: bytes, start: bytes) -> bool:
    if name.endswith(b"-wal"):
        return start.startswith(WAL_HEADERS)
    if name.endswith(b"-journal"):
        return start.startswith(JOURNAL_HEADER)
    return start == HEADER


def _copy(folder: Path, size: int, start: bytes, more: Callable[[], bytes]) -> _Copy:
    """Write the content into a new file, whose name does not come from the archive."""
    if shutil.disk_usage(folder).free < size + RESERVE:
        return _Copy(None, size)
    descriptor, name = tempfile.mkstemp(dir=folder)
    path = Path(name)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  it is open already
            file.write(start)
            while chunk := more():
                file.write(chunk)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        path.unlink(missing_ok=True)
        return _Copy(None, size)
    return _Copy(path, size)


def _forget(copies: dict[bytes, _Copy], gone: Path) -> None:
    """Remove the deleted entries, and what was below them."""
    for entry in records(gone):
        name = b"/".join(components(entry))
        for known in [known for known in copies if known == name or known.startswith(name + b"/")]:
            del copies[known]


def _names_a_file(journal: Path) -> bool:
    """Whether a journal ends with the name of a file that several databases have in common.

    SQLite would look for that file at its full path on this machine, and remove it after the
    rollback; and if it is not there, take the transaction as complete.
    """
    start = max(0, journal.stat().st_size - len(JOURNAL_HEADER))
    with journal.open("rb") as file:
        file.seek(start)
        # SQLite looks for the name however short the journal is; the header alone has none.
        return start > 0 and file.read() == JOURNAL_HEADER


def _checked(name: bytes, shown: str, copies: dict[bytes, _Copy]) -> SqliteRecord:
    copy = copies[name]
    parts = {ending.decode(): copies.get(name + ending) for ending in _COMPANIONS}
    if copy.path is None or any(part is not None and part.path is None for part in parts.values()):
        return SqliteRecord(shown, copy.bytes, unchecked="there was no space for a copy of it")
    journal = parts["-journal"]
    if journal is not None and journal.path is not None and _names_a_file(journal.path):
        why = "its journal belongs to a transaction over several databases"
        return SqliteRecord(shown, copy.bytes, unchecked=why)
    for ending, part in parts.items():
        if part is not None and part.path is not None:
            part.path.rename(copy.path.with_name(copy.path.name + ending))
    record = check(copy.path, shown, copy.bytes)
    # Its space is needed for the next one.
    for ending in ("", "-wal", "-journal", "-shm"):
        copy.path.with_name(copy.path.name + ending).unlink(missing_ok=True)
    return record
