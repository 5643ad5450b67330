"""Statements, connections and COPY of several threads share the driver's one wait callback."""

from __future__ import annotations

import io
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from quiesce.adapters.postgres import session as sessions
from quiesce.adapters.postgres.errors import SessionError
from quiesce.adapters.postgres.session import Session, open_session
from quiesce.ports import Endpoint
from tests.support.postgres import new_database, shared_server, wait_until

pytestmark = pytest.mark.postgres

ROUNDS = 150


@pytest.fixture
def another() -> Iterator[Callable[[], Session]]:
    """Opens sessions in a database of its own."""
    server = shared_server()
    with new_database(server, "waiting", "CREATE TABLE t (a int)") as database:
        yield lambda: open_session(
            database, "waiting", Endpoint("127.0.0.1", server.port), "quiesce-waiting"
        )


def test_threads_that_copy_disturb_nobody(another: Callable[[], Session]) -> None:
    """Others connect and run statements meanwhile; none of them fails."""
    failed: list[BaseException] = []
    done = threading.Event()

    def until_done(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                while not done.is_set():
                    work()
            except BaseException as problem:  # noqa: BLE001 - the test reports it
                failed.append(problem)
                done.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with another() as copier, another() as reader:

        def connect() -> None:
            with another() as session:
                session.run("SELECT 1")

        threads = [
            until_done(connect),
            until_done(connect),
            until_done(lambda: reader.run("SELECT generate_series(1, 9)")),
        ]
        try:
            for _ in range(ROUNDS):
                copier.copy_in("COPY public.t FROM STDIN", io.BytesIO(b"1\n2\n"))
                copier.run("SELECT 1")
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert failed == []
        assert copier.value("SELECT count(*) FROM public.t") == 2 * ROUNDS


class _Signal(Exception):
    pass


def test_a_signal_ends_a_statement_after_a_copy(another: Callable[[], Session]) -> None:
    """The callback is back when the last COPY has ended, and the server cancels the statement."""

    def handler(*_: object) -> None:
        raise _Signal

    with another() as session, another() as watcher:
        session.copy_in("COPY public.t FROM STDIN", io.BytesIO(b"1\n"))
        sleeping = f"SELECT 1 FROM pg_stat_activity WHERE pid = {session.pid} AND state = 'active'"
        before = signal.signal(signal.SIGUSR1, handler)
        try:

            def send() -> None:
                wait_until(lambda: watcher.rows(sleeping), "the statement to run")
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

            thread = threading.Thread(target=send)
            thread.start()
            with pytest.raises(_Signal):
                session.run("SELECT pg_sleep(3600)")
            thread.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
        wait_until(lambda: not watcher.rows(sleeping), "the statement to be cancelled")


def test_a_statement_that_runs_for_long_does_not_hold_up_a_copy(
    another: Callable[[], Session],
) -> None:
    """It has asked for the callback long ago, or waits for what the copying thread holds."""
    with another() as holder, another() as session:
        holder.run("BEGIN")
        holder.run("LOCK TABLE public.t")
        thread = threading.Thread(target=lambda: session.run("SELECT * FROM public.t"))
        thread.start()
        waits = f"SELECT 1 FROM pg_locks WHERE pid = {session.pid} AND NOT granted"
        wait_until(lambda: holder.rows(waits), "the statement to wait")
        holder.copy_in("COPY public.t FROM STDIN", io.BytesIO(b"1\n"))
        holder.run("COMMIT")
        thread.join()


def test_a_limit_ends_a_connection_attempt() -> None:
    """A server that accepts and says nothing is given up, with the callback in use."""
    database = shared_server().database("waiting")
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "CONNECT_SECONDS", 0.2)
        began = time.monotonic()
        with pytest.raises(SessionError):
            open_session(database, "x", Endpoint("127.0.0.1", silent.getsockname()[1]), "quiesce")
        assert time.monotonic() >= began + 0.2
