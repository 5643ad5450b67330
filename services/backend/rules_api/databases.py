"""Connections to a database that may be restarted, or exchanged, while the API runs."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import RealDictCursor

MOST_IDLE = 4


class Database:
    """One database, and the connections to it that wait for their next use."""

    def __init__(self, address: Mapping[str, Any]) -> None:
        self._address = dict(address)
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Lend a cursor; commit when the block ends, roll back when it raises.

        Rows are dictionaries. When the block has ended without an error, the change is on disk.
        """
        connection = self._take()
        try:
            with connection, connection.cursor() as cursor:
                yield cursor
        except BaseException:
            # whatever went wrong, this connection has no future worth finding out about
            connection.close()
            raise
        self._give_back(connection)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> Connection:
        """Return a connection that answered just now.

        An idle one is asked before its use: a database that was restarted in the meantime must not
        cost a request, and a request that has begun is never repeated, as it may have been done.
        """
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._open()
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                return connection
            except psycopg2.Error:
                connection.close()

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _open(self) -> Connection:
        return psycopg2.connect(
            **self._address,
            cursor_factory=RealDictCursor,
            application_name="rules_api",
            connect_timeout=3,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
