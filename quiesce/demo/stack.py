"""The demo's own stack.yaml: the example's databases and API, without Docker."""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from quiesce.errors import RequestError

_STACK = """\
version: 1
timezone: UTC
instances:
  demo: {runtime: host, env_file: demo.env, retention: demo}
services:
  db:
    postgres: embedded
    password: ${POSTGRES_PASSWORD}
    port: ${DB_PORT}
    volumes: {postgres-data: PGDATA}
  backend:
    command: [python, -m, rules_api]
    cwd: services/backend
    environment: {POSTGRES_PORT: "${DB_PORT}", PORT: "${BACKEND_PORT}", PYTHONPATH: .}
    port: ${BACKEND_PORT}
    volumes: {backend-media: MEDIA_DIR, backend-static: STATIC_DIR}
    health_http: /health
    depends_on: [db]
databases:
  rulesdb: {service: db, port: "${DB_PORT}", password: "${POSTGRES_PASSWORD}",
            migrations: alembic.ini}
  memorydb: {service: db, port: "${DB_PORT}", password: "${POSTGRES_PASSWORD}",
             migrations: alembic_memorydb.ini}
exclude_databases: [postgres]
volumes:
  postgres-data:  {purpose: PostgreSQL data, priority: critical, backup: by-dump}
  backend-media:  {purpose: User uploads, priority: critical}
  backend-static: {purpose: Static files, priority: regenerable}
retention:
  demo: {keep_last: 3}
"""
_EXAMPLE = (
    "alembic.ini",
    "alembic_memorydb.ini",
    "migrations",
    "migrations_memorydb",
    "services/backend",
)


def write_stack(example: Path, folder: Path) -> Path:
    """Copy the example's code from the repository `example` into `folder`; return stack.yaml.

    Raise RequestError if the example does not exist, as in an installed wheel.
    """
    missing = [name for name in _EXAMPLE if not (example / name).exists()]
    if missing:
        raise RequestError(
            f"the demo needs the example stack, but {example / missing[0]} does not exist",
            "run ./inv demo in a clone of the repository",
        )
    skip = shutil.ignore_patterns("__pycache__", ".*")
    for name in _EXAMPLE:
        source, target = example / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=skip)
        else:
            shutil.copy2(source, target)
    db_port, backend_port = _free_ports(2)
    env_file = folder / "demo.env"
    env_file.touch(mode=0o600)
    env_file.write_text(
        f"DB_PORT={db_port}\nBACKEND_PORT={backend_port}\n"
        f"POSTGRES_USER=postgres\nPOSTGRES_PASSWORD={secrets.token_hex(12)}\n"
    )
    file = folder / "stack.yaml"
    file.write_text(_STACK)
    return file


def _free_ports(count: int) -> Sequence[int]:
    """Return free ports. They are reserved at the same time, so that they differ."""
    holders = [socket.socket() for _ in range(count)]
    try:
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [int(holder.getsockname()[1]) for holder in holders]
    finally:
        for holder in holders:
            holder.close()
