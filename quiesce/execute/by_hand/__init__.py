"""How to restore the databases of a set with standard tools: one module for each engine. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from quiesce.execute.by_hand import mariadb, postgres
from quiesce.model import DatabaseRecord, SetKind


@dataclass(frozen=True, slots=True)
class ByHand:
    """What writes the sections of `RESTORE.md` about databases of one engine, in Markdown.

    `server` gets words that name the service if there are several, and the files with roles, quoted
    for a shell. `database` gets the record, the set's kind, and the file with settings, "" for
    none. `password` is the statement that sets a password.
    """

    server: Callable[[str, Sequence[str]], str]
    database: Callable[[DatabaseRecord, SetKind, str], str]
    password: str


#: The module for each engine: one row for each engine of `model/engines.py`.
PAGES: Mapping[str, ByHand] = {
    "postgres": ByHand(postgres.server, postgres.database, "ALTER ROLE … PASSWORD"),
    "mariadb": ByHand(mariadb.server, mariadb.database, "ALTER USER … IDENTIFIED BY"),
}


def by_hand(engine: str) -> ByHand:
    """Return the module for an engine."""
    return PAGES[engine]
