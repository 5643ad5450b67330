"""Settings of the API, read once from environment variables (listed in the package's docstring)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the API needs to know about where it runs."""

    host: str
    port: int
    # not in the repr: these hold the password
    rulesdb: Mapping[str, Any] = field(repr=False)
    memorydb: Mapping[str, Any] = field(repr=False)
    media: Path
    static: Path
    logs: Path | None
    redis: tuple[str, int] | None
    run_as: tuple[int, int] | None
    patience: float  # seconds for the requests that were begun before the end


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings that the given environment holds; an empty value counts as not set.

    Raise ValueError when a port, ``RUN_AS`` or ``STOP_PATIENCE`` is not made of numbers.
    """

    def read(name: str, default: str) -> str:
        return environment.get(name) or default

    redis_host = environment.get("REDIS_HOST")
    logs = environment.get("LOG_DIR")
    return Settings(
        host=read("HOST", "127.0.0.1"),
        port=int(read("PORT", "8000")),
        rulesdb=read_database(environment, "RULESDB", "rulesdb"),
        memorydb=read_database(environment, "MEMORYDB", "memorydb"),
        media=Path(read("MEDIA_DIR", "media")).absolute(),
        static=Path(read("STATIC_DIR", "staticfiles")).absolute(),
        logs=Path(logs).absolute() if logs else None,
        redis=(redis_host, int(read("REDIS_PORT", "6379"))) if redis_host else None,
        run_as=read_ids(environment.get("RUN_AS")),
        patience=float(read("STOP_PATIENCE", "8")),
    )


def read_database(environment: Mapping[str, str], prefix: str, name: str) -> dict[str, Any]:
    """Return the arguments for ``psycopg2.connect`` to one of the two databases."""
    if url := environment.get(f"{prefix}_URL"):
        return {"dsn": url}
    port = environment.get("POSTGRES_PORT") or environment.get("DB_PORT") or "5432"
    return {
        "host": environment.get("POSTGRES_HOST") or "127.0.0.1",
        "port": int(port),
        "user": environment.get("POSTGRES_USER") or "postgres",
        "password": environment.get("POSTGRES_PASSWORD"),
        "dbname": environment.get(f"{prefix}_NAME") or name,
    }


def read_ids(text: str | None) -> tuple[int, int] | None:
    """Return the user and group of ``UID:GID``."""
    if not text:
        return None
    user, group = text.split(":")
    return int(user), int(group)
