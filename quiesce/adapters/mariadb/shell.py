"""The command line of `mariadb` for a person. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.adapters.mariadb.session import SHELL, lock_name
from quiesce.model import Database
from quiesce.ports import Shell

_TO_THE_END = ("--execute", "--version", "--help")
#: Short options whose value is the rest of the word, or the next one.
_WITH_VALUE = "DhPpSu"


def shell(database: Database, argv: Sequence[str], run: str) -> Shell:
    """Return `mariadb` with these arguments of a person; see `ports.DatabaseDriver`."""
    client = (
        "mariadb",
        "--no-defaults",
        "--protocol=TCP",
        "--host=127.0.0.1",
        f"--port={database.port}",
        f"--user={database.user}",
        "--default-character-set=utf8mb4",
        # By this lock, the session of a run that died is found.
        f"--init-command=DO GET_LOCK('{lock_name(run, SHELL)}', 0)",
        f"--database={database.name}",
    )
    environment = {}
    if database.password is not None:
        environment["MYSQL_PWD"] = database.password.reveal()
    return Shell((*client, *argv), environment, not runs_to_its_end(argv))


def runs_to_its_end(argv: Sequence[str]) -> bool:
    """Whether mariadb with these arguments exits by itself: `-e`, `--execute`, `-V` and the
    like, also combined with others (`-Nse`)."""
    words = iter(argv)
    for word in words:
        if word.startswith("--"):
            if word.startswith(_TO_THE_END):
                return True
        elif word.startswith("-"):
            for at, letter in enumerate(word[1:], 1):
                if letter in "eV?I":
                    return True
                if letter in _WITH_VALUE:
                    if at == len(word) - 1 and letter != "p":
                        next(words, None)
                    break
    return False
