"""A program in a container whose input and output are files of this machine, streamed.

For engines that cannot mount our folders. The completeness of what came is proven twice
(rule 1): the exit code is the engine's own word (`exec inspect`), and the last bytes of
the stream are an end marker that the program's shell writes after it, a new random one each time.
How much the program may read is counted beforehand, so that no end of a connection, which TLS
cannot half-close, has to say that the input is over.
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
#: Seconds between two looks at a program that says nothing: a dead connection says nothing too.
_LOOK = 15.0


@dataclass(frozen=True, slots=True)
class Streams:
    """The files of a program: what it reads (nothing by default), its output and its errors."""

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

    Raise LostEngine when the stream ended without the marker; what was written by then is not
    complete. Otherwise raises what the SDK raises.
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
            "see that the engine can be reached, then run it again",
        )
    return int(state["ExitCode"])


def _ended(api: APIClient, made: str) -> Mapping[str, Any]:
    # The marker comes a moment before the engine knows that the program has ended.
    pause = 0.005
    while (state := api.exec_inspect(made))["Running"]:
        time.sleep(pause)
        pause = min(pause * 2, 0.5)
    found: Mapping[str, Any] = state
    return found


class _Connection:
    """The hijacked connection of one program. A watcher ends it when the engine is silent."""

    def __init__(self, api: APIClient, made: str) -> None:
        self._api = api
        self._made = made
        self._over = threading.Event()
        raw: Any = api.exec_start(made, socket=True)
        self._response = raw._response  # noqa: SLF001  the SDK keeps it there, for this reason
        # The reader of the answer's head: it may hold the first bytes of the stream already.
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
        """Send a file. A program that ends before it read all has its reasons; see its end."""
        with path.open("rb") as stream, contextlib.suppress(OSError):
            while size and (chunk := stream.read(min(_CHUNK, size))):
                self._socket.sendall(chunk)
                size -= len(chunk)

    def receive(self, streams: Streams, end: bytes) -> bool:
        """Write what comes to its files, without the marker; return whether that came."""
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
            except Exception:  # noqa: BLE001  whatever it is: nobody hears of this program any more
                runs = False
            if not runs and not self._over.wait(_LOOK):
                self._end()
                return

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
