"""What the manifest of an encrypted set does not say: sums of what was encrypted, and digests."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from quiesce.codec import encode
from quiesce.errors import QuiesceError
from quiesce.model import Plain, SqliteRecord
from quiesce.private_facts import (
    PRIVATE,
    private_facts,
    with_private_facts,
    without_private_facts,
)
from tests.support.builders import a_set


def test_sums_and_digests_of_an_encrypted_set_are_not_in_its_manifest() -> None:
    """A guess at a short secret could be tried with them, by whoever reads the manifest."""
    manifest = a_set().manifest
    members = tuple(
        replace(m, file=f"{m.file}.age", plain=Plain(m.file, m.bytes, f"{number:064x}"))
        for number, m in enumerate(manifest.members, 1)
    )
    found = SqliteRecord("of alice.db", 9, {"diary": 3}, ("page 3",), 2, "too old")
    volumes = tuple(replace(record, sqlite=(found,)) for record in manifest.volumes)
    manifest = replace(manifest, members=members, encryption="age", volumes=volumes)
    content = private_facts(members, manifest.databases, manifest.volumes)
    without = without_private_facts(manifest)
    text = json.dumps(encode(without))
    for member in members:
        assert member.plain is not None
        assert member.plain.sha256 not in text
    assert "alice" not in text
    assert "diary" not in text
    assert all(not t.digest for record in without.databases for t in record.tables)
    assert with_private_facts(without, content) == manifest
    assert with_private_facts(manifest, private_facts((), ())) == manifest
    for damaged in (b"", b"[]", b'{"sums": {}}', b'{"sums": [], "digests": {}}'):
        with pytest.raises(QuiesceError, match=PRIVATE):
            with_private_facts(without, damaged)
