"""An HTTP server that remembers what it was sent."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Listener:
    """What came, as paths and bodies, and what is answered."""

    url: str = ""
    status: int = 200
    #: A request waits for this to be set before it is answered.
    answer: threading.Event = field(default_factory=threading.Event)
    heard: list[tuple[str, str]] = field(default_factory=list)

    def paths(self) -> list[str]:
        """Which paths were asked for, in order."""
        return [path for path, _ in self.heard]


@contextmanager
def a_listener() -> Iterator[Listener]:
    """Listen on a free port while the block runs."""
    listener = Listener()
    listener.answer.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            listener.heard.append((self.path, body.decode()))
            listener.answer.wait(60)
            self.send_response(listener.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815  the names that the server looks for

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Nobody reads it."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    listener.url = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        listener.answer.set()
        server.shutdown()
        server.server_close()
        thread.join()
