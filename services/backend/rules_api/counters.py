"""Counters in redis, through the few words of its protocol that they need."""

import re
import socket

from .messages import Answer, Refused, Request

PATIENCE = 3.0  # seconds, for the connection and for each reply


class Redis:
    """A redis server that is asked one command per connection."""

    def __init__(self, address: tuple[str, int] | None) -> None:
        self._address = address

    def describe(self) -> str:
        """Say whether redis is ``off``, ``silent`` or ``answers``."""
        if self._address is None:
            return "off"
        try:
            self.ask("PING")
        except Refused:
            return "silent"
        return "answers"

    def ask(self, *words: str) -> str | None:
        """Send a command and return its reply: a status, a number as text, a text, or None.

        Raise Refused (503) when redis is off, does not answer, or answers with an error: without
        a reply nobody knows whether the command was done, so it must not count as done.
        """
        if self._address is None:
            raise Refused(503, "redis is not configured")
        command = f"*{len(words)}\r\n".encode()
        for word in words:
            data = word.encode()
            command += b"$%d\r\n%s\r\n" % (len(data), data)
        try:
            with socket.create_connection(self._address, PATIENCE) as connection:
                connection.sendall(command)
                with connection.makefile("rb") as replies:
                    kind, rest = self._read_line(replies.readline())
                    if kind == "$":
                        if rest == "-1":
                            return None
                        return replies.read(int(rest)).decode()
        except (OSError, ValueError) as error:
            raise Refused(503, f"redis does not answer: {error}") from error
        if kind == "-":
            raise Refused(503, f"redis refuses: {rest}")
        return rest

    def _read_line(self, line: bytes) -> tuple[str, str]:
        if not line.endswith(b"\r\n"):
            raise ValueError("the reply ended early")
        text = line[:-2].decode()
        return text[:1], text[1:]


def read_counter(redis: Redis, request: Request) -> Answer:
    """Answer with the value of a counter."""
    value = redis.ask("GET", as_key(request))
    return Answer(document={"name": request.parts["name"], "value": int(value or 0)})


def add_to_counter(redis: Redis, request: Request) -> Answer:
    """Add one and answer with the new value, once redis has acknowledged it."""
    value = redis.ask("INCR", as_key(request))
    return Answer(document={"name": request.parts["name"], "value": int(value or 0)})


def as_key(request: Request) -> str:
    """Return the key of a counter; names are words."""
    name = request.parts["name"]
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name):
        raise Refused(400, "the name of the counter is not a word")
    return f"counter:{name}"
