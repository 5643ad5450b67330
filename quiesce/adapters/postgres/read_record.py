"""Reads a database's record in the snapshot that is dumped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quiesce.adapters.postgres import catalog
from quiesce.adapters.postgres.activity import written_between
from quiesce.adapters.postgres.obstacles import find_obstacles
from quiesce.adapters.postgres.session import Session
from quiesce.model import SequenceRecord, SetKind, TableRecord
from quiesce.observed import WrittenBetween


def read_snapshot(
    reader: Session, snapshot: str, name: str, kind: SetKind, transactions: Sequence[int]
) -> tuple[tuple[TableRecord, ...], tuple[SequenceRecord, ...], Mapping[str, Any], WrittenBetween]:
    """Return the tables, the sequences, the other facts of a record, and the writes since the first
    snapshot, as the exported snapshot shows them. Leaves the transaction open."""
    reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    reader.run("SET TRANSACTION SNAPSHOT %s", [snapshot])
    facts = catalog.facts_of(reader, name)
    # Their state is not part of a snapshot: the archive contains the dumped state.
    sequences = catalog.fresh_sequences(reader)
    if kind == "schema":
        return catalog.empty_tables(reader), sequences, facts, WrittenBetween()
    seen = written_between(reader, transactions)
    tables = catalog.digest_tables(reader, catalog.DIGEST_ALGORITHM)
    return tables, sequences, {**facts, "obstacles": find_obstacles(reader)}, seen
