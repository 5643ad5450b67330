"""Completes the dump of a database that is held: one compressed script, and its record."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from quiesce.adapters import zstd
from quiesce.adapters.files import sync_folder
from quiesce.adapters.growth import report_growth
from quiesce.adapters.mariadb import catalog
from quiesce.adapters.mariadb.client import LACKING, Dumping
from quiesce.adapters.mariadb.code import EVENTS, events_script, kept_code
from quiesce.adapters.mariadb.digest import ALGORITHM, NO_ROWS, digest_table, rounded
from quiesce.adapters.mariadb.instant import Held
from quiesce.adapters.mariadb.load import check_script
from quiesce.adapters.mariadb.objects import read_objects
from quiesce.adapters.mariadb.session import Session
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import DatabaseRecord, TableRecord
from quiesce.obstacles import Obstacle
from quiesce.ports import Progress

BLOCK = 1024 * 1024


def complete(
    held: Held,
    open_session: Callable[[], Session],
    directory: Path,
    file: str,
    progress: Progress,
) -> DatabaseRecord:
    """Write what is held to `directory/file`, complete and synced, and return its record.

    Raise QuiesceError that names the objects if the schema changed while it was dumped.
    """
    key = held.database.key
    files = [dump.path for dump in held.dumps]
    with report_growth(lambda: files, f"dumping {held.database.key}", progress):
        try:
            tables, obstacles = _tables(held), _rounded(held)
            for dump in held.dumps:
                dump.wait()
        except QuiesceError as problem:
            # A changed table ends the client or the digests with an error that names one of them.
            refuse_changes(held, open_session, problem)
            raise
    with open_session() as session:
        objects = read_objects(session, held.database.name)
        definers = catalog.definers(session, held.database.name)
        events = kept_code(session, held.database.name, EVENTS) or ()
    refuse_changes(held, open_session)
    path = directory / file
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        client = pack(held.dumps, partial, key, events_script(events))
        _require_loadable(partial, key)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)
    return replace(
        _record(held, tables, client), obstacles=obstacles, objects=objects, roles=definers
    )


def _require_loadable(path: Path, key: str) -> None:
    """Raise QuiesceError if a restore would refuse this dump: found now, not when it is needed."""
    try:
        check_script(path)
    except RequestError as problem:
        raise QuiesceError(
            f"the dump of database {key} could not be restored: {problem.fact}",
            "drop or rewrite what that line creates, or keep the volume with 'backup: files'",
        ) from problem


def refuse_changes(
    held: Held, open_session: Callable[[], Session], problem: QuiesceError | None = None
) -> None:
    """Raise QuiesceError if objects of the database changed since the instant."""
    with open_session() as session:
        changed = catalog.read_shape(session, held.database.name).changed_since(held.shape)
    if changed:
        raise QuiesceError(
            f"database {held.database.key} was changed while it was dumped: {', '.join(changed)}",
            "wait until migrations have ended, then make the backup again",
            details=(problem.fact,) if problem else (),
        ) from problem


def pack(dumps: list[Dumping], target: Path, key: str, more: bytes = b"") -> str:
    """Compress the scripts of complete dumps, and `more`, into one file, synced. Return the
    client's version.

    Raise QuiesceError if a script says that something is missing in it.
    """
    options = {zstd.module().CompressionParameter.checksum_flag: 1}
    version, tail = "", b""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with zstd.module().open(raw, "wb", options=options) as packed:
            for dump in dumps:
                with dump.path.open("rb") as plain:
                    while block := plain.read(BLOCK):
                        version = version or _client_version(block)
                        if LACKING in tail + block:
                            raise QuiesceError(
                                f"the dump of {key} lacks routines that the user may not read",
                                "grant the user SELECT on mysql.proc, or SHOW CREATE ROUTINE",
                            )
                        packed.write(block)
                        tail = block[-len(LACKING) :]
            packed.write(more)
        raw.flush()
        os.fsync(raw.fileno())
    return version


def _tables(held: Held) -> tuple[TableRecord, ...]:
    """Return the records of all tables by name; those without transactions were read before."""
    read = {table.name: table for table in held.locked}
    rows = held.kind != "schema"
    return tuple(
        read.get(table.name)
        or (
            digest_table(held.session, held.database.name, table)
            if rows
            else TableRecord("", table.name, 0, NO_ROWS, table.types)
        )
        for table in held.shape.measured
    )


def _rounded(held: Held) -> tuple[Obstacle, ...]:
    """Return what the dump does not contain exactly. It prints FLOAT with six digits."""
    if held.kind == "schema":
        return ()
    found = [
        fact
        for table in held.shape.measured
        for fact in rounded(held.session, held.database.name, table)
    ]
    facts = f"{', '.join(found)} (FLOAT) have more digits than mariadb-dump writes, which is six"
    return (Obstacle("rounded", facts),) if found else ()


def _record(held: Held, tables: tuple[TableRecord, ...], client: str) -> DatabaseRecord:
    return DatabaseRecord(
        key=held.database.key,
        name=held.database.name,
        service=held.database.service,
        engine=held.database.engine,
        server_version=held.session.version_text,
        client_version=client,
        revision=(),
        version_table=None,
        snapshot="",
        wal_position="",
        encoding=held.defaults[0],
        collate=held.defaults[1],
        ctype="",
        locale_provider="",
        locale=None,
        owner="",
        digest_algorithm=ALGORITHM,
        tables=tables,
        sequences=held.sequences,
        extensions=(),
        roles=(),
        settings=(),
        large_objects=0,
    )


def _client_version(block: bytes) -> str:
    for line in block.splitlines()[:5]:
        if line.startswith(b"-- MariaDB dump"):
            return line.decode(errors="replace").removeprefix("-- ")
    return ""
