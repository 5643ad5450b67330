"""Stands in for an application: writes into what is mounted, and answers HTTP everywhere."""

import os
import signal
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: The ports that the applications of the corpus listen on.
PORTS = (80, 2283, 2368, 3000, 3001, 3456, 5000, 5678, 8000, 8008, 8080, 8096, 8123, 9000, 9090)
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/run", "/var/run")
#: Where these applications keep an SQLite database.
SQLITE = {
    "/data": "db.sqlite3",
    "/config": "home-assistant_v2.db",
    "/etc/linkding/data": "db.sqlite3",
}


class Answer(BaseHTTPRequestHandler):
    """Answers every request with 200."""

    def do_GET(self) -> None:
        body = b"ok\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def write(folder: str) -> None:
    """Write what an application would, once."""
    if os.path.exists(f"{folder}/stand-in.txt"):
        return
    os.makedirs(f"{folder}/library", exist_ok=True)
    for number in range(5):
        with open(f"{folder}/library/{number}.bin", "wb") as file:
            file.write(os.urandom(2000))
    with open(f"{folder}/stand-in.txt", "w") as file:
        file.write(f"data of {folder}\n")
    if folder in SQLITE:
        with sqlite3.connect(f"{folder}/{SQLITE[folder]}") as database:
            database.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, text TEXT)")
            database.executemany(
                "INSERT INTO entries (text) VALUES (?)", [(str(n),) for n in range(99)]
            )


def main() -> None:
    """Write into every mounted folder, then serve."""
    with open("/proc/self/mountinfo") as mounts:
        targets = [line.split()[4] for line in mounts]
    for target in targets:
        if target != "/" and os.path.isdir(target) and not target.startswith(SYSTEM[:3]):
            if target.startswith(SYSTEM[3:]) and target not in SQLITE:
                continue
            try:
                write(target)
            except OSError as error:
                print(f"{target}: {error}", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    for port in PORTS:
        server = ThreadingHTTPServer(("0.0.0.0", port), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    while True:
        signal.pause()


main()
