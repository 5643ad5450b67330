"""Collects mistakes, so that all of them are reported at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from quiesce.errors import ConfigError, Problem

YamlPath = tuple[str | int, ...]
"""A place in a document: the keys and list positions from the top."""

#: Far more than any of these files needs; parsing time grows with the size.
LARGEST_FILE = 1_000_000


class Findings:
    """Every mistake found so far in `file` and in the files that it refers to.

    `lines` is filled by the reader of the document and maps a path to its line. Paths in `spoiled`
    have no usable value, for a reason that was already reported.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[YamlPath, int] = {}
        self.spoiled: set[YamlPath] = set()
        self._problems: list[Problem] = []

    def add(self, path: YamlPath, fact: str, hint: str = "", *, line: int | None = None) -> None:
        """Add a mistake at a path in the document; without `line`, at the line of the path."""
        self._note(Problem(self.file, line or self.line(path), dotted(path), fact, hint))

    def add_elsewhere(self, file: str, line: int, name: str, fact: str, hint: str = "") -> None:
        """Add a mistake in another file; `name` is the variable that it concerns."""
        self._note(Problem(file, line, name, fact, hint))

    def line(self, path: YamlPath) -> int:
        """The line of a path, or of its nearest ancestor with a line, or 0."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def raise_if_any(self) -> None:
        """Raise ConfigError with all mistakes, the document's first, each file's by line."""
        if self._problems:
            files = [self.file, *(problem.file for problem in self._problems)]
            raise ConfigError(
                sorted(self._problems, key=lambda item: (files.index(item.file), item.line))
            )

    def _note(self, problem: Problem) -> None:
        # An alias may add the same mistake under several paths, a check may add it twice.
        if problem not in self._problems:
            self._problems.append(problem)


def dotted(path: YamlPath) -> str:
    """Return a path as people write it: `restart.order[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{clip(part)}" if text else clip(part)
    return text


def clip(text: str) -> str:
    """Return a text short enough for a message."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def shown(file: Path) -> str:
    """Return a file name for messages: relative to the working directory if it is below it."""
    try:
        return str(file.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)


def is_there(check: Callable[[], bool]) -> bool:
    """Return the result of a predicate on a path, False if it raises an OSError."""
    try:
        return check()
    except (OSError, ValueError):
        return False


def read_bounded(file: Path) -> bytes:
    """Return the content of a regular file of at most `LARGEST_FILE` bytes.

    Raise OSError with a sentence in `strerror` otherwise.
    """
    # Non-blocking: opening a named pipe would otherwise wait before it can be refused.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = stream.read(LARGEST_FILE + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST_FILE:
        raise OSError(0, f"larger than {LARGEST_FILE:,} bytes")
    return content
