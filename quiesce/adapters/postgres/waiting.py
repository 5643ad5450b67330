"""Waits for a server in such a way that a signal ends the wait, in several threads at once.

The driver has one wait callback for the whole process. With it, a statement waits in Python, where
a signal's exception is raised; without it, in C. COPY works only without it.

The driver asks twice for each statement: whether there is a callback, then which one. If it is
removed in between, the statement fails and its connection is lost. So every statement and every
connection attempt runs in `waiting()`, and `copying()` removes the callback only while no thread is
between these two questions.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

import psycopg2
import psycopg2.extensions as driver

#: The two questions are a few instructions apart, or the lookup of a host's name. A thread that
#: started longer ago is inside its statement, or waits in C, and is not waited for.
START_SECONDS = 0.5


class _Callback:
    """Counts the threads that need the driver's wait callback, and those that need it removed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._copying = 0
        #: When each thread that may be between the two questions got there.
        self._starting: dict[int, float] = {}

    def starts(self) -> None:
        """This thread is about to ask; it leaves with `ends`."""
        with self._changed:
            self._starting[threading.get_ident()] = time.monotonic()
            if not self._copying:
                driver.set_wait_callback(_wait)

    def ends(self) -> None:
        """This thread has its answer, or its statement is over."""
        with self._changed:
            self._starting.pop(threading.get_ident(), None)
            self._changed.notify_all()

    def remove(self) -> None:
        """Remove the callback once nobody is about to ask for it, until `put_back`."""
        with self._changed:
            while not self._copying and (left := self._seconds_left()) > 0:
                self._changed.wait(left)
            self._copying += 1
            driver.set_wait_callback(None)

    def put_back(self) -> None:
        """Undo one `remove`; the last one restores the callback."""
        with self._changed:
            self._copying -= 1
            if not self._copying:
                driver.set_wait_callback(_wait)

    def _seconds_left(self) -> float:
        newest = max(self._starting.values(), default=0.0)
        return newest + START_SECONDS - time.monotonic()


_callback = _Callback()
_deadline = threading.local()


@contextlib.contextmanager
def waiting(seconds: float | None = None) -> Iterator[None]:
    """Run one statement or connection attempt of the driver, but no COPY.

    A wait of more than `seconds` in all raises the driver's OperationalError. While another thread
    copies, neither a signal nor the limit ends the wait.
    """
    _deadline.at = None if seconds is None else time.monotonic() + seconds
    try:
        _callback.starts()
        yield
    finally:
        _deadline.at = None
        _callback.ends()


@contextlib.contextmanager
def copying() -> Iterator[None]:
    """Run COPY. Threads may copy at the same time.

    A signal's exception is raised when COPY requests its next chunk.
    """
    _callback.remove()
    try:
        yield
    finally:
        _callback.put_back()


def _wait(connection: driver.connection) -> None:
    """Wait for the server so that a signal's exception is raised and cancels the statement."""
    _callback.ends()
    try:
        _poll(connection, getattr(_deadline, "at", None))
    except psycopg2.Error:
        raise
    except BaseException:
        with contextlib.suppress(psycopg2.Error):
            connection.cancel()
        raise
    finally:
        _callback.starts()  # the driver asks again: a statement can be preceded by BEGIN


def _poll(connection: driver.connection, deadline: float | None) -> None:
    while (state := connection.poll()) != driver.POLL_OK:
        poller = select.poll()
        events = select.POLLIN if state == driver.POLL_READ else select.POLLOUT
        poller.register(connection.fileno(), events)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poller.poll(left):
            _give_up()


def _give_up() -> NoReturn:
    raise psycopg2.OperationalError("timeout expired")
