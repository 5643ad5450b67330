"""What drivers of every engine do alike: tell servers apart, wait until one answers, and refuse to
drop what does not belong to a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Database
from quiesce.plan.naming import suffix_of

#: Seconds between two attempts to reach a server that is starting.
ASK_EVERY = 0.1


def server_of(database: Database) -> tuple[str, int]:
    """Return the identity of a database's server."""
    return (database.service, database.port)


def one_per_server(databases: Sequence[Database]) -> tuple[Database, ...]:
    """Return the first database of each server."""
    return tuple({server_of(database): database for database in reversed(databases)}.values())


def await_answer(
    ask: Callable[[], object],
    is_refusal: Callable[[QuiesceError], bool],
    seconds: float,
    still_up: Callable[[], None],
) -> str:
    """Call `ask` until it succeeds, and return ""; see `ports.DatabaseDriver.await_answer`.

    Return the fact of an error that is the server's refusal of the user. Raise any other error
    after so many seconds, or at once if the engine is lost.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            ask()
        except QuiesceError as error:
            if is_refusal(error):
                return error.fact
            if error.lost_engine or time.monotonic() >= deadline:
                raise
        else:
            return ""
        time.sleep(ASK_EVERY)
        still_up()


def require_own(database: Database, name: str, run: str, mark: str) -> None:
    """Raise RequestError unless the existing database `name` was created by this run, so that it
    may be dropped and created again. `mark` is the run that it is marked with."""
    # The name counts too: a run or the server may die before the mark is written.
    ours = name.endswith(f"_{suffix_of(run)}") or mark == run
    if name == database.name or not ours:
        raise RequestError(
            f"database {name} already exists and was not created by this run",
            "run 'inv recover', then try again",
        )


def require_undeclared(database: Database, name: str, databases: Sequence[Database]) -> None:
    """Raise QuiesceError if `name` is a declared database of the server of `database`."""
    if any(name == d.name for d in databases if server_of(d) == server_of(database)):
        raise QuiesceError(
            f"database {name} is declared in stack.yaml, so it is not dropped",
            "Quiesce never drops a live database",
        )


def require_suffix(name: str, suffix: str) -> None:
    """Raise QuiesceError unless the name ends with the suffix of a run."""
    if not suffix or not name.endswith(suffix):
        raise not_of_this_run(name, suffix)


def not_of_this_run(name: str, suffix: str) -> QuiesceError:
    """Return the error for a database that this run did not create."""
    return QuiesceError(
        f"database {name} was not created by this run, so it is not dropped",
        f"only names that end with {suffix} are dropped",
    )
