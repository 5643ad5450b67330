"""Reads a script of mariadb-dump statement by statement, as the server's own client would.

Commands of that client are not known here, so a script cannot use them: only `DELIMITER` is. A
string ends where it does for a server that treats backslashes as escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from quiesce.errors import RequestError

BLOCK = 1024 * 1024
#: A longer statement is no statement of a dump: the server takes at most 1 GB.
MOST_BYTES = 1024 * 1024 * 1024
_MARGIN = 16

_WHOLE = re.compile(
    rb"""'(?:[^'\\]|\\.|'')*+'(?!')|"(?:[^"\\]|\\.|"")*+"(?!")|`(?:[^`]|``)*+`(?!`)"""
    rb"""|/\*(?:(?!M?!)|M!999999\\).*?\*/|(?:--(?=[ \t\r\n])|\#)[^\n]*\n""",
    re.DOTALL,
)
_DELIMITER = re.compile(rb"DELIMITER[ \t]+(\S+)[ \t]*\r?\n", re.IGNORECASE)
_BLANK = re.compile(rb"\s*")


class Readable(Protocol):
    """Where a script is read from."""

    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement without its delimiter and without comments before it; `line` is its first."""

    line: int
    text: bytes


def statements(stream: Readable) -> Iterator[Statement]:
    """Yield every statement of a script. Raise RequestError, with the line, if it is damaged."""
    reader = _Reader(stream)
    while (statement := reader.following()) is not None:
        if statement.text.strip():
            yield statement


class _Reader:
    """A buffer of the script, which begins with the statement that is read now."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._buffer = b""
        self._ended = False
        self._line = 1
        self._delimiter = b";"
        self._special = _special(self._delimiter)

    def following(self) -> Statement | None:
        """Return the next statement, None at the end."""
        at = 0
        while True:
            if at == 0:
                self._skip(max(0, self._match(_BLANK, 0)))
                if self._takes_delimiter():
                    continue
                if not self._buffer:
                    return None
            found = self._special.search(self._buffer, at)
            if not self._ended and (found is None or found.end() > len(self._buffer) - _MARGIN):
                # A sign may go on in what was not read yet.
                at = found.start() if found else max(at, len(self._buffer) - _MARGIN)
                self._more()
                continue
            if found is None:
                raise self._damaged("the last statement has no end")
            if found[0] == self._delimiter:
                taken = Statement(self._line, self._buffer[: found.start()])
                self._skip(found.end())
                return taken
            at = self._past(found.start(), found[0])

    def _past(self, start: int, sign: bytes) -> int:
        """Return where the string or comment that begins at `start` ends."""
        if sign == b"\\":
            raise self._damaged("it contains a command of the client")
        end = self._match(_WHOLE, start)
        if end < 0:
            raise self._damaged("a string or a comment has no end")
        if start == 0 and sign.startswith((b"--", b"#", b"/*")):
            self._skip(end)  # a comment before the statement
            return 0
        return end

    def _takes_delimiter(self) -> bool:
        while b"\n" not in self._buffer and self._more():
            pass
        found = _DELIMITER.match(self._buffer)
        if found is None:
            return False
        self._delimiter = found[1]
        self._special = _special(found[1])
        self._skip(found.end())
        return True

    def _match(self, pattern: re.Pattern[bytes], start: int) -> int:
        """Return where a match ends that does not depend on bytes that were not read yet."""
        while True:
            found = pattern.match(self._buffer, start)
            if found is not None and found.end() < len(self._buffer) - 1:
                return found.end()
            if not self._more():
                return found.end() if found else -1

    def _skip(self, count: int) -> None:
        self._line += self._buffer.count(b"\n", 0, count)
        self._buffer = self._buffer[count:]

    def _more(self) -> bool:
        if self._ended:
            return False
        block = self._stream.read(BLOCK)
        self._ended = not block
        self._buffer += block
        if len(self._buffer) > MOST_BYTES + BLOCK:
            raise self._damaged("a statement is longer than the server accepts")
        return bool(block)

    def _damaged(self, why: str) -> RequestError:
        return RequestError(
            f"line {self._line} of the script cannot be read: {why}",
            "use another set or file",
        )


def _special(delimiter: bytes) -> re.Pattern[bytes]:
    """What has a meaning outside of strings and comments, while this delimiter is in force."""
    return re.compile(
        re.escape(delimiter) + rb"""|['"`#\\]|--(?=[ \t\r\n])|/\*(?:(?!M?!)|M!999999\\)"""
    )
