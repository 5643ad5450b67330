"""Local records of uploads to a store, which the store cannot change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quiesce.adapters import files


@dataclass(frozen=True, slots=True)
class Sent:
    """An uploaded set: the SHA-256 sum of its index, when it was made, and its kind.

    `accepted`: a user confirmed that its small content is correct.
    """

    sha256: str
    created_at: str
    kind: str
    accepted: bool = False


class OffsiteNotes:
    """The records of one store, in one file of `folder`."""

    def __init__(self, folder: Path, store: str) -> None:
        self._file = folder / f"{store}.json"

    def read(self) -> Mapping[str, Sent]:
        """Return the records by the name of the set. Unreadable ones are left out."""
        try:
            raw: Any = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(raw, dict):
            return {}
        return {name: sent for name, value in raw.items() if (sent := _sent(value)) is not None}

    def add(self, name: str, sent: Sent) -> None:
        """Record that the set was uploaded."""
        self._write({**self.read(), name: sent})

    def forget(self, name: str) -> None:
        """Remove the record of a set that was removed from the store."""
        notes = dict(self.read())
        if notes.pop(name, None) is not None:
            self._write(notes)

    def accept(self, name: str) -> None:
        """Record that a user accepted the set's small content."""
        notes = dict(self.read())
        if name in notes and not notes[name].accepted:
            self._write({**notes, name: replace(notes[name], accepted=True)})

    def _write(self, notes: Mapping[str, Sent]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        body = {
            name: {
                "sha256": sent.sha256,
                "created_at": sent.created_at,
                "kind": sent.kind,
                "accepted": sent.accepted,
            }
            for name, sent in sorted(notes.items())
        }
        files.replace_synced(self._file, json.dumps(body, indent=1).encode() + b"\n")


class DamageNotes:
    """Sets of a store that were found damaged when read there, by the sum of their index, because a
    set that is pushed again has another one. In one file of `folder`."""

    def __init__(self, folder: Path, store: str) -> None:
        self._file = folder / "damaged" / f"{store}.json"

    def read(self) -> Mapping[str, str]:
        """Return the sums of the indexes by the name of the set."""
        try:
            raw: Any = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        found = raw.items() if isinstance(raw, dict) else ()
        return {name: sum_ for name, sum_ in found if isinstance(sum_, str)}

    def note(self, name: str, sha256: str | None) -> None:
        """Record that the set with this index is damaged; None: that it is not."""
        notes = dict(self.read())
        if notes.get(name) == sha256:
            return
        notes.pop(name, None)
        if sha256 is not None:
            notes[name] = sha256
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.replace_synced(self._file, json.dumps(notes, indent=1).encode() + b"\n")


def _sent(value: Any) -> Sent | None:
    if not isinstance(value, dict):
        return None
    sha256, created_at, kind = (value.get(name) for name in ("sha256", "created_at", "kind"))
    if not (isinstance(sha256, str) and isinstance(created_at, str) and isinstance(kind, str)):
        return None
    return Sent(sha256, created_at, kind, accepted=value.get("accepted") is True)
