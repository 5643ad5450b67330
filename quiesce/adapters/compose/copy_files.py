"""Copies files into and out of a container when the engine cannot mount local folders.

The engine's archive endpoint streams one regular file at a time; nothing is buffered in memory. A
received file is complete if its size matches its header and the archive ends properly; a broken
connection raises an error before that.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from quiesce.errors import LostEngine

if TYPE_CHECKING:
    from docker import APIClient

_CHUNK = 1 << 20


def send_file(api: APIClient, container: str, path: Path, folder: str) -> None:
    """Copy a local file into `folder` of a container, owned by root with mode 0600.

    Raise the SDK's errors, and OSError if the file cannot be read.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        header = tarfile.TarInfo(path.name)
        header.size, header.mode = size, 0o600
        api.put_archive(container, folder, _archive(header, stream))


def make_folder(api: APIClient, container: str, folder: str, name: str) -> None:
    """Create the folder `name` in `folder` of a container, owned by root with mode 0700."""
    header = tarfile.TarInfo(name)
    header.type, header.mode = tarfile.DIRTYPE, 0o700
    api.put_archive(container, folder, header.tobuf() + bytes(2 * tarfile.BLOCKSIZE))


def _archive(header: tarfile.TarInfo, stream: io.BufferedReader) -> Iterator[bytes]:
    yield header.tobuf(tarfile.PAX_FORMAT)
    left = header.size
    while left:
        chunk = stream.read(min(_CHUNK, left))
        if not chunk:
            raise OSError(f"{header.name} became shorter while it was read")
        left -= len(chunk)
        yield chunk
    yield bytes(-header.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def fetch_file(api: APIClient, container: str, remote: str, target: Path) -> bool:
    """Copy a file of a container to `target`, which must exist and keeps its mode.

    Return False if the container has no such file. Raise LostEngine if the file was not received
    completely, or is not a regular file.
    """
    from docker.errors import NotFound

    try:
        chunks, _ = api.get_archive(container, remote, chunk_size=_CHUNK)
    except NotFound:
        return False
    try:
        whole = _extract_first(chunks, target)
    except tarfile.TarError:
        whole = False
    if not whole:
        raise LostEngine(f"{remote} was not received completely from the engine", "run it again")
    return True


def _extract_first(chunks: Iterator[bytes], target: Path) -> bool:
    """Return whether the archive's first member is a regular file and was copied completely."""
    try:
        with (
            tarfile.open(fileobj=_Chunks(chunks), mode="r|", bufsize=_CHUNK) as archive,
            target.open("r+b") as written,
        ):
            written.truncate()
            header = archive.next()
            content = archive.extractfile(header) if header and header.isreg() else None
            if header is None or content is None:
                return False
            while chunk := content.read(_CHUNK):
                written.write(chunk)
            return written.tell() == header.size
    finally:
        # Read to the end: until then the engine keeps the container locked.
        for _ in chunks:
            pass


class _Chunks(io.RawIOBase):
    """Presents an iterator of bytes as a stream. Its exceptions are passed on."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while 0 <= len(self._rest) < size:
            more = next(self._chunks, b"")
            if not more:
                break
            self._rest += more
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def readable(self) -> bool:
        return True
