"""Servers with a driver among the services of a resolved Compose model. Pure; writes no value."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from quiesce.observed import Mount
from quiesce.plan.found import FoundServer
from quiesce.plan.known_images import DATA_OF_MARIADB, DATA_OF_POSTGRES, is_mariadb, is_postgres

_USERS = ("POSTGRES_USER", "POSTGRESQL_USERNAME", "POSTGRESQL_USER")
_NAMES = ("POSTGRES_DB", "POSTGRESQL_DATABASE", "POSTGRESQL_DB")
_PASSWORDS = ("POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD", "POSTGRESQL_POSTGRES_PASSWORD")
_MARIADB_NAMES = ("MARIADB_DATABASE", "MYSQL_DATABASE")
_MARIADB_PASSWORDS = ("MARIADB_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD")
_REFERENCE = re.compile(r"\$(?:(?P<bare>\w+)|\{(?P<name>\w+)(?::?\?[^${}]*)?\})")


def environment_of(service: Mapping[str, Any]) -> dict[str, str]:
    """Return a service's environment, written as a map or as a list."""
    entries = service.get("environment") or {}
    if isinstance(entries, Mapping):
        return {str(key): str(value) for key, value in entries.items() if value is not None}
    return dict(str(entry).partition("=")[::2] for entry in entries if "=" in str(entry))


def find_server(
    name: str,
    image: str,
    mounts: Collection[Mount],
    *,
    service: Mapping[str, Any],
    written: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, Any]],
    defined: Collection[str],
    shown: Callable[[str], str],
) -> FoundServer | None:
    """Return the server that runs in a service, None if there is none.

    `service` is resolved, `written` has references to variables. `defined` are the variables of env
    files that are not empty; `shown` returns how stack.yaml names a path.
    """
    has = environment_of(service)
    if is_mariadb(image):
        return _mariadb(name, has, mounts, written, service, secrets, defined, shown)
    data = [m.target for m in mounts if m.target.startswith(DATA_OF_POSTGRES)]
    configured = any(key in has or f"{key}_FILE" in has for key in _PASSWORDS)
    trusts = has.get("POSTGRES_HOST_AUTH_METHOD") == "trust"
    if not is_postgres(image) and not (data and (configured or trusts)):
        return None
    user = next((has[key] for key in _USERS if has.get(key)), "postgres")
    database = next((has[key] for key in _NAMES if has.get(key)), user)
    password = None
    if not trusts:
        password = _password(
            _PASSWORDS, has, environment_of(written), service, secrets, defined, shown
        )
    return FoundServer(
        service=name,
        user=user.replace("$$", "$"),
        databases=(database.replace("$$", "$"),),
        password=password,
        data=min(data, key=len) if data else DATA_OF_POSTGRES[0],
    )


def _mariadb(
    name: str,
    has: Mapping[str, str],
    mounts: Collection[Mount],
    written: Mapping[str, Any],
    service: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, Any]],
    defined: Collection[str],
    shown: Callable[[str], str],
) -> FoundServer | None:
    """Return a server of MariaDB whose root can log in, and whose database is known. The files of
    any other one are archived."""
    data = [m.target for m in mounts if m.target.startswith(DATA_OF_MARIADB)]
    database = next((has[key] for key in _MARIADB_NAMES if has.get(key)), "")
    password = _password(
        _MARIADB_PASSWORDS, has, environment_of(written), service, secrets, defined, shown
    )
    remote = {has.get("MARIADB_ROOT_HOST"), has.get("MYSQL_ROOT_HOST")} <= {None, "", "%"}
    if not (data and database and password and remote):
        return None
    return FoundServer(
        service=name,
        user="root",
        databases=(database.replace("$$", "$"),),
        password=password,
        data=min(data, key=len),
        engine="mariadb",
    )


def _password(
    keys: Sequence[str],
    has: Mapping[str, str],
    written: Mapping[str, str],
    service: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, Any]],
    defined: Collection[str],
    shown: Callable[[str], str],
) -> tuple[str, str] | None:
    """Return the key of `databases:` and its value, which refers to the password and never contains
    it."""
    for key in keys:
        if f"{key}_FILE" in has:
            return _of_file(has[f"{key}_FILE"], service, secrets, defined, shown)
        if not has.get(key):
            continue
        found = _REFERENCE.fullmatch(written.get(key, ""))
        variable = (found["bare"] or found["name"]) if found else ""
        if variable in defined:
            return "password", f"${{{variable}}}"
        return "password_from", key
    return None


def _of_file(
    target: str,
    service: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, Any]],
    defined: Collection[str],
    shown: Callable[[str], str],
) -> tuple[str, str] | None:
    """Return where the secret comes from that is mounted at a path."""
    for entry in service.get("secrets") or ():
        source = str(entry.get("source", ""))
        where = str(entry.get("target") or source)
        if target not in (where, f"/run/secrets/{where}"):
            continue
        secret = secrets.get(source) or {}
        if secret.get("file"):
            return "password_file", shown(str(secret["file"]))
        if secret.get("environment") in defined:
            return "password", f"${{{secret['environment']}}}"
    for mount in service.get("volumes") or ():
        if mount.get("type") == "bind" and mount.get("target") == target:
            return "password_file", shown(str(mount["source"]))
    return None
