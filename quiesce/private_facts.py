"""What an encrypted set knows and its readable manifest does not say: `private.json`. Pure.

The sum of a member before it was encrypted, and the digest of each table. Whoever reads a manifest
could try guesses with them: a short password in a small table, or in the settings of a database, is
found in seconds. They are in a member that is encrypted like the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from quiesce.errors import QuiesceError
from quiesce.model import DatabaseRecord, Manifest, Member

#: The member, before it is encrypted.
PRIVATE = "private.json"


def private_facts(members: Sequence[Member], databases: Sequence[DatabaseRecord]) -> bytes:
    """Return what `private.json` of an encrypted set holds."""
    facts = {
        "sums": {m.plain.file: m.plain.sha256 for m in members if m.plain},
        "digests": {
            record.key: [[table.schema, table.name, table.digest] for table in record.tables]
            for record in databases
        },
    }
    return json.dumps(facts, indent=1, ensure_ascii=False).encode() + b"\n"


def without_private_facts(manifest: Manifest) -> Manifest:
    """Return the manifest of an encrypted set without what is in its `private.json`."""
    members = tuple(
        replace(member, plain=replace(member.plain, sha256="")) if member.plain else member
        for member in manifest.members
    )
    databases = tuple(
        replace(record, tables=tuple(replace(table, digest="") for table in record.tables))
        for record in manifest.databases
    )
    return replace(manifest, members=members, databases=databases)


def with_private_facts(manifest: Manifest, content: bytes) -> Manifest:
    """Return the manifest with what its `private.json` holds. Raise QuiesceError for another."""
    try:
        facts: Any = json.loads(content)
        sums = {str(file): str(value) for file, value in facts["sums"].items()}
        digests = {
            (str(key), str(schema), str(name)): str(digest)
            for key, tables in facts["digests"].items()
            for schema, name, digest in tables
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
    return replace(manifest, members=members, databases=databases)
