"""What a record says of a database, read in the snapshot that is dumped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quiesce.adapters import postgres_record as records
from quiesce.adapters.postgres_obstacles import find_obstacles
from quiesce.adapters.postgres_rest import written_between
from quiesce.adapters.postgres_session import Session
from quiesce.model import SequenceRecord, SetKind, TableRecord
from quiesce.observed import Meanwhile


def read_snapshot(
    reader: Session, snapshot: str, name: str, kind: SetKind, transactions: Sequence[int]
) -> tuple[tuple[TableRecord, ...], tuple[SequenceRecord, ...], Mapping[str, Any], Meanwhile]:
    """Return the tables, the sequences, everything else of a record, and who wrote since the first
    snapshot, as the exported snapshot shows them. Leaves the transaction open."""
    reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    reader.run("SET TRANSACTION SNAPSHOT %s", [snapshot])
    facts = records.facts_of(reader, name)
    # Their state is no part of a snapshot: the archive has what it was dumped with.
    sequences = records.fresh_sequences(reader)
    if kind == "schema":
        return records.empty_tables(reader), sequences, facts, Meanwhile()
    seen = written_between(reader, transactions)
    tables = records.digest_tables(reader, records.DIGEST_ALGORITHM)
    return tables, sequences, {**facts, "obstacles": find_obstacles(reader)}, seen
