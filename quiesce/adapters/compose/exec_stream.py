"""Runs a program in a container with its input and output streamed from and to local files.

For engines that cannot mount local folders. Two facts prove that the output is complete (rule 1):
the exit code comes from the engine (`exec inspect`), and the last bytes of the stream are an end
marker that the program's shell writes after it, a new random one each time. The number of input
bytes is announced in advance, because TLS cannot half-close a connection to mark the end of the
input.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from quiesce.errors import LostEngine

if TYPE_CHECKING:
    from docker import APIClient

_SCRIPT = """
end=$1 count=$2
shift 2
if [ "$count" = - ]; then "$@" </dev/null; else head -c "$count" | "$@"; fi
code=$?
printf %s "$end"
exit "$code"
"""
_CHUNK = 1 << 20
_FRAME = struct.Struct(">BxxxL")
_STDOUT = 1
#: Seconds between checks of a silent program: a dead connection is silent too.
_LOOK = 15.0


@dataclass(frozen=True, slots=True)
class Streams:
    """The files of a program: its input (none by default), its output and its errors."""

    output: Path
    errors: Path
    reads: Path | None = None


def run_streamed(
    api: APIClient,
    container: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    streams: Streams,
) -> int:
    """Run a program in a running container to its end and return its exit code.

    Raise LostEngine if the stream ended without the marker, in which case the output is incomplete.
    Otherwise raise the SDK's errors.
    """
    end = f"quiesce-end-{secrets.token_hex(16)}"
    size = streams.reads.stat().st_size if streams.reads is not None else None
    count = "-" if size is None else str(size)
    command = ["sh", "-c", _SCRIPT, "quiesce", end, count, *argv]
    made = api.exec_create(
        container, command, stdin=size is not None, environment=dict(environment)
    )["Id"]
    with _Connection(api, made) as connection:
        if streams.reads is not None:
            connection.send(streams.reads, size or 0)
        complete = connection.receive(streams, end.encode())
    state = _ended(api, made) if complete else api.exec_inspect(made)
    if not complete:
        raise LostEngine(
            "the connection to the engine ended in the middle of a stream",
            "check that the engine can be reached, then run the task again",
        )
    return int(state["ExitCode"])


def _ended(api: APIClient, made: str) -> Mapping[str, Any]:
    # The marker arrives shortly before the engine knows that the program has ended.
    pause = 0.005
    while (state := api.exec_inspect(made))["Running"]:
        time.sleep(pause)
        pause = min(pause * 2, 0.5)
    found: Mapping[str, Any] = state
    return found


class _Connection:
    """The hijacked connection of one program. A watcher closes it if the engine is silent."""

    def __init__(self, api: APIClient, made: str) -> None:
        self._api = api
        self._made = made
        self._over = threading.Event()
        raw: Any = api.exec_start(made, socket=True)
        self._response = raw._response  # noqa: SLF001  the SDK keeps it there for this
        # The reader of the response header, which may already have buffered part of the stream.
        self._reader: IO[bytes] = self._response.raw._fp.fp  # noqa: SLF001
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._socket.settimeout(None)
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._end()
        with contextlib.suppress(OSError, ValueError):
            self._response.close()
        with contextlib.suppress(OSError):
            self._socket.close()
        self._watcher.join()

    def send(self, path: Path, size: int) -> None:
        """Send a file. A program may end before it has read everything; its exit code decides."""
        with path.open("rb") as stream, contextlib.suppress(OSError):
            while size and (chunk := stream.read(min(_CHUNK, size))):
                self._socket.sendall(chunk)
                size -= len(chunk)

    def receive(self, streams: Streams, end: bytes) -> bool:
        """Write the received data to its files, without the marker; return whether the marker
        came."""
        held = b""
        with streams.output.open("r+b") as output, streams.errors.open("r+b") as errors:
            output.truncate()
            errors.truncate()
            for kind, chunk in self._frames():
                if kind != _STDOUT:
                    errors.write(chunk)
                    continue
                held += chunk
                if len(held) > len(end):
                    output.write(held[: -len(end)])
                    held = held[-len(end) :]
            if held != end:
                output.write(held)
        return held == end

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        with contextlib.suppress(OSError, ValueError):
            while len(head := self._reader.read(_FRAME.size)) == _FRAME.size:
                kind, size = _FRAME.unpack(head)
                yield kind, self._reader.read(size)

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            try:
                runs = self._api.exec_inspect(self._made)["Running"]
            except Exception:  # noqa: BLE001  its end can no longer be observed
                runs = False
            if not runs and not self._over.wait(_LOOK):
                self._end()
                return

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
