"""Sets for tests: small, real, sealed."""

from __future__ import annotations

from dataclasses import replace

from quiesce.adapters.sets.local import LocalStore
from quiesce.model import BackupSet
from tests.support.builders import NOW, RUN, a_set


def publish_a_set(store: LocalStore, name: str = "core-20261121-020000") -> BackupSet:
    """Make a set of two members and a document."""
    staged = store.open(RUN, name)
    measured = []
    for file, content in (
        ("databases/rulesdb.dump", b"d" * 5000),
        ("volumes/m.0.tar.zst", b"v" * 9),
    ):
        (staged / file).write_bytes(content)
        kind = "database" if file.startswith("databases") else "volume"
        source = "rulesdb" if kind == "database" else "m"
        measured.append(store.measure(RUN, name, file, kind, source))
    manifest = replace(
        a_set(name, databases=("rulesdb",), volumes=("m",)).manifest,
        members=tuple(one.member for one in measured),
        created_at=NOW,
        name=name,
    )
    documents = {"RESTORE.md": b"by hand\n", "stack/stack.yaml": b"version: 1"}
    return store.seal(RUN, manifest, documents, measured)
