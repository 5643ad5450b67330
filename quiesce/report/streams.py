"""Output streams that never raise, and the thread that writes to them."""

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
    """A text stream that drops what cannot be written and remembers why.

    Bytes are written to the descriptor directly if there is one: a thread that is stuck in a full
    pipe then holds no lock of the interpreter, and no buffer can fail to be flushed at exit.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.problem: OSError | ValueError | None = None
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"
        self.descriptor = _descriptor(stream)

    @property
    def terminal(self) -> bool:
        """Whether this stream is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    @property
    def columns(self) -> int:
        """The terminal's width, or 80 if unknown."""
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
        """Whether writing failed because the reader closed the pipe."""
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
            # Another program made the shared terminal non-blocking.
            select.select([], [descriptor], [])


class Outlet:
    """Runs printing calls in order on a separate thread, so that no run waits for a terminal.

    A paused terminal or a full pipe would otherwise block a run while services are stopped. `tick`
    is called a few times per second while `busy` returns true.
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
        """Schedule this call and return at once."""
        if self._thread is None and self._background:
            # Several threads may make their first call at once. Two writer threads would share one
            # queue, and the one that `close` waits for might never get the end marker.
            with self._starting:
                if self._thread is None:
                    self._start()
        if self._thread is None:
            self._quietly(action)
            self._quietly(self._tick)
        else:
            self._queue.put(action)

    def run(self, action: Callable[[], None]) -> None:
        """Run this after everything scheduled, and return when it is done."""
        if self._thread is None:
            self._quietly(action)
        else:
            self._queue.put(action)
            self.flush()

    def flush(self) -> None:
        """Return when everything scheduled has run."""
        if self._thread is None:
            return
        written = threading.Event()
        self._queue.put(written.set)
        # A forked child has the object but not the thread.
        while not written.wait(0.5) and self._thread.is_alive():
            pass

    def close(self) -> None:
        """Finish all scheduled calls and end the thread. Later calls run at once."""
        if self._thread is None:
            return
        self._background = False
        self.flush()
        self._queue.put(None)
        self._thread.join()
        self._thread = None

    def _start(self) -> None:
        # A daemon thread, so that the interpreter does not wait for a paused terminal at exit.
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
            # A signal that arrived meanwhile; printing calls do not raise this themselves.
            raise
        except Exception as error:  # noqa: BLE001  a run must not fail because of its output
            self.problem = self.problem or error


def _nothing() -> None:
    pass
