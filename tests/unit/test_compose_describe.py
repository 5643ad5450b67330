"""What of a Compose file may be kept in a set."""

from __future__ import annotations

import pytest
import yaml

from quiesce.adapters.compose.redact import redact
from quiesce.adapters.redaction import WITHHELD
from quiesce.model import Probe

MODEL = """
name: app
x-common: &common
  PLAIN: hunter2-anchor
services:
  db:
    image: ${POSTGRES_IMAGE:-pgvector/pgvector:pg17}
    command: [postgres, -c, password=hunter2-command]
    entrypoint: /start --token hunter2-entrypoint
    environment:
      POSTGRES_PASSWORD: hunter2-literal
      FROM_OUTSIDE: ${DB_PASSWORD}
      REQUIRED: ${DB_PASSWORD:?set it}
      DEFAULTED: ${DB_PASSWORD:-hunter2-default}
      URL: postgres://app:${DB_PASSWORD}@db/hunter2-part
      EMPTY:
    labels: {traefik.auth: hunter2-label}
    healthcheck:
      test: [CMD, curl, -u, "a:hunter2-health"]
      interval: 5s
    build:
      context: https://user:hunter2-context@example.com/repo.git
      args: [TOKEN=hunter2-arg, "OTHER=${OTHER}"]
    logging: {driver: splunk, options: {splunk-token: hunter2-logging}}
    extra_hosts: ["hunter2-host:10.0.0.1"]
    ports: ["${DB_PORT:-5432}:5432"]
    volumes: ["data:/var/lib/postgresql/data"]
    hostname: ${DB_PASSWORD_HOST:-hunter2-hostname}
    restart: unless-stopped
volumes:
  data: {name: "${STACK:-app}-data"}
  share: {driver_opts: {o: "username=a,password=hunter2-mount"}}
configs:
  inline: {content: "key: hunter2-config"}
"""


@pytest.fixture
def redacted() -> dict:
    """The model above, redacted."""
    return redact(yaml.safe_load(MODEL))


def test_no_literal_of_a_closed_place_is_left(redacted: dict):
    """Wherever people write passwords down."""
    assert "hunter2" not in yaml.safe_dump(redacted)


def test_what_describes_the_stack_is_left(redacted: dict):
    """Images, ports, volumes and their names, and how services come back."""
    db = redacted["services"]["db"]
    assert db["image"] == "${POSTGRES_IMAGE:-pgvector/pgvector:pg17}"
    assert db["ports"] == ["${DB_PORT:-5432}:5432"]
    assert db["volumes"] == ["data:/var/lib/postgresql/data"]
    assert db["restart"] == "unless-stopped"
    assert db["healthcheck"]["interval"] == "5s"
    assert redacted["volumes"]["data"]["name"] == "${STACK:-app}-data"


def test_references_stay_and_literals_are_comparable(redacted: dict):
    """Two sets tell whether a literal changed, not what it was; names of variables stay."""
    environment = redacted["services"]["db"]["environment"]
    assert environment["FROM_OUTSIDE"] == "${DB_PASSWORD}"
    assert environment["REQUIRED"] == "${DB_PASSWORD:?set it}"
    assert environment["POSTGRES_PASSWORD"] == WITHHELD
    assert environment["DEFAULTED"].endswith(" with DB_PASSWORD")
    assert environment["EMPTY"] is None


def test_lists_of_assignments_keep_their_names(redacted: dict):
    """Which arguments a build takes is no secret."""
    first, second = redacted["services"]["db"]["build"]["args"]
    assert first == f"TOKEN={WITHHELD}"
    assert second == "OTHER=${OTHER}"


def test_no_literal_is_left_where_else_people_write_them():
    """Inline Dockerfiles, caches of builds, addresses with tokens in their query or their path."""
    text = yaml.safe_dump(
        redact(
            yaml.safe_load("""
services:
  web:
    build:
      dockerfile_inline: "FROM x\\nENV TOKEN=hunter2-inline"
      cache_to: ["type=s3,secret_access_key=hunter2-cache"]
      context: "https://example.com/x.git?token=hunter2-query"
      additional_contexts: {x: "https://hunter2-token@example.com/x.git"}
    storage_opt: {key: hunter2-storage}
    image: user:hunter2-registry@registry.example.com/image
    annotations: [a=hunter2-annotation]
    post_start: [{command: [x, hunter2-hook]}]
""")
        )
    )
    assert "hunter2" not in text


def test_addresses_without_a_secret_are_left():
    """Images by digest and from registries with a port, addresses that need a variable."""
    for image in (
        "registry.example.com:5000/team/app:1.2@sha256:0123456789abcdef",
        "${REGISTRY:?say which}/app",
        "https://${HOST:?say which}/x.git",
    ):
        assert redact({"services": {"web": {"image": image}}})["services"]["web"]["image"] == image


def test_a_probe_is_shown_without_its_query():
    """Tokens are often there; messages and reports name what was asked."""
    probe = Probe(service="web", port=80, path="/health?token=hunter2")
    assert probe.words == "web:80/health?***"
    assert Probe(service="web", port=80, path="/health").words == "web:80/health"
