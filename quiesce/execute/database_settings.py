"""The settings, grants and comment of a database object, in a member of the set.

Some applications keep secrets in `ALTER DATABASE … SET app.token = '…'`. The manifest is not
encrypted, so these statements are in a member of their own.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from quiesce.errors import QuiesceError
from quiesce.model import BackupSet, DatabaseRecord

#: Enough for a few dozen statements; a larger file was not written by Quiesce.
_LARGEST = 4 * 1024**2


def settings_file(key: str) -> str:
    """Return the member's name, relative to the set."""
    return f"databases/{key}.settings.json"


def write_settings(path: Path, statements: tuple[str, ...]) -> None:
    """Write the statements as a JSON list into a new file, 0600."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        json.dump(statements, out, indent=1, ensure_ascii=False)
        out.write("\n")


def with_settings(record: DatabaseRecord, source: BackupSet) -> DatabaseRecord:
    """Return the record with the statements from the set's member, if it has one.

    Raise QuiesceError for a member that `write_settings` cannot have written.
    """
    members = source.manifest.members
    names = [m.file for m in members if m.kind == "settings" and m.source == record.key]
    if not names:
        return record
    path = source.path / names[0]
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_LARGEST))
    except (OSError, ValueError) as error:
        found = error
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise QuiesceError(
            f"{names[0]} of {source.name} does not contain settings of a database",
            f"run 'inv verify --file {source.name}', or restore another set",
        )
    return replace(record, settings=tuple(found))
