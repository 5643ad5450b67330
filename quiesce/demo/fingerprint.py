"""Digests of all tables and files of a stack, to compare them before and after the restore."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quiesce.execute.run import Ports
from quiesce.model import Stack


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digest per table and per file, and totals to print."""

    tables: Mapping[str, str]
    files: Mapping[str, str]
    rows: int
    bytes: int


def take(stack: Stack, ports: Ports, algorithm: str) -> Fingerprint:
    """Read every declared database and every volume that is backed up as files.

    `algorithm` is the digest algorithm of tables, as named in a set's record.
    """
    tables: dict[str, str] = {}
    rows = 0
    for database in stack.databases:
        contents = ports.databases.contents(database, database.name, algorithm)
        for table in contents.tables:
            name = f"{database.key}.{table.schema}.{table.name}"
            tables[name] = f"{table.rows} {table.digest}"
            rows += table.rows
    files: dict[str, str] = {}
    size = 0
    kept = {volume.key for volume in stack.volumes if volume.backup == "files"}
    for volume in ports.runtime.volumes(stack.volumes):
        if volume.key in kept and volume.mountpoint is not None:
            for path in sorted(volume.mountpoint.rglob("*")):
                name = f"{volume.key}/{path.relative_to(volume.mountpoint)}"
                files[name] = _of(path)
                size += path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
    return Fingerprint(tables, files, rows, size)


def differences(before: Fingerprint, after: Fingerprint) -> tuple[str, ...]:
    """Return the tables and files that differ, are missing or are new."""
    found = []
    for kind, first, second in (
        ("table", before.tables, after.tables),
        ("file", before.files, after.files),
    ):
        found += [f"{kind} {n}" for n in sorted({*first, *second}) if first.get(n) != second.get(n)]
    return tuple(found)


def _of(path: Path) -> str:
    """Type, mode, owner, time and content of one entry."""
    status = path.lstat()
    what = f"{stat.filemode(status.st_mode)} {status.st_uid} {status.st_gid} {status.st_mtime_ns}"
    if stat.S_ISLNK(status.st_mode):
        return f"{what} {path.readlink()}"
    if not stat.S_ISREG(status.st_mode):
        return what
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{what} {digest.hexdigest()}"
