"""A copy of this repository with an instance of its own on the real engine."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import preloaded
from tests.support.patience import DEADLINE, TASK

ROOT = Path(__file__).resolve().parents[2]
_COPIED = (
    "tasks.py",
    "stack.yaml",
    "docker-compose.yml",
    "alembic.ini",
    "alembic_memorydb.ini",
    "migrations",
    "migrations_memorydb",
    "services",
    "quiesce",
)
_IMAGES = ("POSTGRES_IMAGE", "REDIS_IMAGE", "NGINX_IMAGE", "PYTHON_IMAGE", "NODE_IMAGE")
#: Left out of a small stack, with the volumes that only they use.
_LARGE = ("frontend", "proxy")
_PORTS = ("DB_PORT", "REDIS_PORT", "BACKEND_PORT", "PROXY_PORT")


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of the condition; fail after a while, naming what was awaited."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"waited {DEADLINE:.0f} s for {what}")


@dataclass
class Result:
    """How an `inv` ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass
class Checkout:
    """A copy of the repository in a folder of its own, and the instance `core` in it."""

    folder: Path
    stack: str
    ports: dict[str, int]
    environment: dict[str, str] = field(default_factory=dict)

    #: The port through which a user's browser comes.
    entrance: str = "PROXY_PORT"

    @classmethod
    def make(cls, folder: Path, *, small: bool = False) -> Checkout:
        """Copy what a user has, and write the env file a user would write.

        A small one is database, cache and backend: half the processor time of the whole stack.
        """
        folder.mkdir(parents=True)
        # What is compiled goes along: `invoke` itself writes none, so that each `inv` would compile
        # all of Quiesce again.
        skip = shutil.ignore_patterns(".ruff_cache")
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=skip)
            else:
                shutil.copy2(ROOT / name, folder / name)
        stack = f"qe2e{secrets.token_hex(3)}"
        ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        lines = {
            "STACK": stack,
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": "'pass w%rd$1'",
            # A check takes 0.1 s of a processor, mostly the engine's: at 3s the twenty services of
            # four workers kept one of two busy.
            "HEALTH_INTERVAL": "6s",
            "BACKEND_LOGS": "./backend/logs",
            **{name: str(port) for name, port in ports.items()},
            **{name: os.environ[name] for name in _IMAGES if name in os.environ},
        }
        env_file = folder / "env" / "local" / "core.env"
        env_file.parent.mkdir(parents=True)
        env_file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        env_file.chmod(0o600)
        text = (folder / "stack.yaml").read_text()
        assert "project: core" in text
        (folder / "stack.yaml").write_text(text.replace("project: core", f"project: {stack}"))
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "DOCKER_HOST": os.environ["DOCKER_HOST"],
            "HOME": str(folder),
            # Where the engine has no BuildKit.
            **{name: os.environ[name] for name in ("DOCKER_BUILDKIT",) if name in os.environ},
        }
        if small:
            for name in ("docker-compose.yml", "stack.yaml"):
                path = folder / name
                path.write_text(_made_small(path.read_text()))
        return cls(folder, stack, ports, environment, "BACKEND_PORT" if small else "PROXY_PORT")

    # ----------------------------------------------------------------------------------- inv

    def start_inv(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        """Start an `inv` in a bare environment, without a terminal and without input."""
        return preloaded.Popen(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.folder,
            env={**self.environment, **extra},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def inv(self, *arguments: str, input: str | None = None, **extra: str) -> Result:  # noqa: A002
        """Run `inv` to its end."""
        ended = preloaded.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.folder,
            env={**self.environment, **extra},
            input=input or "",
            capture_output=True,
            text=True,
            timeout=TASK,
            check=False,
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)

    def succeed(self, *arguments: str, **extra: str) -> Result:
        """Run `inv`, which has to end well."""
        result = self.inv(*arguments, **extra)
        assert result.code == 0, f"inv {arguments} → {result.code}\n{result.out}\n{result.err}"
        return result

    # ---------------------------------------------------------------------------------- world

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Ask the engine itself, past Quiesce."""
        return subprocess.run(
            ["docker", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=check,
        ).stdout.strip()

    def containers(self, *filters: str) -> list[str]:
        """Ids of containers of this instance's project."""
        label = f"label=com.docker.compose.project={self.stack}"
        chosen = [part for extra in (label, *filters) for part in ("--filter", extra)]
        return self.docker("ps", "--all", "--quiet", *chosen).split()

    def running(self) -> set[str]:
        """Services that run now, as the engine says."""
        form = '{{.Label "com.docker.compose.service"}}'
        label = f"label=com.docker.compose.project={self.stack}"
        return set(self.docker("ps", "--filter", label, "--format", form).split())

    def healthy(self) -> set[str]:
        """Services that are healthy now, as the engine says."""
        form = '{{.Label "com.docker.compose.service"}}'
        label = f"label=com.docker.compose.project={self.stack}"
        chosen = ("--filter", label, "--filter", "health=healthy")
        return set(self.docker("ps", *chosen, "--format", form).split())

    def wait_until_healthy(self, services: set[str]) -> None:
        """Wait until exactly these services are healthy by the engine's own, slower check."""
        assert self.running() == services
        wait_until(lambda: self.healthy() == services, f"{services} to be healthy")

    def wait_until_back(self, services: set[str]) -> None:
        """Wait until exactly these services run and are healthy, with nobody doing anything."""
        wait_until(lambda: self.running() == services, f"{services} to run again")
        self.wait_until_healthy(services)

    def started(self) -> list[str]:
        """When each container was started: the same list means that none was stopped."""
        form = "{{.Id}} {{.State.StartedAt}}"
        return self.docker("inspect", "--format", form, *self.containers()).splitlines()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call the backend's API through the proxy (if there is one), as a user's browser would."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.ports[self.entrance]}{path}"
        request = urllib.request.Request(url, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from error
        try:
            return json.loads(content)
        except ValueError:
            return content

    def contents(self) -> dict[str, Any]:
        """All that a user of the stack can see of its data."""
        uploads = self.call("GET", "/api/uploads")["uploads"]
        memories = self.call("GET", "/api/memories")["memories"]
        return {
            "projects": self.call("GET", "/api/projects")["projects"],
            "rules": self.call("GET", "/api/rules")["rules"],
            "memories": [self.call("GET", f"/api/memories/{m['id']}") for m in memories],
            "uploads": {
                upload["path"]: self.call("GET", f"/api/uploads/{upload['path']}")
                for upload in uploads
            },
            "counter": self.call("GET", "/api/counters/visits"),
        }

    def write(self, word: str) -> None:
        """Write something everywhere, through the API."""
        project = self.call("POST", "/api/projects", {"name": f"project {word}"})
        for number in range(3):
            self.call(
                "POST",
                "/api/rules",
                {"project_id": project["id"], "title": f"{word} {number}", "tags": [word]},
            )
        self.call("POST", "/api/memories", {"content": f"memory of {word}"})
        self.call("PUT", f"/api/uploads/{word}/file.bin", os.urandom(200_000))
        self.call("POST", "/api/counters/visits")

    def sets(self) -> list[Path]:
        """Published sets, oldest first."""
        return sorted(path.parent for path in self.folder.glob("backups/*/manifest.json"))

    def leftovers(self) -> list[str]:
        """What a run may leave nowhere: helpers, staging folders, side databases."""
        label = f"label=quiesce.project={self.stack}"
        found = self.docker("ps", "--all", "--quiet", "--filter", label).split()
        found += [str(path) for path in self.folder.glob("backups/.staging/*")]
        if "db" in self.running():
            found += self.sql("postgres", "SELECT datname FROM pg_database WHERE datname ~ '__'")
            query = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'quiesce:%'"
            found += self.sql("postgres", query)
        return found

    def sql(self, database: str, query: str) -> list[str]:
        """The lines psql prints for a query, run inside the database's container."""
        (container,) = self.containers("label=com.docker.compose.service=db")
        argv = ("exec", container, "psql", "-XAtq", "-U", "postgres", "-d", database, "-c", query)
        return self.docker(*argv).splitlines()

    def destroy(self) -> None:
        """Remove the instance from the engine, by its name."""
        containers = self.containers()
        label = f"label=quiesce.project={self.stack}"
        containers += self.docker("ps", "--all", "--quiet", "--filter", label).split()
        if containers:
            self.docker("rm", "--force", *containers, check=False)
        chosen = f"label=com.docker.compose.project={self.stack}"
        for kind in ("volume", "network"):
            names = self.docker(kind, "ls", "--quiet", "--filter", chosen).split()
            if names:
                self.docker(kind, "rm", *names, check=False)
        for name in ("db", "backend", "frontend", "proxy"):
            self.docker("image", "rm", f"{self.stack}-{name}", check=False)


def _made_small(text: str) -> str:
    """Take the parts of `_LARGE` out of a Compose file or stack.yaml."""
    for name in _LARGE:
        text = re.sub(rf"(?m)^  {name}:\n(    .*\n|\n)+", "", text)
        text = re.sub(rf"(?m)^  {name}-[a-z-]+:.*\n(    .*\n)*", "", text)
        text = text.replace(f", {name}", "")
    assert not any(f"{name}:" in text or f"{name}-" in text for name in _LARGE)
    return text


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process started by `start_inv`, and nothing else, and wait for it."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def free_ports(count: int) -> Sequence[int]:
    """Ports of this machine that nobody listens on just now."""
    holders = [socket.socket() for _ in range(count)]
    try:
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [holder.getsockname()[1] for holder in holders]
    finally:
        for holder in holders:
            holder.close()


def plan_sentences(document: Mapping[str, Any]) -> list[str]:
    """The steps of a plan in JSON, in the order they are written."""
    found: list[str] = []

    def visit(node: Mapping[str, Any]) -> None:
        if node["step"] != "Bracket":
            found.append(node["step"])
            return
        for part in ("enter", "body", "on_success", "always"):
            for inner in node[part]:
                visit(inner)

    for node in document["nodes"]:
        visit(node)
    return found
