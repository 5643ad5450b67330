"""The stack that is measured: a database, a service with a volume of many files, and churn."""

from __future__ import annotations

import json
import os
import random
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import output

_STACK = """\
version: 1
timezone: UTC
instances:
  bench: {runtime: compose, project: PROJECT, env_file: bench.env, files: [compose.yml],
          retention: few}
databases:
  benchdb: {service: db, password: "${POSTGRES_PASSWORD}"}
volumes:
  postgres-data: {purpose: PostgreSQL data, priority: critical, backup: by-dump}
  files: {purpose: many files, priority: critical}
retention:
  few: {keep_last: 3}
"""
_COMPOSE = """\
services:
  db:
    image: ${POSTGRES_IMAGE:-pgvector/pgvector:pg17}
    environment: {POSTGRES_PASSWORD: "${POSTGRES_PASSWORD}", POSTGRES_DB: benchdb}
    volumes: [postgres-data:/var/lib/postgresql/data]
    restart: unless-stopped
    shm_size: 256m
    healthcheck: {test: [CMD, pg_isready, -U, postgres, -h, 127.0.0.1], interval: 1s, retries: 60}
  writer:
    image: ${POSTGRES_IMAGE:-pgvector/pgvector:pg17}
    entrypoint: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    volumes: ["files:/files"]
    restart: unless-stopped
    depends_on: {db: {condition: service_healthy}}
volumes:
  postgres-data: {name: "${STACK}-postgres-data"}
  files: {name: "${STACK}-files"}
"""
_CHURNED = 0.01


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much there is. `rows` of about 1 kB each go into the database."""

    files: int
    bytes: int
    rows: int


SMALL = Amounts(6_000, 200_000_000, 100_000)
FULL = Amounts(60_000, 2_000_000_000, 1_000_000)


class Bench:
    """The stack in `folder`, up after `begin`."""

    def __init__(self, folder: Path, amounts: Amounts) -> None:
        self.folder = folder
        self.amounts = amounts
        self.project = f"qbench{secrets.token_hex(3)}"
        self.password = secrets.token_hex(8)
        self._chance = random.Random(5)
        self._sizes: list[int] = []

    def begin(self) -> None:
        """Write the stack, bring it up, fill it."""
        (self.folder / "stack.yaml").write_text(_STACK.replace("PROJECT", self.project))
        (self.folder / "compose.yml").write_text(_COMPOSE)
        lines = {"STACK": self.project, "POSTGRES_PASSWORD": self.password}
        if "POSTGRES_IMAGE" in os.environ:
            lines["POSTGRES_IMAGE"] = os.environ["POSTGRES_IMAGE"]
        env_file = self.folder / "bench.env"
        env_file.touch(mode=0o600)
        env_file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        compose = ["docker", "compose", "--project-name", self.project]
        compose += ["--env-file", str(env_file), "--file", str(self.folder / "compose.yml")]
        output(*compose, "up", "--detach", "--wait")
        self._fill_files()
        self.psql("CREATE TABLE filled (id bigint, body text)")
        self.add_rows(self.amounts.rows)

    def add_rows(self, rows: int) -> None:
        """Let the database grow by rows that hardly compress."""
        body = "(SELECT string_agg(md5(g::text || s), '') FROM generate_series(1, 30) s)"
        self.psql(f"INSERT INTO filled SELECT g, {body} FROM generate_series(1, {rows}) g")
        self.psql("CHECKPOINT")

    def psql(self, statement: str) -> str:
        """Run a statement in the database."""
        container = self.container("db")
        argv = ["psql", "-XAtq", "-U", "postgres", "-d", "benchdb", "-c", statement]
        return output("docker", "exec", container, *argv)

    def container(self, service: str) -> str:
        """The container of a service."""
        return f"{self.project}-{service}-1"

    @property
    def files(self) -> Path:
        """The folder of the volume on this machine."""
        name = f"{self.project}-files"
        (found,) = json.loads(output("docker", "volume", "inspect", name))
        return Path(found["Mountpoint"])

    def churn(self) -> None:
        """Write one file in a hundred anew."""
        for number in self._chance.sample(range(self.amounts.files), self._churned):
            self._write(self.files / f"{number % 100:02d}" / f"{number}.bin", number)

    @property
    def _churned(self) -> int:
        return max(1, int(self.amounts.files * _CHURNED))

    def _fill_files(self) -> None:
        root = self.files
        weights = [self._chance.paretovariate(1.2) for _ in range(self.amounts.files)]
        total = sum(weights)
        self._sizes = [int(self.amounts.bytes * weight / total) for weight in weights]
        for folder in range(100):
            (root / f"{folder:02d}").mkdir(exist_ok=True)
        for number in range(self.amounts.files):
            self._write(root / f"{number % 100:02d}" / f"{number}.bin", number)
        output("sync", "--file-system", str(root))

    def _write(self, path: Path, number: int) -> None:
        """Half of it noise, half of it text: neither all nor nothing compresses."""
        size = self._sizes[number]
        noise = self._chance.randbytes(size // 2)
        path.write_bytes(noise + b"the quick brown fox " * ((size - len(noise)) // 20 + 1))

    def address(self) -> str:
        """Where the server listens."""
        shape = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return output("docker", "inspect", "--format", shape, self.container("db")).strip()

    def stop(self) -> None:
        """Stop the service that writes to the volume, as a script does."""
        output("docker", "stop", self.container("writer"))

    def start(self) -> None:
        """Start it, and return when it runs."""
        output("docker", "start", self.container("writer"))
        while not self.runs("writer"):
            time.sleep(0.05)

    def runs(self, service: str) -> bool:
        """Whether the container of a service runs."""
        shape = "{{.State.Running}}"
        return output("docker", "inspect", "--format", shape, self.container(service)) == "true\n"

    def destroy(self) -> None:
        """Remove the project, by its name."""
        chosen = f"label=com.docker.compose.project={self.project}"
        listings: Mapping[str, tuple[str, ...]] = {
            "rm --force --volumes": ("ps", "--all"),
            "volume rm": ("volume", "ls"),
            "network rm": ("network", "ls"),
        }
        for remove, listing in listings.items():
            if found := output("docker", *listing, "--quiet", "--filter", chosen).split():
                output("docker", *remove.split(), *found)


def is_reachable() -> str:
    """Return why nothing can be measured here, "" when it can."""
    try:
        output("docker", "version")
    except (OSError, RuntimeError) as error:
        return f"no Docker Engine answers ({error})"
    if os.geteuid() != 0:
        return "the volume is filled directly, and only root may"
    return ""
