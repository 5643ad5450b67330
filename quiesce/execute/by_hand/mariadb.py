"""How to restore MariaDB databases of a set with `mariadb`. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from quiesce.model import DatabaseRecord, SetKind

_CLIENT = 'mariadb --host="$MARIADB_HOST" --port="$MARIADB_PORT" --user=root'


def server(where: str, globals_: Sequence[str]) -> str:
    """Return how to prepare a server for its databases: connection and users."""
    text = (
        f"## Server{where}\n\nThe commands connect to the server that MARIADB_HOST and "
        "MARIADB_PORT specify, as its user `root`, with the password in MYSQL_PWD. If that user "
        "has another name, change it in `--user`.\n"
    )
    for file in globals_:
        text += (
            "\nCreate the users first. Ignore errors about users that already "
            f"exist:\n\n```sh\n{_CLIENT} --force < {file}\n```\n"
        )
    return text


def database(record: DatabaseRecord, kind: SetKind, settings: str) -> str:
    """Return how to restore a database into a new one, with the client of the same or a newer
    version."""
    del settings  # a database has none that its dump does not have
    dump = shlex.quote(f"databases/{record.key}.sql.zst")
    name = "`" + record.name.replace("`", "``") + "`"
    creating = f"CREATE DATABASE {name} CHARACTER SET {record.encoding} COLLATE {record.collate}"
    what = "This is its schema, without rows. " if kind == "schema" else ""
    lines = [
        f"{_CLIENT} --execute={shlex.quote(creating)}",
        f"zstd -dc {dump} | {_CLIENT} --default-character-set=utf8mb4 --binary-mode "
        f"--database={shlex.quote(record.name)}",
    ]
    lines += [
        f"{_CLIENT} --database={shlex.quote(record.name)} --execute="
        + shlex.quote(f"ALTER SEQUENCE {_name(one.name)} RESTART {one.last_value}")
        for one in record.sequences
    ]
    joined = "\n".join(lines)
    return (
        f"## Database {record.name}\n\nMariaDB {record.server_version}, character set "
        f"{record.encoding}. {what}Restore it into a new database, with the client programs of "
        f"the same or a newer version:\n\n```sh\n{joined}\n```\n{_obstacles(record)}"
    )


def _name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _obstacles(record: DatabaseRecord) -> str:
    facts = "\n".join(f"- {' '.join(one.fact.split())}" for one in record.obstacles)
    return f"\nThe dump is not exact:\n\n{facts}\n" if facts else ""
