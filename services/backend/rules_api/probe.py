"""Health probe of the container: exit 0 if /health answers 200.

A script of its own, with nothing to import but the socket: it runs every other second.
"""

import os
import socket
import sys


def probe(port: int) -> bool:
    """Say whether the API on this port of the loopback calls itself healthy."""
    try:
        with socket.create_connection(("127.0.0.1", port), 3) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            answer = connection.recv(64)
    except OSError:
        return False
    return answer.split(b" ")[1:2] == [b"200"]


if __name__ == "__main__":
    sys.exit(0 if probe(int(os.environ.get("PORT") or "8000")) else 1)
