"""Arguments and environment for pg_dump, pg_dumpall and pg_restore.

Pure. Database names are passed in `PGDATABASE` and never as arguments, where a client could take
them for a connection string or an option. Passwords are passed in the environment too.
"""

from __future__ import annotations

from collections.abc import Mapping

from quiesce.model import Database, SetKind
from quiesce.ports import DIRECTORY

#: Messages of a pg_dump that was built without zstd, or is older than 16.
NO_ZSTD = (
    "does not support compression with ZSTD",
    "compression level must be in range",
    'invalid value "zstd',
    "invalid compression",
)

#: Since 16, if built with it. Level 1 is as fast as no compression.
ZSTD = "zstd:1"
#: Level 1 of gzip: the default level 6 takes three times as long and saves a few percent.
GZIP = "1"

ZSTD_SINCE = 160000
LOCK_WAIT_MILLISECONDS = 10_000

_KINDS: Mapping[SetKind, tuple[str, ...]] = {
    "full": (),
    "data": ("--data-only",),
    "schema": ("--schema-only",),
}


def client_environment(database: Database, name: str, run: str, version: int) -> dict[str, str]:
    """Return the environment for a client that works on database `name`, beside its server.

    `version` is the server's version number: a server refuses sessions with settings that it does
    not know.
    """
    settings = {
        "statement_timeout": "0",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "default_transaction_read_only": "off",
    }
    if version >= 140000:
        settings["idle_session_timeout"] = "0"
    if version >= 170000:
        settings["transaction_timeout"] = "0"
    environment = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(database.port),
        "PGUSER": database.user,
        "PGDATABASE": name,
        "PGAPPNAME": f"quiesce:{run}",
        "PGCONNECT_TIMEOUT": "10",
        "PGOPTIONS": " ".join(f"-c {key}={value}" for key, value in settings.items()),
        "LC_ALL": "C",
    }
    if database.password is not None:
        environment["PGPASSWORD"] = database.password.reveal()
    return environment


def dump_arguments(kind: SetKind, file: str, snapshot: str, compression: str) -> tuple[str, ...]:
    """Return the command that writes the snapshot of `PGDATABASE` to `file` of the folder."""
    return (
        "pg_dump",
        "--format=custom",
        f"--compress={compression}",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}",
        "--no-password",
        *_KINDS[kind],
        f"--file={DIRECTORY}/{file}",
    )


def schema_arguments(file: str) -> tuple[str, ...]:
    """Return the command that writes the current schema of `PGDATABASE` to `file`."""
    return (
        "pg_dump",
        "--format=custom",
        "--compress=0",
        f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}",
        "--no-password",
        *_KINDS["schema"],
        f"--file={DIRECTORY}/{file}",
    )


def script_arguments(kind: SetKind, file: str, snapshot: str) -> tuple[str, ...]:
    """Return the command that writes the snapshot of `PGDATABASE` as plain SQL to `file`."""
    return (
        "pg_dump",
        "--format=plain",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}",
        "--no-password",
        *_KINDS[kind],
        f"--file={DIRECTORY}/{file}",
    )


def script_of_arguments(file: str, into: str) -> tuple[str, ...]:
    """Return the command that writes all of the archive `file` to `into`, as a script."""
    return ("pg_restore", f"--file={DIRECTORY}/{into}", f"{DIRECTORY}/{file}")


def rows_arguments(file: str, into: str) -> tuple[str, ...]:
    """Return the command that writes the rows in the archive `file` to `into`, as a script."""
    return (
        "pg_restore",
        "--data-only",
        f"--file={DIRECTORY}/{into}",
        f"{DIRECTORY}/{file}",
    )


def globals_arguments(file: str, *, with_passwords: bool) -> tuple[str, ...]:
    """Return the command that writes roles and tablespaces to `file`; `with_passwords`: with the
    hashes of their passwords, which only a superuser may read."""
    return (
        "pg_dumpall",
        "--globals-only",
        *(() if with_passwords else ("--no-role-passwords",)),
        "--no-password",
        f"--file={DIRECTORY}/{file}",
    )


def decode_arguments(file: str) -> tuple[str, ...]:
    """Return the command that reads every byte of an archive and writes nothing: the only way to
    tell a complete archive from one that is cut off."""
    return ("pg_restore", "--file=/dev/null", f"{DIRECTORY}/{file}")


def load_arguments(file: str, jobs: int, *, tablespaces: bool = True) -> tuple[str, ...]:
    """Return the command that loads `file` of the folder into the database `PGDATABASE`; without
    `tablespaces`, everything goes into the database's own tablespace.

    Without --dbname it would write a script. A connection string that names no database leaves that
    to `PGDATABASE`.
    """
    return (
        "pg_restore",
        "--exit-on-error",
        f"--jobs={jobs}",
        *(() if tablespaces else ("--no-tablespaces",)),
        "--no-password",
        "--dbname=host=127.0.0.1",
        f"{DIRECTORY}/{file}",
    )


def section_arguments(file: str, into: str, section: str, *, tablespaces: bool) -> tuple[str, ...]:
    """Return the command that writes one section of the archive `file` (`pre-data`, `post-data`)
    to `into`, as a script."""
    return (
        "pg_restore",
        *(() if tablespaces else ("--no-tablespaces",)),
        f"--section={section}",
        f"--file={DIRECTORY}/{into}",
        f"{DIRECTORY}/{file}",
    )


def load_rows_arguments(file: str, jobs: int, entries: str = "") -> tuple[str, ...]:
    """Return the command that loads the rows of `file` into existing tables: all of them, or those
    that the file `entries` lists."""
    return (
        "pg_restore",
        "--section=data",
        *((f"--use-list={DIRECTORY}/{entries}",) if entries else ()),
        "--exit-on-error",
        f"--jobs={jobs}",
        "--no-password",
        "--dbname=host=127.0.0.1",
        f"{DIRECTORY}/{file}",
    )


#: Messages of pg_restore when the server refused part of a dump that is readable.
_REFUSED = ("could not execute query", "COPY failed for table", "Command was:")
#: Messages of the server when the dump is not the cause.
_NO_ROOM = (
    "No space left",
    "out of memory",
    "out of shared memory",
    "terminating connection",
    "server closed the connection",
    "shutting down",
    "too many clients",
    "could not connect",
)


def refused_by_server(said: tuple[str, ...]) -> bool:
    """Whether pg_restore failed because the server refused part of the dump."""
    if any(sign in line for line in said for sign in _NO_ROOM):
        return False
    return any(sign in line for line in said for sign in _REFUSED)


def lacks_zstd(said: tuple[str, ...]) -> bool:
    """Whether pg_dump failed because it does not support zstd."""
    return any(sign in line for line in said for sign in NO_ZSTD)
