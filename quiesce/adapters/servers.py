"""What drivers of every engine do with servers: tell them apart, and wait until one answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from quiesce.errors import QuiesceError
from quiesce.model import Database

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
