"""Facts of an encrypted set that its readable manifest must not contain: `private.json`. Pure.

These are the sums of unencrypted members and the digests of tables. With them, guesses could be
confirmed: a short password in a small table or in a database's settings is found in seconds. They
are in a member that is encrypted like the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from quiesce.errors import QuiesceError
from quiesce.model import DatabaseRecord, Manifest, Member

#: The name of the unencrypted member.
PRIVATE = "private.json"


def private_facts(members: Sequence[Member], databases: Sequence[DatabaseRecord]) -> bytes:
    """Return the content of `private.json` of an encrypted set."""
    facts = {
        "sums": {m.plain.file: m.plain.sha256 for m in members if m.plain},
        "digests": {
            record.key: [[table.schema, table.name, table.digest] for table in record.tables]
            for record in databases
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
    return replace(manifest, members=members, databases=databases)


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
