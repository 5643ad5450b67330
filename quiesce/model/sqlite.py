"""What a set records of an SQLite database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SqliteRecord:
    """An SQLite database among archived files, and the result of checking a copy from the archive.
    `file` is its path below the root, with bytes that are not UTF-8 as hexadecimal escapes.
    `tables` are rows by table, empty if it could not be read. `problems` are the findings of an
    integrity check, none for a good one. `orphans` is the number of rows that violate a foreign
    key, which does not count as damage. `unchecked` says why the check was not possible, "" if it
    was.
    """

    file: str
    bytes: int
    tables: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    orphans: int = 0
    unchecked: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it was checked and no problem was found."""
        return not self.problems and not self.unchecked
