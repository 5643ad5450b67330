"""The HTTP server: one thread per request, and an end that finishes the requests it has begun."""

import errno
import json
import shutil
import socket
import threading
import traceback
from contextlib import suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .log import log
from .messages import Answer, Body, Refused, Request
from .routes import Api

LARGEST_DOCUMENT = 1024 * 1024


class Server(ThreadingHTTPServer):
    """Listens, and counts the requests that are being answered."""

    # idle connections must not keep the process alive: finish() waits for requests, not for threads
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], api: Api) -> None:
        self.api = api
        self._running = 0
        self._stopping = False
        self._changed = threading.Condition()
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the standard library, which may hang for seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def begin_request(self) -> None:
        """Count a request in, or refuse it when the server is about to end."""
        with self._changed:
            if self._stopping:
                raise Refused(503, "the server is stopping")
            self._running += 1

    def end_request(self) -> None:
        """Count a request out."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def finish(self, patience: float) -> bool:
        """Take no more requests; say whether those begun ended within so many seconds."""
        with self._changed:
            self._stopping = True
        self.shutdown()
        self.server_close()
        with self._changed:
            return self._changed.wait_for(lambda: self._running == 0, patience)


class Handler(BaseHTTPRequestHandler):
    """Reads one request, has it answered, and closes the connection."""

    server: Server
    # 1.1 for clients that wait for "100 Continue" before they send a file
    protocol_version = "HTTP/1.1"
    timeout = 30
    server_version = "rules_api"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        try:
            self.server.begin_request()
        except Refused as refusal:
            self._send(Answer(refusal.status, {"error": refusal.message}))
            return
        try:
            self._send(self._answer())
        except OSError as error:
            # the client has gone, or the disk gave out in the middle of a file: no one to tell
            log(f"{self.command} {self.path}: {error}")
        finally:
            self.server.end_request()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin an answer; each is the last of its connection, so that none is idle at the end."""
        super().send_response(code, message)
        self.send_header("Connection", "close")

    def log_message(self, template: str, *values: Any) -> None:
        """Log a request, except the questions after health, which come every second."""
        if urlsplit(getattr(self, "path", "")).path not in ("/health", "/api/health"):
            log(f"{self.client_address[0]} {template % values}")

    def _answer(self) -> Answer:
        body = None
        try:
            body = self._find_body()
            url = urlsplit(self.path)
            route, parts = self.server.api.find(self.command, unquote(url.path, errors="strict"))
            document = {} if route.takes_file else read_document(body)
            query = dict(parse_qsl(url.query))
            return self.server.api.answer(route, Request(parts, query, document, body))
        except Refused as refusal:
            return Answer(refusal.status, {"error": refusal.message})
        except UnicodeDecodeError:
            return Answer(400, {"error": "the path is not UTF-8"})
        except OSError as error:
            log(f"{self.command} {self.path}: {error}")
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            return Answer(
                507 if full else 500, {"error": error.strerror or "input or output failed"}
            )
        except Exception:  # noqa: BLE001
            # the last stop before the client: a mistake in here must not look like a lost network
            log(f"{self.command} {self.path}: {traceback.format_exc()}")
            return Answer(500, {"error": "internal error"})
        finally:
            if body is not None:
                self._discard(body)

    def _find_body(self) -> Body:
        text = self.headers.get("Content-Length", "" if self.command == "PUT" else "0")
        if not (text.isascii() and text.isdigit()):
            raise Refused(411, "the length of the body is not given")
        return Body(self.rfile, int(text))

    def _discard(self, body: Body) -> None:
        """Read what is left of a short body: closing over it would reset the connection, and with
        it the answer. A document that is too long, too, unless it is far too long."""
        if body.remaining <= 4 * LARGEST_DOCUMENT:
            with suppress(OSError, Refused):
                while body.read(LARGEST_DOCUMENT):
                    pass

    def _send(self, answer: Answer) -> None:
        if answer.file is not None:
            self._send_file(answer)
            return
        body = b""
        if answer.document is not None:
            body = json.dumps(answer.document, default=as_text).encode() + b"\n"
        self.send_response(answer.status)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, answer: Answer) -> None:
        with answer.file.open("rb") as file:
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(file.seek(0, 2)))
            self.end_headers()
            file.seek(0)
            shutil.copyfileobj(file, self.wfile, 1024 * 1024)


def read_document(body: Body) -> dict[str, Any]:
    """Return the JSON object in a body, an empty one for no body, or refuse."""
    if body.length > LARGEST_DOCUMENT:
        raise Refused(413, f"documents end at {LARGEST_DOCUMENT} bytes")
    if not body.length:
        return {}
    try:
        document = json.loads(body.read(body.length))
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Refused(400, "the body is not a JSON object")
    return document


def as_text(value: object) -> str:
    """Return a time as ISO 8601 text, for JSON."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
