"""Parses tar's output while it archives: the content of the archive, and which messages are
errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from quiesce.adapters.volumes.changes import Listed

# tar: NAME: message; colons in NAME are escaped.
_SAID = re.compile(r"tar: (?:\\.|[^\\:])*: (.*)")
_VANISHED = re.compile(
    r".*: (No such file or directory|Not a directory|Too many levels of symbolic links"
    r"|Stale file handle)|File removed before we read it|file changed as we read it"
    r"|File shrank by \d+ bytes?; padding with zeros"
)


class Size:
    """Entries and bytes of an archive, from tar's list, and the paths that were archived `late`:
    those that should be left out, but did not exist when tar got the list of exclusions."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        #: Of the whole archive, including late entries; several names of one file count once.
        self.all_files = 0
        self.all_bytes = 0
        self.devices: list[bytes] = []
        self.late: list[bytes] = []
        self._targets: dict[bytes, int] = {}

    def add(self, entry: Listed, late: Sequence[bytes]) -> None:
        self.late += late
        self.all_files += entry.path != b"."
        self.all_bytes += entry.size if entry.type == b"f" else 0
        if entry.type in (b"b", b"c"):
            self.devices.append(entry.path)
        if len(late) == len(entry.paths):
            return
        self.files += entry.path != b"."
        if entry.type == b"f":
            self.bytes += entry.size
        elif entry.type == b"h":
            self._targets[entry.target] = self._targets.get(entry.target, 0) + 1

    def add_links(self, entries: Iterable[Listed]) -> None:
        """Count the bytes of hard links, for which the list only shows the target."""
        if self._targets:
            for entry in entries:
                if entry.type == b"f" and entry.path in self._targets:
                    self.bytes += entry.size * self._targets[entry.path]


def is_serious(line: str) -> bool:
    """Whether tar reports more than that an entry vanished or changed while it was read."""
    said = _SAID.fullmatch(line)
    return said is None or _VANISHED.fullmatch(said[1]) is None


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a file that may contain any bytes."""
    with path.open("rb") as stream:
        for line in stream:
            yield line.decode(errors="backslashreplace").rstrip("\n")
