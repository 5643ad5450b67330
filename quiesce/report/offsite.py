"""The sets of a store, as a document and as a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quiesce.report import words
from quiesce.report.blocks import Block, Cell, Column, Remark, Table

if TYPE_CHECKING:
    from datetime import datetime

    from quiesce.model import OffsiteSet

Kept = Mapping[str, tuple[str, ...]]


def document(
    store: str, sets: Sequence[OffsiteSet], kept: Kept, unreadable: Sequence[tuple[str, str]]
) -> Mapping[str, Any]:
    """Return every set of the store, and those with an unreadable index."""
    return {
        "store": store,
        "sets": [
            {
                "name": entry.name,
                "kind": entry.kind,
                "created_at": words.utc(entry.created_at),
                "bytes": entry.bytes,
                "objects": len(entry.objects),
                "encryption": entry.encryption,
                "kept_by": list(kept.get(entry.name, ())),
            }
            for entry in sets
        ],
        "unreadable": [{"name": name, "reason": reason} for name, reason in unreadable],
    }


def blocks(
    store: str,
    sets: Sequence[OffsiteSet],
    now: datetime,
    kept: Kept,
    unreadable: Sequence[tuple[str, str]],
) -> list[Block]:
    """Return the same as a table."""
    columns = (
        Column("set"),
        Column("age"),
        Column("size", numeric=True),
        Column("kind", wraps=10),
        Column("encrypted", wraps=9),
        Column("kept by", wraps=8),
    )
    rows = tuple(
        (
            Cell(entry.name),
            Cell(words.age(entry.created_at, now)),
            Cell(words.size(entry.bytes)),
            Cell(entry.kind),
            Cell(entry.encryption or "no"),
            Cell(", ".join(kept.get(entry.name, ())) or "nothing"),
        )
        for entry in sets
    )
    remarks = [Remark("warning", name, f"unreadable: {why}") for name, why in unreadable]
    return [Table("", columns, rows, f"store {store} contains no sets"), *remarks]
