"""How to restore the databases of a set with standard tools: one module for each engine. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from quiesce.execute.by_hand import postgres
from quiesce.model import DatabaseRecord, SetKind


class ByHand(Protocol):
    """A part of `RESTORE.md` in Markdown."""

    def server(self, where: str, globals_: Sequence[str]) -> str:
        """Return the section about a server: its connection, and its roles from these files.
        `where` names the service if there are several."""
        ...

    def database(self, record: DatabaseRecord, kind: SetKind, settings: str) -> str:
        """Return the section about a database. `settings` is the file with its settings, "" for
        none."""
        ...


#: The pages of each engine: one row for each engine of `model/engines.py`.
PAGES: Mapping[str, ByHand] = {"postgres": postgres}


def by_hand(engine: str) -> ByHand:
    """Return the pages of an engine."""
    return PAGES[engine]
