"""A folder with a Compose file on the real engine, and `quiesce` in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.checkout import wait_until
from tests.support.patience import TASK
from tests.support.terminal import in_terminal

ROOT = Path(__file__).resolve().parents[2]
ROWS = "CREATE TABLE of_corpus (id) AS SELECT generate_series(1, 77)"
#: psql as the image's own user, over TCP: there the temporary server of the first start is not.
PSQL = """\
PGPASSWORD=$(cat ${POSTGRES_PASSWORD_FILE:-/dev/null})${POSTGRES_PASSWORD:-} psql -XAtq \\
-h 127.0.0.1 -U "${POSTGRES_USER:-postgres}" -d "${POSTGRES_DB:-${POSTGRES_USER:-postgres}}" -c"""


@dataclass
class Folder:
    """A copy of a folder of the corpus, with a project of its own on the engine."""

    path: Path
    project: str

    @property
    def environment(self) -> dict[str, str]:
        """What a user's shell has."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.path.parent),
            "DOCKER_HOST": os.environ["DOCKER_HOST"],
            "PYTHONPATH": str(ROOT),
        }

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run Docker Compose as its user would."""
        ended = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or ended.returncode == 0, ended.stderr
        return ended.stdout

    def quiesce(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command, without a terminal."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "quiesce", *arguments],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TASK,
            check=False,
        )

    def services(self) -> dict[str, Any]:
        """The resolved services."""
        found: dict[str, Any] = json.loads(self.compose("config", "--format", "json"))["services"]
        return found

    def start(self) -> list[str]:
        """Start it and fill its databases; return the services with PostgreSQL."""
        self.compose("up", "--detach", "--quiet-pull")
        servers = [
            name
            for name, service in self.services().items()
            if service["image"] == os.environ["POSTGRES_IMAGE"]
        ]
        for name in servers:
            wait_until(partial(self.fill, name), f"{name} to take rows")
        return servers

    def fill(self, server: str) -> bool:
        """Create a table unless it is there, and tell whether it has its rows."""
        self.sql(server, ROWS)
        return self.sql(server, "SELECT count(*) FROM of_corpus") == "77"

    def sql(self, server: str, query: str) -> str:
        """What psql prints in the container of a server, "" for an error."""
        call = ("exec", "-T", server, "sh", "-c", f"{PSQL} '{query}'")
        return self.compose(*call, check=False).strip()

    def in_terminal(
        self, *arguments: str, typed: tuple[tuple[str, str], ...] = ()
    ) -> tuple[int, str]:
        """Run the command in a terminal, with a person who answers."""
        call = [sys.executable, "-P", "-m", "quiesce", *arguments]
        return in_terminal(call, self.path, self.environment, typed)
