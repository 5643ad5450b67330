"""Stands in for an application: writes into what is mounted, and answers HTTP on its ports."""

import contextlib
import os
import signal
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

#: The ports that the applications of the corpus listen on.
PORTS = "80 2283 2368 3000 3001 5678 8000 8008 8080 8096 9000 9090"
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/run")
#: Where these applications keep an SQLite database.
SQLITE = {"/data": "db.sqlite3", "/config": "home.db", "/etc/linkding/data": "db.sqlite3"}


class Answer(BaseHTTPRequestHandler):
    """Answers every request with 200."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def write(folder: Path) -> None:
    """Write what an application would, once."""
    if (folder / "stand-in.txt").exists():
        return
    (folder / "library").mkdir(exist_ok=True)
    for number in range(5):
        (folder / "library" / f"{number}.bin").write_bytes(os.urandom(2000))
    (folder / "stand-in.txt").write_text(f"data of {folder}\n")
    if str(folder) in SQLITE:
        with sqlite3.connect(folder / SQLITE[str(folder)]) as database:
            database.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, text TEXT)")
            rows = [(str(number),) for number in range(99)]
            database.executemany("INSERT INTO entries (text) VALUES (?)", rows)


def mounted() -> list[Path]:
    """Return the folders that are mounted and belong to the application."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [line.split()[4] for line in lines]
    ours = [t for t in targets if t != "/" and (t in SQLITE or not t.startswith(SYSTEM))]
    return [path for path in map(Path, ours) if path.is_dir()]


def main() -> None:
    """Write into every mounted folder, then serve."""
    for folder in mounted():
        try:
            write(folder)
        except OSError as error:
            sys.stderr.write(f"{folder}: {error}\n")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for port in os.environ.get("LISTEN", PORTS).split():
        # A service in another one's network finds the ports taken.
        with contextlib.suppress(OSError):
            server = ThreadingHTTPServer(("0.0.0.0", int(port)), Answer)
            threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        signal.pause()


main()
