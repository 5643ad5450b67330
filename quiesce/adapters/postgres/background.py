"""Work beside a running client: reading in another session."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from quiesce.adapters.postgres.session import Session

T = TypeVar("T")


@contextlib.contextmanager
def run_beside(session: Session, read: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Run `read` in a thread; the yielded function waits for its result. On early exit it is
    cancelled."""
    results: list[T] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            results.append(read())
        except Exception as problem:  # noqa: BLE001 - raised again by result()
            failures.append(problem)

    thread = threading.Thread(target=work, name=f"digests {session.where}", daemon=True)
    thread.start()

    def result() -> T:
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    try:
        yield result
    finally:
        while thread.is_alive():
            session.cancel()
            thread.join(0.2)
