"""Servers whose files a backup copies while they run are named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quiesce.model import Mode
from quiesce.observed import Mount, Service
from quiesce.plan.live_servers import live_backup_warnings, live_server_findings, live_servers
from tests.support.builders import a_service, a_stack

DATA = "redis-data"


def servers(image: str = "redis:8", target: str = "/data", **changes: object) -> list[Service]:
    """A server of this image with its data in that volume, and an application."""
    mounts = (Mount(DATA, f"app-{DATA}", target, True),)
    redis = replace(a_service("redis"), image=image, mounts=mounts, **changes)  # type: ignore[arg-type]
    return [redis, a_service("backend")]


def keeping(*names: str):
    """The example stack with these services in `restart.keep_running`."""
    stack = a_stack()
    return replace(stack, restart=replace(stack.restart, keep_running=names))


def test_a_server_that_stops_is_no_matter() -> None:
    """A consistent and a cold backup stop it."""
    assert live_servers(a_stack(), servers()) == ()
    assert live_servers(keeping("redis"), servers(), "cold") == ()


@pytest.mark.parametrize(
    ("image", "target", "software"),
    [
        ("redis:8", "/data", "Redis"),
        ("docker.io/library/mongo:7", "/data/db", "MongoDB"),
        ("registry.example:5000/x/mariadb@sha256:0", "/var/lib", "MariaDB"),
        ("qdrant/qdrant", "/qdrant/storage/collections", "Qdrant"),
        ("bitnami/mysql", "/bitnami/mysql", "MySQL"),
        ("pgvector/pgvector:pg17", "/var/lib/postgresql/data", "PostgreSQL"),
    ],
)
def test_one_that_keeps_running_is_named(image: str, target: str, software: str) -> None:
    """In `check`, with the line to change, and by each backup."""
    stack = keeping("redis")
    (found,) = live_server_findings(stack, servers(image, target))
    assert (found.level, found.subject) == ("warning", DATA)
    assert f"a {software} server" in found.fact
    assert live_server_findings(stack, servers(image, target, units=())) == (found,)
    assert found.hint.startswith("remove redis from restart.keep_running in stack.yaml")
    (said,) = live_backup_warnings(stack, servers(image, target), "consistent", ())
    assert said.startswith(f"{DATA} contains the files of a {software} server")


@pytest.mark.parametrize(
    ("image", "target"),
    [("example/app:1", "/data"), ("memcached:1", "/data"), ("mongo:7", "/dumps")],
)
def test_what_is_no_servers_data_is_not(image: str, target: str) -> None:
    """An application is stopped or not as its users decided; dumps are written before."""
    assert live_servers(keeping("redis"), servers(image, target), "live") == ()


def test_a_live_backup_names_all_that_run() -> None:
    """Not those that do not run, and only for what the backup contains."""
    stack = a_stack()
    assert [one.service for one in live_servers(stack, servers(), "live")] == ["redis"]
    assert live_servers(stack, servers(units=()), "live") == ()
    assert live_servers(stack, servers(), "live", [DATA]) != ()
    assert live_servers(stack, servers(), "live", ["media"]) == ()


def test_who_only_reads_harms_nothing() -> None:
    """A server with a read-only mount does not change the files."""
    redis, _ = servers()
    mounts = tuple(replace(mount, writable=False) for mount in redis.mounts)
    assert live_servers(keeping("redis"), [replace(redis, mounts=mounts)], "live") == ()


@pytest.mark.parametrize("mode", ["consistent", "live"])
def test_what_is_not_kept_is_not_copied(mode: Mode) -> None:
    """`backup: never` and `by-dump` copy no files."""
    stack = keeping("redis")
    for backup in ("never", "by-dump"):
        volumes = tuple(replace(v, backup=backup) for v in stack.volumes)
        assert live_servers(replace(stack, volumes=volumes), servers(), mode) == ()
