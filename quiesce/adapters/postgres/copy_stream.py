"""Reads the rows of an archive from the script that pg_restore writes, one COPY block after
another.

Works on bytes and splits only at newlines: a value may contain any other separator. Rows never
begin with a backslash and a dot, which is how COPY itself finds the end of a block. The archive's
table of contents tells which block comes next, so nothing else in the script is parsed, and no name
or comment can be mistaken for a block.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from quiesce.adapters.postgres.dump_toc import Archive, ArchiveEntry
from quiesce.errors import QuiesceError

CHUNK = 1024 * 1024
_END = b"\\.\n"
_PART = re.compile(r'\s*("(?:[^"]|"")+"|[^\s",().]+)\s*([,.)(]|FROM stdin;)?')


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table in an archive: the target table and columns."""

    schema: str
    table: str
    columns: tuple[str, ...]
    statement: bytes


def rows_of(archive: Archive) -> tuple[Rows, ...]:
    """Return the tables that `pg_restore --data-only` writes rows for, in its order."""
    return tuple(
        Rows(entry.schema, entry.name, copied_columns(entry), _encoded(entry.copy))
        for entry in archive.entries
        if entry.kind == "TABLE DATA" and entry.copy
    )


def copied_columns(entry: ArchiveEntry) -> tuple[str, ...]:
    """Return the columns in an entry's COPY statement. Raise QuiesceError for any other
    statement."""
    return columns_of(entry.copy.strip())[1]


def columns_of(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the table (schema first) and the columns in a COPY statement."""
    names: list[list[str]] = [[]]
    at = len("COPY ")
    while at < len(text):
        match = _PART.match(text, at)
        if not match:
            break
        at = match.end()
        name, sign = match.groups()
        if name == "FROM":
            break
        names[-1].append(name[1:-1].replace('""', '"') if name.startswith('"') else name)
        if sign == "(":
            names.append([])
        elif sign == ")":
            break
    if not text.startswith("COPY ") or not text.endswith(" FROM stdin;") or len(names) > 2:
        raise QuiesceError(f"unknown form of COPY: {text[:80]}")
    return tuple(names[0]), tuple(names[1]) if len(names) == 2 else ()


class Script:
    """Reads a script block by block. Each block must be read to its end before the next."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._buffer = b""

    def find(self, rows: Rows) -> Block:
        """Return the block of these rows. Raise QuiesceError if the script ends before it."""
        wanted = b"\n" + rows.statement
        # The first line of a script is never a COPY, so each COPY follows a newline.
        while (at := self._buffer.find(wanted)) < 0:
            self._buffer = self._buffer[-len(wanted) :]
            self._fill(f"the rows of table {rows.table} are missing")
        self._buffer = self._buffer[at + len(wanted) :]
        return Block(self, rows.table)

    def read(self, most: int, table: str) -> tuple[bytes, bool]:
        """Return the next complete lines of a block, about `most` bytes, and whether the block
        ended."""
        while len(self._buffer) < len(_END):
            self._fill(f"the rows of table {table} are cut off")
        if self._buffer.startswith(_END):
            self._buffer = self._buffer[len(_END) :]
            return b"", True
        at = self._buffer.find(b"\n" + _END)
        if 0 <= at < most:
            chunk, self._buffer = self._buffer[: at + 1], self._buffer[at + 1 + len(_END) :]
            return chunk, True
        end = self._buffer.rfind(b"\n", 0, max(most, 1)) + 1
        if end == 0:
            end = self._buffer.find(b"\n") + 1
        while end == 0:
            before = len(self._buffer)
            self._fill(f"the rows of table {table} are cut off")
            end = self._buffer.find(b"\n", before) + 1
        chunk, self._buffer = self._buffer[:end], self._buffer[end:]
        return chunk, False

    def finish(self) -> None:
        """Read the rest, so that the writer can finish."""
        while self._stream.read(CHUNK):
            pass

    def _fill(self, problem: str) -> None:
        more = self._stream.read(CHUNK)
        if not more:
            raise QuiesceError(problem, "the dump is damaged, or its reader failed; see above")
        self._buffer += more


class Block:
    """A file with the rows of one table, for COPY."""

    def __init__(self, script: Script, table: str) -> None:
        self._script = script
        self._table = table
        self._left = b""
        self._ended = False

    def read(self, size: int = CHUNK) -> bytes:
        """Return at most `size` bytes; none at the end."""
        if not self._left and not self._ended:
            self._left, self._ended = self._script.read(size, self._table)
        chunk, self._left = self._left[:size], self._left[size:]
        return chunk

    def readline(self, size: int = CHUNK) -> bytes:
        """Like `read`: the caller accepts chunks of any size."""
        return self.read(size)

    def skip(self) -> None:
        """Read to the end and discard the rows."""
        while self.read():
            pass


@contextmanager
def through_pipe(
    pipe: Path, write: Callable[[], None]
) -> Iterator[tuple[BinaryIO, Callable[[], None]]]:
    """Run `write`, which fills the named pipe `pipe`, in a thread; yield the reading end.

    The second value waits for the writer and raises its exception: only then is the data known to
    be complete. On early exit the writer fails because there is no reader.
    """
    os.mkfifo(pipe, 0o600)
    # Open before the writer does; a blocking open would wait for it.
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    # Keep a writing end open until the writer has ended, so that a late start is not read as end of
    # file.
    kept = os.open(pipe, os.O_WRONLY | os.O_CLOEXEC)
    os.set_blocking(reading, True)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            write()
        except BaseException as problem:  # noqa: BLE001  raised again by wait()
            failures.append(problem)
        finally:
            os.close(kept)

    thread = threading.Thread(target=work, name=f"rows {pipe.name}", daemon=True)
    thread.start()

    def wait() -> None:
        thread.join()
        if failures:
            raise failures[0]

    stream = os.fdopen(reading, "rb", buffering=0)
    try:
        yield stream, wait
    finally:
        stream.close()
        thread.join()
        pipe.unlink(missing_ok=True)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
