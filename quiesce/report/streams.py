"""Where text leaves the program: streams that never raise, and the thread that writes to them."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable
from io import UnsupportedOperation
from queue import Empty, SimpleQueue
from typing import TextIO

from quiesce.errors import QuiesceError
from quiesce.report.words import legible


class Stream:
    """A text stream that swallows what cannot be written and remembers why.

    Bytes go to the descriptor itself where there is one: a thread that is stuck in a full pipe
    then holds no lock of the interpreter's, and nothing is left in a buffer to fail at exit.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.problem: OSError | ValueError | None = None
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"
        self.descriptor = _descriptor(stream)

    @property
    def terminal(self) -> bool:
        """Whether a person sees this stream on a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    @property
    def columns(self) -> int:
        """The terminal's width; 80 where it does not say."""
        try:
            return os.get_terminal_size(self.descriptor or 0).columns or 80
        except OSError:
            return 80

    def write(self, text: str) -> None:
        """Write and flush. After the first failure everything is dropped."""
        if self._stream is None or self.problem is not None:
            return
        text = legible(text, self.encoding)
        try:
            if self.descriptor is None:
                self._stream.write(text)
                self._stream.flush()
            else:
                self._stream.flush()
                _write_all(self.descriptor, text.encode(self.encoding, "replace"))
        except (OSError, ValueError) as error:
            self.problem = error

    @property
    def reader_left(self) -> bool:
        """Whether writing failed for the ordinary reason that nobody reads any more."""
        return isinstance(self.problem, OSError) and self.problem.errno == errno.EPIPE


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (AttributeError, OSError, UnsupportedOperation, ValueError):
        return None


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        try:
            content = content[os.write(descriptor, content) :]
        except BlockingIOError:
            # Somebody who shares the terminal made it non-blocking.
            select.select([], [descriptor], [])


class Outlet:
    """Runs what prints, in order, on a thread of its own, so that no run waits for a terminal.

    A paused terminal or a full pipe would otherwise hold a run while services are stopped.
    `tick` is called a few times a second while `busy` says that something is shown live.
    """

    def __init__(
        self,
        tick: Callable[[], None],
        busy: Callable[[], bool],
        *,
        seconds: float,
        background: bool,
    ) -> None:
        self._tick = tick
        self._busy = busy
        self._seconds = seconds
        self._background = background
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.RLock()
        self.problem: Exception | None = None

    def post(self, action: Callable[[], None]) -> None:
        """Have this run soon; return at once."""
        if self._thread is None and self._background:
            # Several threads may tell their first words at once. Two that write would share one
            # queue, and the one that `close` waits for might never hear of the end.
            with self._starting:
                if self._thread is None:
                    self._start()
        if self._thread is None:
            self._quietly(action)
            self._quietly(self._tick)
        else:
            self._queue.put(action)

    def run(self, action: Callable[[], None]) -> None:
        """Run this after everything posted, and return when it is done."""
        if self._thread is None:
            self._quietly(action)
        else:
            self._queue.put(action)
            self.flush()

    def flush(self) -> None:
        """Return when everything posted is written."""
        if self._thread is None:
            return
        written = threading.Event()
        self._queue.put(written.set)
        # A forked child has the object but not the thread.
        while not written.wait(0.5) and self._thread.is_alive():
            pass

    def close(self) -> None:
        """Write what is left and end the thread. What is posted later is written at once."""
        if self._thread is None:
            return
        self._background = False
        self.flush()
        self._queue.put(None)
        self._thread.join()
        self._thread = None

    def _start(self) -> None:
        # Daemon: an interpreter that ends for another reason does not wait for a paused terminal.
        thread = threading.Thread(target=self._work, name="report", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._background = False
        else:
            self._thread = thread

    def _work(self) -> None:
        while True:
            try:
                action = self._queue.get(timeout=self._seconds if self._busy() else None)
            except Empty:
                action = _nothing
            if action is None:
                return
            self._quietly(action)
            self._quietly(self._tick)

    def _quietly(self, action: Callable[[], None]) -> None:
        try:
            action()
        except QuiesceError:
            # A signal that arrived meanwhile: nothing that prints raises this itself.
            raise
        except Exception as error:  # noqa: BLE001  no run fails because it could not be told about
            self.problem = self.problem or error


def _nothing() -> None:
    pass
