"""What a set records of an SQLite database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SqliteRecord:
    """An SQLite database among archived files, as a copy from the archive was checked.

    `file` is its path below the root; bytes that are no UTF-8 are hexadecimal escapes in it.
    `tables` are rows by table, empty if it could not be read. `problems` are the findings of an
    integrity check, none for a good one. `orphans` is the number of rows that violate a foreign
    key, which is no damage. `unchecked` says why the check was not possible, "" if it was.
    """

    file: str
    bytes: int
    tables: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    orphans: int = 0
    unchecked: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it was checked and nothing was found."""
        return not self.problems and not self.unchecked
