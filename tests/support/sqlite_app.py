"""A Compose stack of one application with an SQLite database in a volume."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.checkout import wait_until
from tests.support.composed import Folder

COMPOSE = """\
services:
  app:
    image: {image}
    command: [python3, -c, "exec(open('/code/writer.py').read())"]
    init: true
    stop_signal: SIGKILL
    volumes: ["data:/data", "./code:/code:ro"]
volumes: {{data: {{}}}}
"""
STACK = """\
version: 1
timezone: UTC
instances: {core: {retention: few}}
volumes: {data: {purpose: an application with SQLite}}
paths: {code: {path: code, backup: never}}
restart: {stop_timeout: 1s}
retention: {few: {keep_last: 9}}
"""
RUN_SQL = "import sqlite3, sys; print(sqlite3.connect('/data/' + sys.argv[1])"
MADE = f"{RUN_SQL}.executescript(sys.argv[2]))"
ASKED = f"{RUN_SQL}.execute(sys.argv[2]).fetchone()[0])"


def inside(app: Folder, code: str, *arguments: str) -> str:
    """What a line of Python prints in the container."""
    call = ("exec", "-T", "app", "python3", "-c", code, *arguments)
    return app.compose(*call, check=False).strip()


@contextmanager
def writing_application(parent: Path, writer: str, table: str) -> Iterator[Folder]:
    """The stack in a folder of its own, once its program `writer` has filled `table` a little."""
    name = f"qsqlite{secrets.token_hex(3)}"
    folder = parent / name
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "writer.py").write_text(writer)
    (folder / "compose.yaml").write_text(COMPOSE.format(image=os.environ["PYTHON_IMAGE"]))
    (folder / "stack.yaml").write_text(STACK)
    made = Folder(folder, name)
    try:
        made.compose("up", "--detach", "--quiet-pull")
        wait_until(lambda: rows(made, table) > 20, "the application to write")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "1", check=False)


def rows(app: Folder, table: str) -> int:
    """Rows of a table of the application that are committed now, 0 while it is not there."""
    said = inside(app, ASKED, "app.db", f"SELECT count(*) FROM {table}")
    return int(said) if said.isdigit() else 0
