"""A small Compose stack whose data is in bind mounts, as published ones have it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.place import Place

SECONDS = 60.0
_TICK = "trap 'exit 0' TERM INT; n=0; while :; do {}; n=$$((n+1)); sleep 0.1 & wait $$!; done"
_IDLE = "trap 'exit 0' TERM INT; while :; do sleep 1000 & wait $$!; done"

COMPOSE = """\
name: {project}
services:
  web:
    image: {tiny}
    init: true
    stop_grace_period: 5s
    command: ["sh", "-c", "{tick}"]
    volumes:
      - ./photos:/photos
      - notes:/notes
  reader:
    image: {tiny}
    init: true
    command: ["sh", "-c", "{idle}"]
    volumes:
      - ./photos/albums:/albums:ro
  apart:
    image: {tiny}
    init: true
    command: ["sh", "-c", "{idle}"]
    volumes:
      - ./config.yml:/app/config.yml
  far:
    image: {tiny}
    init: true
    command: ["sh", "-c", "{idle}"]
    volumes:
      - {outside}:/far
  db:
    image: {postgres}
    environment:
      POSTGRES_PASSWORD: ${{DB_PASSWORD}}
    healthcheck:
      test: ["CMD", "pg_isready", "-h", "127.0.0.1", "-U", "postgres"]
      interval: 1s
      retries: 60
    volumes:
      - ./postgres:/var/lib/postgresql/data
volumes:
  notes: {{}}
"""

STACK = """\
version: 1
instances:
  core: {{retention: short}}
databases:
  app: {{service: db, name: postgres, password: "${{DB_PASSWORD}}"}}
volumes:
  notes: {{}}
paths:
  photos: {{path: ./photos, backup: files, priority: critical, exclude: ["thumbs/*"]}}
  far: {{path: {outside}, backup: files}}
  postgres: {{path: ./postgres, backup: by-dump}}
restart: {{health_timeout: 60s}}
retention:
  short: {{keep_last: 50}}
"""


class FolderStack(Place):
    """Services `web` (writes to ./photos and a volume), `reader`, `apart`, `far` and `db`."""

    def __init__(self, base: Path) -> None:
        self.project = f"qpaths{uuid.uuid4().hex[:8]}"
        self.outside = base / "elsewhere" / "far"
        self.outside.mkdir(parents=True)
        folder = base / "app"
        for made in (folder / "photos/albums", folder / "photos/thumbs", folder / "postgres"):
            made.mkdir(parents=True)
        values = {
            "project": self.project,
            "tiny": os.environ["TINY_IMAGE"],
            "postgres": os.environ["POSTGRES_IMAGE"],
            "outside": self.outside,
            "idle": _IDLE,
            "tick": _TICK.format("echo $$n >/photos/n; echo $$n >/notes/n"),
        }
        super().__init__(folder, STACK.format(**values))
        (folder / "compose.yaml").write_text(COMPOSE.format(**values))
        (folder / "config.yml").write_text("answer: 42\n")
        (folder / ".env").write_text("DB_PASSWORD=s3cret-of-the-stack\n")

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[FolderStack]:
        """In a folder of its own, which a second engine must not see, and an end of both."""
        base = Path(tempfile.mkdtemp(prefix="qpaths-"))
        base.chmod(0o755)
        made = cls(base)
        try:
            yield made
        finally:
            made.destroy()

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "DOCKER_HOST": os.environ["DOCKER_HOST"]}

    @property
    def photos(self) -> Path:
        return self.folder / "photos"

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run the docker command and return what it printed."""
        ended = subprocess.run(
            ["docker", *arguments], check=False, capture_output=True, text=True,
            cwd=self.folder, env={**os.environ, **self.environment},
        )  # fmt: skip
        assert ended.returncode == 0 or not check, ended.stderr
        return ended.stdout.strip()

    def container(self, service: str) -> str:
        """The id of a service's container."""
        wanted = [f"label=com.docker.compose.{k}={v}" for k, v in
                  (("project", self.project), ("service", service))]  # fmt: skip
        return self.docker("ps", "-aq", "--filter", wanted[0], "--filter", wanted[1])

    def started(self, service: str) -> str:
        """When the service's container was last started."""
        return self.docker("inspect", "-f", "{{.State.StartedAt}}", self.container(service))

    def sql(self, query: str) -> str:
        """Ask the database."""
        return self.docker("exec", self.container("db"), "psql", "-XAtU", "postgres", "-c", query)

    def sets(self) -> list[Path]:
        """The sets, oldest first, safety sets too."""
        return sorted(path.parent for path in self.folder.glob("backups/*/manifest.json"))

    def manifest(self, made: Path) -> dict[str, Any]:
        """What a set says of itself."""
        content: dict[str, Any] = json.loads((made / "manifest.json").read_text())
        return content

    def journal(self) -> dict[str, Any]:
        """The plan of the newest run."""
        newest = max(self.folder.glob("backups/.runs/core/*.jsonl"))
        plan: dict[str, Any] = json.loads(newest.read_text().splitlines()[0])["plan"]
        return plan

    def begin(self) -> None:
        """Put files into the folders, bring the stack up, and wait until it writes."""
        (self.photos / "albums/summer").write_text("beach")
        (self.photos / "thumbs/summer").write_text("small")
        (self.outside / "from afar").write_text("seen")
        os.chown(self.photos / "albums/summer", 1234, 1234)
        self.succeed("up")
        wait_until((self.photos / "n").exists, "the service to write")
        self.sql("CREATE TABLE kept AS SELECT 1 AS n")

    def destroy(self) -> None:
        """Remove all of it, by its exact project."""
        self.docker("compose", "-p", self.project, "down", "--volumes", "-t", "1", check=False)
        shutil.rmtree(self.folder.parent)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
