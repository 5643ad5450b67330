"""The command line of an interactive `psql`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.model import Database
from quiesce.plan.naming import connection_name
from quiesce.ports import Shell

_TO_THE_END = frozenset({"--command", "--file", "--list", "--version", "--help"})

_WITH_VALUE = frozenset(
    "--dbname --field-separator --host --log-file --output --port --pset --record-separator "
    "--table-attr --username --set --variable".split()
)


def shell(database: Database, argv: Sequence[str], run: str) -> Shell:
    """Return `psql` with these arguments of the user; see `ports.DatabaseDriver`."""
    psql = ("psql", "-h", "127.0.0.1", "-p", str(database.port), "-U", database.user)
    environment = {"PGAPPNAME": f"db-shell:{run}"}
    if database.password is not None:
        environment["PGPASSWORD"] = database.password.reveal()
    # A psql that exits by itself is not interactive: no terminal, and so no pager.
    typed = not runs_to_its_end(argv)
    quiet = () if typed else ("-P", "pager=off")
    return Shell((*psql, "-d", connection_name(database.name), *quiet, *argv), environment, typed)


def runs_to_its_end(argv: Sequence[str]) -> bool:
    """Whether psql with these arguments exits by itself: `-c`, `-f`, `-l` and the like, also
    combined with others (`-XAtc`)."""
    words = iter(argv)
    for word in words:
        if word.startswith("--"):
            name, given, _ = word.partition("=")
            if name in _TO_THE_END:
                return True
            if name in _WITH_VALUE and not given:
                next(words, None)
        elif word.startswith("-"):
            for at, letter in enumerate(word[1:], 1):
                if letter in "cflV?":
                    return True
                if letter in "dFhLopPRTUv":
                    if at == len(word) - 1:
                        next(words, None)
                    break
    return False
