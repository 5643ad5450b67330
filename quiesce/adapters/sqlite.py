"""Recognises, copies and checks SQLite databases; copies and checks run in a separate process."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from quiesce.adapters.process import program
from quiesce.errors import QuiesceError
from quiesce.model import SqliteRecord

#: The first bytes of every SQLite database (https://www.sqlite.org/fileformat2.html).
HEADER = b"SQLite format 3\0"
#: The first bytes of a write-ahead log, in both byte orders, and of a rollback journal.
WAL_HEADERS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
JOURNAL_HEADER = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
#: The time limit for one database. A hostile database may be made to take long.
MOST_SECONDS = 600.0
_CHILD = Path(__file__).with_name("sqlite_child.py")
_COPY = Path(__file__).with_name("sqlite_copy_child.py")
_ANY_END = range(256)


def check(
    copy: Path, file: str, size: int, *, most_seconds: float = MOST_SECONDS, child: Path = _CHILD
) -> SqliteRecord:
    """Check a copy of the database `file`, which has `size` bytes. Its log or journal is in the
    same folder. The copy is changed: its log or journal is applied first, as its application would
    do. A check that crashes or takes too long says nothing about the database.
    """
    try:
        ended = program.run(
            [sys.executable, "-I", "-S", "-B", str(child), copy.name],
            environment={},
            cwd=copy.parent,
            timeout=most_seconds,
            accept=_ANY_END,
            what="the check",
        )
    except QuiesceError as error:
        return SqliteRecord(file, size, unchecked=error.fact)
    if ended.exit_code:
        return SqliteRecord(file, size, unchecked=f"the check ended with {ended.exit_code}")
    found: dict[str, Any] = json.loads(ended.stdout)
    return SqliteRecord(
        file,
        size,
        {str(name): int(rows) for name, rows in found["tables"].items()},
        tuple(map(str, found["problems"])),
        int(found["orphans"]),
        str(found["unchecked"]),
    )


def copy(root: str, file: bytes, target: Path, *, most_seconds: float = MOST_SECONDS) -> str | None:
    """Copy the database `file` below the folder `root`, which others may write to, into the new
    file `target` through SQLite's backup. Return "" if it was copied, the reason if it was not, or
    None if the file is not a database. The copy is one committed state, and needs no log or
    journal.
    """
    # A name that nobody can foresee, because the process looks for it in the database's folder.
    with tempfile.TemporaryDirectory(dir=target.parent) as own:
        made, point = Path(own, "copy"), Path(own, "mount")
        made.touch(mode=0o600)
        point.mkdir()
        try:
            ended = program.run(
                [
                    *(sys.executable, "-I", "-S", "-B", str(_COPY), root),
                    *(os.fsdecode(file), str(made), str(point)),
                ],
                environment={},
                timeout=most_seconds,
                accept=_ANY_END,
                what="the copy",
            )
        except QuiesceError as error:
            return error.fact
        if ended.exit_code:
            return f"the copy ended with {ended.exit_code}"
        found: dict[str, Any] = json.loads(ended.stdout)
        if not found["database"]:
            return None
        if not found["why"]:
            made.rename(target)
        return str(found["why"])
