"""Reads the table of contents of a custom-format archive of pg_dump, without a client.

The layout is defined by PostgreSQL's archiver: a magic word, a version (1.14 is pg_dump 14 and 15,
1.15 is 16, 1.16 is 17 and 18), the sizes of integers and offsets, and then every entry with its
SQL. The data is not read: only a full `pg_restore` can tell whether it is complete.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from quiesce.errors import RequestError
from quiesce.model import SequenceRecord

MAGIC = b"PGDMP"
OLDEST, NEWEST = (1, 12), (1, 16)
CUSTOM_FORMAT = 1

SETVAL = re.compile(
    r"SELECT pg_catalog\.setval\((E?)'((?:[^']|'')*)', (-?\d+), (true|false)\);\s*", re.DOTALL
)
_PART = re.compile(r'"((?:[^"]|"")*)"|([^".]+)')


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One entry: what kind of object (`TABLE DATA`, `SEQUENCE SET`, …), where, and its SQL."""

    kind: str
    schema: str
    name: str
    owner: str
    definition: str
    copy: str
    tablespace: str = ""
    #: The number of the entry in a list for `pg_restore --use-list`.
    number: int = 0


@dataclass(frozen=True, slots=True)
class Archive:
    """The header of an archive and all its entries, in their order."""

    database: str
    server_version: str
    client_version: str
    entries: tuple[ArchiveEntry, ...]

    @property
    def has_schema(self) -> bool:
        return any(entry.kind == "TABLE" for entry in self.entries)

    def sequences(self) -> tuple[SequenceRecord, ...]:
        """Return the state of each sequence after a load. It may be ahead of the snapshot, because
        a sequence's state is not transactional."""
        found = [_sequence(entry) for entry in self.entries if entry.kind == "SEQUENCE SET"]
        return tuple(sorted(found, key=lambda record: (record.schema, record.name)))


def read_archive(path: Path) -> Archive:
    """Read the table of contents. Raise RequestError if the file is not such an archive."""
    try:
        with path.open("rb") as stream:
            return _Reader(stream).archive()
    except (EOFError, UnicodeDecodeError, ValueError, IndexError) as problem:
        raise RequestError(
            f"{path.name} is not a complete archive of pg_dump ({problem})",
            "the file is damaged; use another set",
        ) from problem


def is_archive(path: Path) -> bool:
    """Whether the file begins like a custom-format archive."""
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def _sequence(entry: ArchiveEntry) -> SequenceRecord:
    match = SETVAL.fullmatch(entry.definition)
    if not match:
        raise ValueError(f"unknown form of setval for sequence {entry.name}")
    return sequence_of(match)


def sequence_of(match: re.Match[str]) -> SequenceRecord:
    """Return the sequence state in a statement that `SETVAL` matched."""
    text = match[2].replace("''", "'")
    if match[1]:
        text = text.replace("\\\\", "\\")
    parts = [part[1] or part[0].replace('""', '"') for part in _PART.findall(text)]
    return SequenceRecord(parts[0], parts[-1], match[3], match[4] == "true")


class _Reader:
    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = os.fstat(stream.fileno()).st_size
        if self._bytes(5) != MAGIC:
            raise ValueError("it has no archive header")
        major, minor, _, self.integer_size, self.offset_size, layout = self._bytes(6)
        self.version = (major, minor)
        if not OLDEST <= self.version <= NEWEST:
            raise ValueError(f"archive version {major}.{minor} is not known")
        if layout != CUSTOM_FORMAT or not 2 <= self.integer_size <= 8:
            raise ValueError("it is not in the custom format")

    def archive(self) -> Archive:
        if self.version >= (1, 15):
            self._bytes(1)  # the compression algorithm
        else:
            self._integer()
        for _ in range(7):  # when it was made
            self._integer()
        database, server, client = self._text(), self._text(), self._text()
        count = self._integer()
        if count < 0:
            raise ValueError("its number of entries is negative")
        entries = tuple(self._entry() for _ in range(count))
        return Archive(database, server, client, entries)

    def _entry(self) -> ArchiveEntry:
        number = self._integer()
        self._integer()  # whether it has data
        self._text()  # catalog
        self._text()  # oid
        name, kind = self._text(), self._text()
        self._integer()  # section
        definition = self._text()
        self._text()  # how to drop it
        copy, schema = self._text(), self._text()
        tablespace = self._text()
        if self.version >= (1, 14):
            self._text()  # access method
        if self.version >= (1, 16):
            self._integer()  # kind of relation
        owner = self._text()
        self._text()  # with oids
        while self._optional_text() is not None:
            pass  # what it depends on, until nothing
        self._bytes(1 + self.offset_size)  # where its data is
        return ArchiveEntry(
            kind, schema, name, owner, definition, copy, tablespace=tablespace, number=number
        )

    def _bytes(self, count: int) -> bytes:
        found = self.stream.read(count)
        if len(found) != count:
            raise EOFError("it ends too early")
        return found

    def _integer(self) -> int:
        negative = self._bytes(1)[0]
        value = int.from_bytes(self._bytes(self.integer_size), "little")
        return -value if negative else value

    def _optional_text(self) -> str | None:
        length = self._integer()
        if length < 0:
            return None
        if length > self.size:  # a damaged length would allocate that much memory
            raise EOFError("a length in it exceeds its size")
        # an archive is in its database's own encoding; only names of ASCII servers are not UTF-8
        return self._bytes(length).decode("utf-8", errors="surrogateescape")

    def _text(self) -> str:
        return self._optional_text() or ""
