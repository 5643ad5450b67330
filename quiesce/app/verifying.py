"""Verifying sets, and remembering what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quiesce.model import BackupSet
from quiesce.ports import BackupStore, Clock, EventSink


def verify_sets(
    store: BackupStore, sets: Sequence[BackupSet], sink: EventSink, clock: Clock
) -> list[str]:
    """Verify each set, keep the result with it, and return what is wrong, each naming its set."""
    found: list[str] = []
    for backup in sets:
        wrong = store.verify(backup, sink.progress)
        state = replace(
            backup.state,
            verified_at=clock.now(),
            verified_level="sums",
            verified_good=not wrong,
        )
        store.remember(backup.name, state)
        found += [f"{backup.name}/{problem}" for problem in wrong]
    return found
