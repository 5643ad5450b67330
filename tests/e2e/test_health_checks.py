"""Services that wait for healthy ones, on every engine: also where nothing runs a health check."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small import Small

pytestmark = pytest.mark.engine
SERVICES = ("db", "app", "late")
#: Nothing but one of the engine's own checks can make `late` healthy: it was never stopped before.
COMPOSE = """\
services:
  db:
    image: ${POSTGRES_IMAGE}
    environment: {POSTGRES_PASSWORD: "${POSTGRES_PASSWORD}", POSTGRES_DB: shop}
    volumes: ["pg:/var/lib/postgresql/data"]
    stop_grace_period: 30s
    healthcheck:
      {test: [CMD, pg_isready, -qh, 127.0.0.1], interval: 1s, timeout: 5s, retries: 60}
  app:
    image: ${TINY_IMAGE}
    init: true
    command: [sh, -c, "touch /ready; exec sleep infinity"]
    volumes: ["files:/files"]
    depends_on: {db: {condition: service_healthy}}
    healthcheck: {test: [CMD, test, -e, /ready], interval: 1s, timeout: 5s, retries: 60}
  late:
    image: ${TINY_IMAGE}
    init: true
    command: [sleep, infinity]
    depends_on: {app: {condition: service_healthy}}
    healthcheck: {test: [CMD-SHELL, "true"], interval: 1s, timeout: 5s, retries: 60}
volumes:
  pg: {}
  files: {}
"""
NEVER_WELL = """\
services:
  ill:
    image: ${TINY_IMAGE}
    init: true
    command: [sleep, infinity]
    volumes: ["files:/files"]
    healthcheck: {test: [CMD, "false"], interval: 1s, timeout: 5s, retries: 2}
  patient:
    image: ${TINY_IMAGE}
    init: true
    command: [sleep, infinity]
    depends_on: {ill: {condition: service_healthy}}
volumes:
  files: {}
"""
ITS_STACK = """\
version: 1
instances: {core: {retention: few}}
volumes: {files: {}}
restart: {stop_timeout: 1s, health_timeout: 5s}
retention: {few: {keep_last: 3}}
"""


@pytest.fixture(scope="module")
def stack(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """The stack's files; the first test brings it up."""
    made = Small.make(tmp_path_factory.mktemp("health"), shared=False)
    (made.folder / "docker-compose.yml").write_text(COMPOSE)
    try:
        yield made
    finally:
        made.destroy()


def _health(stack: Small) -> dict[str, str]:
    """What the engine says about the health of each service."""
    found = {}
    for service in SERVICES:
        of_service = f"label=com.docker.compose.service={service}"
        mine = f"label=com.docker.compose.project.working_dir={stack.folder}"
        (name,) = stack.docker("ps", "-q", "--filter", mine, "--filter", of_service).split()
        found[service] = stack.docker("inspect", "--format", "{{.State.Health.Status}}", name)
    return found


@pytest.mark.sample
def test_a_service_that_waits_for_a_healthy_one_starts(stack: Small) -> None:
    """And what `up` waited for is healthy for the engine too, not only for Quiesce."""
    stack.succeed("up")
    assert _health(stack) == dict.fromkeys(SERVICES, "healthy")


def test_all_of_them_are_healthy_again_after_a_backup_and_a_restore(stack: Small) -> None:
    """With their data, and for the engine too."""
    stack.fill()
    stack.succeed("backup")
    assert _health(stack) == dict.fromkeys(SERVICES, "healthy")
    (server,) = stack.servers()
    stack.sql(server, "DELETE FROM orders")
    stack.succeed("restore", "--file", "latest", "--yes")
    (server,) = stack.servers()
    assert stack.sql(server, "SELECT count(*) FROM orders") == ["1000"]
    assert _health(stack) == dict.fromkeys(SERVICES, "healthy")


def test_a_drill_starts_a_copy_of_them(stack: Small) -> None:
    """And removes the copy, whose containers helpers were attached to."""
    if "podman" not in os.environ.get("QUIESCE_TEST_ENGINE_NAME", ""):
        pytest.skip("takes minutes; for Docker, test_drill shows it")
    stack.succeed("drill", "--yes")
    assert stack.docker("ps", "-aq", "--filter", "label=quiesce.helper") == ""


def test_a_service_that_never_becomes_healthy_is_named(engine: str, tmp_path: Path) -> None:
    """The engine counts the checks that failed, so Compose does not wait for ever."""
    made = Small.make(tmp_path, shared=False)
    (made.folder / "docker-compose.yml").write_text(NEVER_WELL)
    (made.folder / "stack.yaml").write_text(ITS_STACK)
    try:
        ended = made.inv("up")
        assert ended.code == 3
        assert re.search(r"\bservice ill was not healthy again", ended.err), ended.err
        assert made.docker("ps", "-q", "--filter", "label=com.docker.compose.service=ill")
        waits = "label=com.docker.compose.service=patient"
        mine = f"label=com.docker.compose.project={made.name}"
        assert made.docker("ps", "-q", "--filter", mine, "--filter", waits) == ""
    finally:
        made.destroy()
