"""Facts of an encrypted set that its readable manifest must not contain: `private.json`. Pure.

These are the sums of unencrypted members and the digests of tables. With them, guesses could be
confirmed: a short password in a small table or in a database's settings is found in seconds. The
facts about SQLite databases are included too, because they reveal names and content of files.
`private.json` is a member that is encrypted like the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from quiesce.errors import QuiesceError
from quiesce.model import DatabaseRecord, Manifest, Member, SqliteRecord, VolumeRecord

#: The name of the unencrypted member.
PRIVATE = "private.json"


def private_facts(
    members: Sequence[Member],
    databases: Sequence[DatabaseRecord],
    volumes: Sequence[VolumeRecord] = (),
) -> bytes:
    """Return the content of `private.json` of an encrypted set."""
    facts = {
        "sums": {m.plain.file: m.plain.sha256 for m in members if m.plain},
        "digests": {
            record.key: [[table.schema, table.name, table.digest] for table in record.tables]
            for record in databases
        },
        "sqlite": {
            record.key: [
                [one.file, one.bytes, dict(one.tables), one.problems, one.orphans, one.unchecked]
                for one in record.sqlite
            ]
            for record in volumes
            if record.sqlite is not None
        },
    }
    return json.dumps(facts, indent=1, ensure_ascii=False).encode() + b"\n"


def without_private_facts(manifest: Manifest) -> Manifest:
    """Return the manifest of an encrypted set without the facts in its `private.json`."""
    members = tuple(
        replace(member, plain=replace(member.plain, sha256="")) if member.plain else member
        for member in manifest.members
    )
    databases = tuple(
        replace(record, tables=tuple(replace(table, digest="") for table in record.tables))
        for record in manifest.databases
    )
    volumes = tuple(replace(record, sqlite=None) for record in manifest.volumes)
    return replace(manifest, members=members, databases=databases, volumes=volumes)


def with_private_facts(manifest: Manifest, content: bytes) -> Manifest:
    """Return the manifest with the facts in `private.json`. Raise QuiesceError if damaged."""
    try:
        facts: Any = json.loads(content)
        sums = {str(file): str(value) for file, value in facts["sums"].items()}
        digests = {
            (str(key), str(schema), str(name)): str(digest)
            for key, tables in facts["digests"].items()
            for schema, name, digest in tables
        }
        # Sets of earlier versions have none.
        sqlite = {
            str(key): tuple(_sqlite(*one) for one in found)
            for key, found in facts.get("sqlite", {}).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise QuiesceError(f"{PRIVATE} of {manifest.name} is damaged", "use another set") from error
    members = tuple(
        replace(member, plain=replace(member.plain, sha256=sums.get(member.plain.file, "")))
        if member.plain and not member.plain.sha256
        else member
        for member in manifest.members
    )
    databases = tuple(
        replace(
            record,
            tables=tuple(
                replace(t, digest=t.digest or digests.get((record.key, t.schema, t.name), ""))
                for t in record.tables
            ),
        )
        for record in manifest.databases
    )
    volumes = tuple(
        replace(record, sqlite=sqlite.get(record.key, record.sqlite)) for record in manifest.volumes
    )
    return replace(manifest, members=members, databases=databases, volumes=volumes)


def _sqlite(
    file: str,
    size: int,
    tables: Mapping[str, int],
    problems: Sequence[str],
    orphans: int,
    unchecked: str,
) -> SqliteRecord:
    rows = {str(name): int(count) for name, count in tables.items()}
    said = tuple(map(str, problems))
    return SqliteRecord(str(file), int(size), rows, said, int(orphans), str(unchecked))
