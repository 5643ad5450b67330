"""A small stack as people have their own: PostgreSQL without a health check, and files."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import preloaded
from tests.support.checkout import ROOT, Result, wait_until
from tests.support.patience import TASK

COMPOSE = """\
services:
  db:
    image: ${POSTGRES_IMAGE}
    environment: {POSTGRES_PASSWORD: "${POSTGRES_PASSWORD}", POSTGRES_DB: shop}
    volumes:
      - "%(data)s:/var/lib/postgresql/data"
      - ./init:/docker-entrypoint-initdb.d:ro
    stop_grace_period: 30s
  app:
    image: ${TINY_IMAGE}
    init: true
    command: [sleep, infinity]
    volumes: ["files:/files"]
    depends_on: [db]
volumes:
  %(volume)s
  files: {}
"""
STACK = """\
version: 1
timezone: UTC
instances:
  core: {retention: few%(project)s}
databases:
  shop: {service: db, password: "${POSTGRES_PASSWORD}"}
volumes:
  %(volume)s
  files: {}
%(paths)s
restart: {stop_timeout: 1s}
retention: {few: {keep_last: 3}}
"""


@dataclass
class Small:
    """A folder with a Compose file, and the projects that were brought up from it.

    `data` is what the server's data directory is mounted from: `pg`, the name of a volume, or
    `./pg`, a folder.
    """

    folder: Path
    name: str
    data: str = "pg"
    environment: dict[str, str] = field(default_factory=dict)
    projects: set[str] = field(default_factory=set)
    #: The project that stack.yaml sets.
    declared: str = ""

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        data: str = "pg",
        top: str = "",
        project: str = "",
        shared: bool = True,
    ) -> Small:
        """Write the files; `top` goes into the Compose file, `project` into stack.yaml. `shared`:
        every project has the same volume."""
        name = f"qsmall{secrets.token_hex(3)}"
        made = cls(folder / name, name, data)
        (made.folder / "init").mkdir(parents=True)
        shutil.copy2(ROOT / "tasks.py", made.folder)
        is_volume = data == "pg"
        own = f"{{name: {name}-pg}}" if shared else "{}"
        volume = f"pg: {own}" if is_volume else ""
        compose = COMPOSE % {"data": data, "volume": volume}
        (made.folder / "docker-compose.yml").write_text(top.replace("NAME", name) + compose)
        made.declare(project.replace("NAME", name))
        lines = {
            "POSTGRES_PASSWORD": "geheim",
            "POSTGRES_IMAGE": os.environ.get("POSTGRES_IMAGE", "quiesce-test/postgres:17"),
            "TINY_IMAGE": os.environ.get("TINY_IMAGE", "quiesce-test/tiny"),
        }
        (made.folder / ".env").write_text("".join(f"{k}={v}\n" for k, v in lines.items()))
        (made.folder / ".env").chmod(0o600)
        made.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "DOCKER_HOST": os.environ["DOCKER_HOST"],
            "HOME": str(folder),
        }
        made.projects |= {name, f"{name}twin", f"{name}other"}
        return made

    def declare(self, project: str) -> None:
        """Write stack.yaml, with this project or none."""
        is_volume = self.data == "pg"
        self.declared = project
        (self.folder / "stack.yaml").write_text(
            STACK
            % {
                "project": f", project: {project}" if project else "",
                "volume": "pg: {backup: by-dump}" if is_volume else "",
                "paths": "" if is_volume else "paths: {pg: {path: pg, backup: never}}",
            }
        )

    def prepare(self, script: str) -> None:
        """Let the first start of the server run this shell script."""
        path = self.folder / "init" / "prepare.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def inv(self, *arguments: str, **extra: str) -> Result:
        """Run `inv` to its end, without a terminal."""
        ended = preloaded.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.folder,
            env={**self.environment, **extra},
            input="",
            capture_output=True,
            text=True,
            timeout=TASK,
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)

    def succeed(self, *arguments: str, **extra: str) -> Result:
        """Run `inv`, which has to end well."""
        result = self.inv(*arguments, **extra)
        assert result.code == 0, f"inv {arguments} → {result.code}\n{result.out}\n{result.err}"
        return result

    def docker(self, *arguments: str, check: bool = True, **extra: str) -> str:
        """Use the engine past Quiesce, in the stack's folder."""
        return subprocess.run(
            ["docker", *arguments],
            cwd=self.folder,
            env={**self.environment, **extra},
            capture_output=True,
            text=True,
            check=check,
        ).stdout.strip()

    def servers(self) -> list[str]:
        """The running servers of this stack, in any project."""
        file = f"label=com.docker.compose.project.working_dir={self.folder}"
        chosen = ("--filter", file, "--filter", "label=com.docker.compose.service=db")
        return sorted(self.docker("ps", "--quiet", *chosen).split())

    def sql(self, container: str, query: str) -> list[str]:
        """What psql prints inside a container, through TCP: the temporary server of a first start
        does not listen there."""
        argv = ("psql", "-XAtq", "-h", "127.0.0.1", "-U", "postgres", "-d", "shop", "-c", query)
        return self.docker("exec", container, *argv).splitlines()

    def fill(self) -> None:
        """Wait for the one server, and write committed rows into it."""
        (server,) = self.servers()
        ready = ("exec", server, "pg_isready", "-q", "-h", "127.0.0.1")
        wait_until(
            lambda: self.docker(*ready, "-d", "shop", check=False) == "" and self._answers(server),
            "the server of the small stack",
        )
        self.sql(server, "CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")

    def _answers(self, server: str) -> bool:
        argv = (
            "psql",
            "-XAtq",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-d",
            "shop",
            "-c",
            "SELECT 1",
        )
        return self.docker("exec", server, *argv, check=False) == "1"

    def destroy(self) -> None:
        """Remove the projects from the engine, each by its name, and the volume."""
        for project in sorted(self.projects):
            label = f"label=com.docker.compose.project={project}"
            found = self.docker("ps", "--all", "--quiet", "--filter", label).split()
            if found:
                self.docker("rm", "--force", "--volumes", *found, check=False)
            for kind in ("volume", "network"):
                names = self.docker(kind, "ls", "--quiet", "--filter", label).split()
                if names:
                    self.docker(kind, "rm", *names, check=False)


def hinted_projects(error: str) -> list[str]:
    """The projects that the hints of an error name as `project: X`."""
    lines = [line for line in error.splitlines() if "HINT: " in line]
    return list(dict.fromkeys(re.findall(r"'project: ([\w-]+)'", "\n".join(lines))))


def hinted_commands(error: str) -> list[list[str]]:
    """The arguments of each `inv …` that the hints of an error tell to run."""
    lines = [line for line in error.splitlines() if "HINT: " in line]
    return [found.split() for found in re.findall(r"'inv ([^']+)'", "\n".join(lines))]
