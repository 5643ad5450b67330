"""The vocabulary between the server and the handlers: a request, an answer, a refusal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

PAGE = 100
LARGEST_PAGE = 1000


class Refused(Exception):
    """The request cannot be done; carries the HTTP status and one line for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Body:
    """The body of a request, of a length known beforehand, read piece by piece."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream = stream
        self.length = length
        self.remaining = length

    def read(self, most: int) -> bytes:
        """Return the next bytes, at most so many; none when all were read.

        Raise Refused when the client ends before it has sent what it announced.
        """
        piece = self._stream.read(min(most, self.remaining))
        if not piece and self.remaining and most:
            raise Refused(400, f"the body ended {self.remaining} bytes early")
        self.remaining -= len(piece)
        return piece


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler gets: the parts of the path it named, the query and the body."""

    parts: Mapping[str, str]
    query: Mapping[str, str]
    document: Mapping[str, Any]
    body: Body

    def number(self, name: str) -> int:
        """Return a part of the path that is an id."""
        return as_id(self.parts[name], name)

    def page(self) -> tuple[int, int]:
        """Return the id after which to list, and how many."""
        after = as_id(self.query.get("after", "0"), "after")
        limit = as_id(self.query.get("limit", str(PAGE)), "limit")
        if not 1 <= limit <= LARGEST_PAGE:
            raise Refused(400, f"limit is not between 1 and {LARGEST_PAGE}")
        return after, limit

    def choose(self, *names: str) -> dict[str, Any]:
        """Return the members of the document with these names; any other name is refused."""
        if unknown := sorted(set(self.document) - set(names)):
            raise Refused(400, f"unknown member {unknown[0]!r}; known are {', '.join(names)}")
        return dict(self.document)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status with a JSON document, or with a file."""

    status: int = 200
    document: Mapping[str, Any] | None = None
    file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def as_id(text: str, name: str) -> int:
    """Return a number that fits every id column; refuse anything else."""
    if not (text.isascii() and text.isdigit()) or int(text) >= 2**31:
        raise Refused(400, f"{name} is not a number")
    return int(text)
