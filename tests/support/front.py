"""A port in front of an engine's socket: with TLS like a remote engine's, and able to break."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from pathlib import Path

_CHUNK = 1 << 16


class Front:
    """Passes connections on to a unix socket; `address` is where it listens.

    With `certificates`, it speaks TLS and wants a client's certificate. After `limit` bytes from
    the engine every connection is broken, until it is set to None again.
    """

    def __init__(self, target: Path, certificates: Path | None = None) -> None:
        self._target = target
        self._context: ssl.SSLContext | None = None
        if certificates is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
            self._context.load_verify_locations(certificates / "ca.pem")
            self._context.verify_mode = ssl.CERT_REQUIRED
        self.limit: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if self._context is not None:
                near = self._context.wrap_socket(near, server_side=True)
            stack.enter_context(near)
            far = stack.enter_context(socket.socket(socket.AF_UNIX))
            far.connect(str(self._target))
            up = threading.Thread(target=self._pump, args=(near, far), daemon=True)
            up.start()
            self._pump(far, near, counted=True)

    def _pump(self, source: socket.socket, target: socket.socket, *, counted: bool = False) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if counted and self.limit is not None:
                    self.limit -= len(chunk)
                    if self.limit < 0:
                        break
                target.sendall(chunk)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def make_certificates(folder: Path) -> Path:
    """Make a certificate for 127.0.0.1 that vouches for itself, in Docker's names."""
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    made = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *made]
    subprocess.run(argv, check=True, capture_output=True)
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())
    return folder
