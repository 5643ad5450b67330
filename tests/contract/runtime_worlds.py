"""Worlds for the Runtime contract: the same small stack, in memory and on a real engine.

A world for another runtime (processes of this machine) needs the methods of `World` and one more
line in `test_runtime.WORLDS`. Its services, in this order: `web` (mounts the volume `data` and a
folder; needs `db` healthy and `job` completed), `db` (healthy; answers "pong" on port 7000 and
logs "ready"), `job` (ends at once with 0), `pair` (two units), `spare` (never begun).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import socketserver
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from quiesce.adapters.compose.endpoint import WAYS
from quiesce.adapters.compose.runtime import ComposeRuntime
from quiesce.adapters.process import program
from quiesce.model import Stack
from quiesce.observed import Mount, Unit
from quiesce.ports import Runtime
from tests.fakes.runtime import FakeRuntime, make_service, make_volume
from tests.support.builders import a_stack

SERVICES = ("web", "db", "job", "pair", "spare")
SECRET = "s3cret-of-the-env-file"
LITERAL = "literal-in-the-compose-file"


class World(Protocol):
    """One stack, and what happens to it behind the runtime's back."""

    def runtime(self) -> Runtime:
        """Return a fresh runtime onto this world."""
        ...

    def runtimes_by_way(self) -> Mapping[str, Runtime]:
        """Return a runtime for each way it can reach a port."""
        ...

    def lose(self, unit: Unit) -> None:
        """Remove a unit, as somebody at a terminal would."""
        ...

    def pause(self, unit: Unit) -> None: ...

    def crash(self, unit: Unit) -> None:
        """End a unit's first process, and see that it stays ended."""
        ...

    def forsake_helper(self, runtime: Runtime, run: str) -> None:
        """Leave a helper of this run behind, as a killed process would."""
        ...

    def close(self) -> None: ...


class FakeWorld:
    """The stack in memory. Its port is a real one, its tools run on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Pong)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        mounts = [
            Mount("data", "fake-data", "/data", True),
            Mount(None, str(folder / "conf"), "/conf", False),
        ]
        self._runtime = FakeRuntime(
            [
                make_service(
                    "web", needs={"db": "healthy", "job": "completed"}, mounts=mounts, state=None
                ),
                make_service("db", health=True, state=None),
                make_service("job", state=None),
                make_service("pair", state=None),
                make_service("spare", state=None),
            ],
            volumes=[make_volume("data"), make_volume("other", exists=False)],
        )
        self._runtime.ends_at_once["job"] = 0
        self._runtime.replicas["pair"] = 2
        self._runtime.endpoints["db", 7000] = _endpoint(self._server)
        self._runtime.log_lines["db"] = ["ready"]
        self._runtime.tool = self._run_here

    def runtime(self) -> Runtime:
        return self._runtime

    def runtimes_by_way(self) -> Mapping[str, Runtime]:
        return {"given": self._runtime}

    def lose(self, unit: Unit) -> None:
        self._runtime.lose(unit)

    def pause(self, unit: Unit) -> None:
        self._runtime.change(unit, state="paused", health="none")

    def crash(self, unit: Unit) -> None:
        self._runtime.change(unit, state="exited", health="none", exit_code=137)

    def forsake_helper(self, runtime: Runtime, run: str) -> None:
        self._runtime.helpers[run] = ["helper-1"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _run_here(
        self,
        service: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        writable: bool,
    ) -> None:
        seen = directory
        if not writable:
            seen = Path(shutil.copytree(directory, self._folder / uuid.uuid4().hex))
        argv = [part.replace(str(directory), str(seen)) for part in argv]
        variables = {"PATH": os.environ["PATH"], **environment}
        program.run(argv, environment=variables, secrets=tuple(environment.values()))


class _Pong(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(100):
            self.request.sendall(b"pong")


def _endpoint(server: socketserver.TCPServer):
    from quiesce.ports import Endpoint

    host, port = server.server_address[:2]
    return Endpoint(str(host), port)


SERVER = """
import socketserver, sys
class Pong(socketserver.BaseRequestHandler):
    def handle(self):
        while self.request.recv(100):
            self.request.sendall(b"pong")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
server = Server(("0.0.0.0", 7000), Pong)
print("ready", flush=True)
server.serve_forever()
"""

COMPOSE = """
services:
  web:
    image: ${TINY_IMAGE}
    stop_grace_period: 3s
    environment:
      TOKEN: ${SECRET_TOKEN}
      OWN: literal-in-the-compose-file
    volumes:
      - data:/data
      - ./conf:/conf:ro
    depends_on:
      db: {condition: service_healthy}
      job: {condition: service_completed_successfully}
  db:
    image: ${TINY_IMAGE}
    command: [python3, /server.py]
    stop_grace_period: 3s
    ports: ["127.0.0.1::7000"]
    volumes: ["./server.py:/server.py:ro"]
    healthcheck:
      test: [CMD, python3, -c, "import socket; socket.create_connection(('127.0.0.1', 7000))"]
      interval: 1s
  job:
    image: ${TINY_IMAGE}
    command: ["true"]
  pair:
    image: ${TINY_IMAGE}
    stop_grace_period: 3s
    deploy: {replicas: 2}
  spare:
    image: ${TINY_IMAGE}
    volumes: ["other:/other"]
volumes:
  data: {name: "${STACK}-data"}
  other: {}
"""


class ComposeWorld:
    """The stack as a Compose project of its own on the real engine; removed by its name."""

    def __init__(self, folder: Path) -> None:
        self.project = f"qcompose-{uuid.uuid4().hex[:8]}"
        self.folder = folder
        (folder / "conf").mkdir()
        (folder / "server.py").write_text(SERVER)
        (folder / "docker-compose.yml").write_text(COMPOSE)
        variables = {
            "STACK": self.project,
            "SECRET_TOKEN": SECRET,
            "TINY_IMAGE": os.environ.get("TINY_IMAGE", "quiesce-test/tiny"),
        }
        env_file = folder / "core.env"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        self.stack = compose_stack(folder, self.project, env_file, variables)
        self._open: list[ComposeRuntime] = []

    def runtime(self) -> ComposeRuntime:
        self._open.append(ComposeRuntime(self.stack))
        return self._open[-1]

    def runtimes_by_way(self) -> Mapping[str, Runtime]:
        made = {way: ComposeRuntime(self.stack, ways=(way,)) for way in WAYS}
        self._open += made.values()
        return made

    def lose(self, unit: Unit) -> None:
        docker("rm", "--force", unit.id)

    def pause(self, unit: Unit) -> None:
        docker("pause", unit.id)

    def crash(self, unit: Unit) -> None:
        docker("kill", unit.id)
        docker("wait", unit.id)

    def forsake_helper(self, runtime: Runtime, run: str) -> None:
        labels = ["--label", "quiesce.helper=1", "--label", f"quiesce.run={run}"]
        image = os.environ.get("TINY_IMAGE", "quiesce-test/tiny")
        docker("run", "--detach", "--name", f"{self.project}-helper", *labels, image)

    def close(self) -> None:
        for runtime in self._open:
            runtime.close()
        remove_project(self.project, self.folder)


def compose_stack(
    folder: Path, project: str, env_file: Path | None, variables: Mapping[str, str], **fields
) -> Stack:
    """Return a stack whose only instance is this Compose project in this folder."""
    from dataclasses import replace

    stack = a_stack(folder, volumes=(), databases=())
    instance = replace(
        stack.instance,
        project=project,
        directory=folder,
        env_file=env_file,
        environment=dict(variables),
        **fields,
    )
    return replace(stack, instance=instance)


def remove_project(project: str, folder: Path) -> None:
    """Remove a test's project with its volumes, all of it by its own name."""
    name = ["--project-name", project]
    with contextlib.suppress(subprocess.CalledProcessError):
        docker("compose", *name, "down", "--volumes", "--remove-orphans", cwd=folder)
    for kind, listing in (("rm", ["ps", "--all"]), ("volume rm", ["volume", "ls"])):
        found = docker(*listing, "--quiet", "--filter", f"name={project}").split()
        if found:
            docker(*kind.split(), "--force", *found)


def docker(*arguments: str, cwd: Path | None = None) -> str:
    """Run the docker command as a person at a terminal would, and return what it printed."""
    environment = dict(os.environ)
    if cwd is not None and (cwd / "core.env").exists():
        lines = (cwd / "core.env").read_text().splitlines()
        environment.update(line.split("=", 1) for line in lines)
    done = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env=environment,
        timeout=120,
    )
    return done.stdout.strip()


@contextlib.contextmanager
def connected(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a connection that does not wait for ever."""
    with socket.create_connection((host, port), 10) as connection:
        connection.settimeout(10)
        yield connection
