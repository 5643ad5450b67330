"""The example stack under a real Docker Engine: it starts, keeps what it was given, and stops."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.stack.conftest import PASSWORD, ROOT, call

pytestmark = pytest.mark.engine

SERVICES = {"db": 5432, "redis": 6379, "backend": 8000, "proxy": 80}
BUILT = ("db", "backend", "frontend", "proxy")
VOLUMES = {
    "postgres-data": "/var/lib/postgresql/data",
    "redis-data": "/data",
    "backend-media": "/app/media",
    "backend-static": "/app/staticfiles",
    "frontend-node-modules": "/app/node_modules",
    "proxy-logs": "/var/log/nginx",
}
NAMES = ("DOCKER_", "HOME", "PATH", "XDG_")


@dataclass(frozen=True)
class Stack:
    """One instance of the stack: its name, and the environment Compose reads it with."""

    name: str
    environment: Mapping[str, str] = field(repr=False)

    def compose(self, *arguments: str) -> str:
        """Run docker compose and return its standard output."""
        return self.docker("compose", "--file", str(ROOT / "docker-compose.yml"), *arguments)

    def docker(self, *arguments: str) -> str:
        """Run docker and return its standard output; what it complains of is in the error."""
        done = subprocess.run(
            ["docker", *arguments],
            check=False,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def port(self, service: str) -> int:
        """The port a service is published on now; it is another one after every start."""
        return int(self.compose("port", service, str(SERVICES[service])).rpartition(":")[2])

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask the proxy."""
        return call(self.port("proxy"), method, path, body)

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine says of the container of a service."""
        container = self.compose("ps", "--all", "--quiet", service).strip()
        return dict(json.loads(self.docker("inspect", container))[0])

    def list_files(self, volume: str) -> list[str]:
        """Kind, owner and path of every file in a volume, as its services see the path."""
        folder = VOLUMES[volume]
        program = (
            "import os, stat, sys\n"
            "for folder, _, names in os.walk(sys.argv[1]):\n"
            "    for path in (os.path.join(folder, name) for name in names):\n"
            "        found = os.lstat(path)\n"
            "        print(stat.filemode(found.st_mode)[0], found.st_uid, path)\n"
        )
        mount = f"--volume={self.name}-{volume}:{folder}:ro"
        image = f"{self.name}-backend"
        run = ("run", "--rm", mount, "--entrypoint=python3", image, "-c", program, folder)
        return sorted(self.docker(*run).splitlines())


def describe(name: str, folder: Path, **changes: str) -> Stack:
    """An instance of this name whose ports the engine chooses."""
    environment = {key: value for key, value in os.environ.items() if key.startswith(NAMES)}
    images = {key: value for key, value in os.environ.items() if key.endswith("_IMAGE")}
    chosen = {
        "STACK": name,
        "POSTGRES_PASSWORD": PASSWORD,
        "HEALTH_INTERVAL": "2s",
        "BACKEND_LOGS": str(folder / "logs"),
        **{f"{service.upper()}_PORT": "0" for service in SERVICES},
    }
    return Stack(name, {**environment, **images, **chosen, **changes})


@pytest.fixture(scope="module")
def stack(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running, healthy and migrated stack of its own name, removed by that name afterwards."""
    stack = describe(f"qstack-{secrets.token_hex(4)}", tmp_path_factory.mktemp("stack"))
    try:
        stack.compose("up", "--detach", "--build", "--wait")
        assert stack.call("GET", "/api/health")[1]["migrated"] is False
        for ini in ("alembic.ini", "alembic_memorydb.ini"):
            subprocess.run(
                [sys.executable, "-m", "alembic", "-c", ini, "upgrade", "head"],
                cwd=ROOT,
                env={**stack.environment, "DB_PORT": str(stack.port("db"))},
                check=True,
            )
        yield stack
    finally:
        with suppress(AssertionError):
            # not the caller's file, so the caller could not remove it from the temporary folder
            stack.compose("exec", "-T", "backend", "rm", "/app/logs/backend.log")
        stack.compose("down", "--volumes")
        # by name: --rmi would take the base images, which others use, or leave these
        stack.docker("image", "rm", *(f"{stack.name}-{service}" for service in BUILT))


def read_model(stack: Stack) -> dict[str, Any]:
    """The model that Compose resolves."""
    return dict(json.loads(stack.compose("config", "--format", "json")))


def test_an_instance_without_a_password_is_refused(engine: str, tmp_path: Path) -> None:
    """No default password, for nobody to run into production with."""
    with pytest.raises(AssertionError, match="POSTGRES_PASSWORD is missing"):
        describe("qstack-refused", tmp_path, POSTGRES_PASSWORD="").compose("config")


def test_two_instances_share_no_name_on_an_engine(engine: str, tmp_path: Path) -> None:
    """Project, volumes, images and networks carry the name of the instance; no container_name."""
    first, second = (read_model(describe(name, tmp_path)) for name in ("qstack-a", "qstack-b"))

    def names(model: dict[str, Any]) -> set[str]:
        built = {service["image"] for service in model["services"].values() if "build" in service}
        named = [*model["volumes"].values(), *model["networks"].values()]
        return {model["name"], *built, *(part["name"] for part in named)}

    assert len(names(first)) == 1 + len(BUILT) + len(VOLUMES) + 1
    assert not names(first) & names(second)
    assert not [s for s in first["services"].values() if "container_name" in s]


def test_ports_are_published_on_the_loopback_only(engine: str, tmp_path: Path) -> None:
    """A development database is not offered to the network."""
    services = read_model(describe("qstack-a", tmp_path))["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == len(SERVICES)
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_volumes_lie_where_the_documents_say(engine: str, tmp_path: Path) -> None:
    """Keys, real names and container paths."""
    model = read_model(describe("qstack-a", tmp_path))
    mounts = {
        mount["source"]: mount["target"]
        for service in model["services"].values()
        for mount in service.get("volumes", [])
        if mount["type"] == "volume"
    }
    assert mounts == VOLUMES
    assert {key: volume["name"] for key, volume in model["volumes"].items()} == {
        key: f"qstack-a-{key}" for key in VOLUMES
    }


def test_what_was_acknowledged_survives_stop_and_start(stack: Stack) -> None:
    """Rows, vectors, files and counts are there again, and every service ends by itself, with 0."""
    _, project = stack.call("POST", "/api/projects", {"name": "survivor"})
    rule = {"project_id": project["id"], "title": "<b>bold</b>", "tags": ["t"]}
    assert stack.call("POST", "/api/rules", rule)[0] == 201
    assert stack.call("POST", "/api/memories", {"content": "a long way"})[0] == 201
    assert stack.call("PUT", "/api/uploads/2026/file", b"content" * 1000)[0] == 201
    counts = [stack.call("POST", "/api/counters/c")[1]["value"] for _ in range(3)]
    assert counts == [1, 2, 3]

    stack.compose("stop")
    states = {service: stack.inspect(service)["State"] for service in (*SERVICES, "frontend")}
    assert {name: state["ExitCode"] for name, state in states.items()} == dict.fromkeys(states, 0)
    stack.compose("up", "--detach", "--wait")

    assert stack.call("GET", f"/api/projects/{project['id']}") == (200, project)
    _, found = stack.call("POST", "/api/memories/search", {"content": "a long way"})
    assert found["memories"][0]["content"] == "a long way"
    assert stack.call("GET", "/api/uploads/2026/file") == (200, b"content" * 1000)
    assert stack.call("GET", "/api/counters/c")[1]["value"] == 3
    status, page = stack.call("GET", "/")
    assert status == 200
    assert b"&lt;b&gt;bold&lt;/b&gt;" in page


def test_a_removed_and_rebuilt_stack_keeps_its_data(stack: Stack) -> None:
    """`down` and `up --build` make new containers on the old volumes."""
    _, project = stack.call("POST", "/api/projects", {"name": "kept"})
    before = stack.inspect("backend")["Id"]
    stack.compose("down")
    stack.compose("up", "--detach", "--build", "--wait")
    assert stack.inspect("backend")["Id"] != before
    assert stack.call("GET", f"/api/projects/{project['id']}") == (200, project)
    assert stack.call("GET", "/api/health")[1]["migrated"] is True


def test_files_in_the_volumes_belong_to_the_services_users(stack: Stack) -> None:
    """Nobody's files are root's where the service runs as another user; logs are real files."""
    assert stack.call("PUT", "/api/uploads/owned/file", b"x")[0] == 201
    media = stack.list_files("backend-media")
    assert "- 10001 /app/media/owned/file" in media
    modules = stack.list_files("frontend-node-modules")
    assert "- 1000 /app/node_modules/rules-table/package.json" in modules
    logs = stack.list_files("proxy-logs")
    assert [line for line in logs if line.endswith("/access.log")] == [
        "- 0 /var/log/nginx/access.log"
    ]
    static = stack.list_files("backend-static")
    assert "- 10001 /app/staticfiles/staticfiles.json" in static
    assert stack.call("GET", "/static/rules.css")[0] == 200


def test_the_password_is_in_no_argument_of_any_process(stack: Stack) -> None:
    """Whoever may list processes on the machine does not learn it."""
    for service in (*SERVICES, "frontend"):
        assert PASSWORD not in stack.compose("top", service)


def test_backend_logs_are_written_on_the_machine_of_the_engine(stack: Stack) -> None:
    """The bind mount that `clean-logs` empties holds a real log of the requests."""
    stack.call("GET", "/api/logged-request")
    logged = stack.compose("exec", "-T", "backend", "cat", "/app/logs/backend.log")
    assert "/api/logged-request" in logged
