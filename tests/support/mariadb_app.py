"""A Compose stack with MariaDB and an application that writes into it and into a volume."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.machine import Unavailable
from tests.engine.mariadb import mariadb_image
from tests.support.checkout import wait_until
from tests.support.composed import Folder
from tests.support.mariadb_rich import RICH

ROOT_PASSWORD = "r$x'\\y"
#: The application writes one number after another: into its table, then into a file.
COMPOSE = """\
services:
  db:
    image: {image}
    environment:
      MARIADB_ROOT_PASSWORD: "r$$x'\\\\y"
      MARIADB_DATABASE: shop
      MARIADB_USER: app
      MARIADB_PASSWORD: secret
    volumes: ["db-data:/var/lib/mysql"]
    healthcheck:
      test: ["CMD", "mariadb", "-h127.0.0.1", "-uapp", "-psecret", "shop", "-e", "SELECT 1"]
      interval: 1s
      retries: 60
  app:
    image: {image}
    entrypoint: []
    init: true
    stop_signal: SIGKILL
    command:
      - bash
      - -c
      - |
        sql="CREATE TABLE IF NOT EXISTS n (i int PRIMARY KEY AUTO_INCREMENT) ENGINE=InnoDB;"
        (echo "$$sql"; while sleep 0.05; do echo "INSERT INTO n () VALUES (); SELECT max(i) FROM n;"
         done) | mariadb -hdb -uapp -psecret -N --unbuffered shop |
        while read -r i; do echo "$$i" > /data/new; mv /data/new /data/last; done
    depends_on: {{db: {{condition: service_healthy}}}}
    volumes: ["app-data:/data"]
volumes: {{db-data: {{}}, app-data: {{}}}}
"""
FACTS = """\
SELECT (SELECT group_concat(table_name, table_type ORDER BY 1) FROM information_schema.tables
         WHERE table_schema = 'shop'),
       (SELECT group_concat(trigger_name, definer ORDER BY 1) FROM information_schema.triggers
         WHERE trigger_schema = 'shop'),
       (SELECT group_concat(routine_name ORDER BY 1) FROM information_schema.routines
         WHERE routine_schema = 'shop'),
       (SELECT group_concat(event_name, status ORDER BY 1) FROM information_schema.events
         WHERE event_schema = 'shop'),
       (SELECT count(*) FROM a_view), (SELECT group_concat(id, z ORDER BY 1) FROM child)
"""


@contextmanager
def mariadb_application(parent: Path) -> Iterator[Folder]:
    """The stack in a folder of its own, without stack.yaml, once it has written a little.

    Its database has one of everything besides. QUIESCE_TEST_MARIADB chooses the version.
    """
    version = os.environ.get("QUIESCE_TEST_MARIADB", "10.11")
    try:
        image = mariadb_image(version, may_bootstrap=os.environ.get("CI") == "true")
    except Unavailable as reason:
        pytest.skip(str(reason))
    name = f"qmariadb{secrets.token_hex(3)}"
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "compose.yaml").write_text(COMPOSE.format(image=image))
    made = Folder(folder, name)
    try:
        made.compose("up", "--detach", "--quiet-pull")
        wait_until(lambda: last(made) > 20, "the application to write")
        client(made, RICH)
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "1", check=False)


def client(app: Folder, script: str, database: str = "shop", user: str = "root") -> str:
    """What the server's own client prints for a script."""
    password = ROOT_PASSWORD if user == "root" else "secret"
    command = ["docker", "compose", "exec", "-T", "-e", f"MYSQL_PWD={password}", "db"]
    command += ["mariadb", "-h127.0.0.1", f"-u{user}", "-N", "--binary-mode"]
    command += ["--default-character-set=utf8mb4", database]
    ended = subprocess.run(
        command, cwd=app.path, env=app.environment, input=script, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def last(app: Folder) -> int:
    """The last number in the application's file, 0 for none."""
    said = app.compose("exec", "-T", "app", "cat", "/data/last", check=False).strip()
    return int(said) if said.isdigit() else 0


def numbers(app: Folder) -> tuple[int, int]:
    """How many numbers are in the application's table, and the greatest."""
    count, greatest = client(app, "SELECT count(*), max(i) FROM n").split()
    return int(count), int(greatest)


def facts(app: Folder) -> str:
    """What else the database contains."""
    return client(app, FACTS)
