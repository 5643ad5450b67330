"""Uploads a set to a store: each file is uploaded unless it is there already, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from quiesce.adapters import files
from quiesce.adapters.sets import crypt
from quiesce.adapters.sets.object_store import Objects, sum_of_object
from quiesce.adapters.sets.published import MANIFEST, SUMS
from quiesce.errors import CheckFailed, QuiesceError
from quiesce.model import BackupSet, OffsiteObject, OffsiteStore
from quiesce.ports import Progress


class Upload:
    """The upload of one set to one store.

    `there` are the objects of the set that the store has already. `place` returns the name of an
    object in the store, `scratch` the path of a file while it is encrypted; `note` is the file that
    records which parts of an encrypted set were uploaded.
    """

    def __init__(
        self,
        target: OffsiteStore,
        backup: BackupSet,
        objects: Objects,
        there: Mapping[str, int],
        *,
        place: Callable[[str], str],
        scratch: Callable[[str], Path],
        note: Path,
        progress: Progress,
    ) -> None:
        self._target = target
        self._backup = backup
        self._objects = objects
        self._there = there
        self._place = place
        self._scratch = scratch
        self._note = note
        self._progress = progress
        self._method = target.recipients.method
        # Encrypting a file again gives other bytes, so only recorded uploads can be recognized.
        self._noted = dict(_read_note(note)) if self._method else {}
        # The sums from when the set was sealed are used without reading the files again: a change
        # is detected when the upload is read back.
        self._sealed = {m.file: (m.sha256, m.bytes) for m in backup.manifest.members}

    def send(self, file: str) -> OffsiteObject:
        """Upload the object unless it is there, read it back, and return its entry for the
        index."""
        name = f"{file}.{self._method}" if self._method else file
        place = self._place(name)
        path = self._backup.path / file
        if self._method:
            sum_, size = self._noted.get(file, ("", -1))
        else:
            sum_, size = self._sealed.get(file) or (files.sum_of(path), path.stat().st_size)
        if self._there.get(place) == size and self._read_back(file, place) == (sum_, size):
            return OffsiteObject(file, name, size, sum_)
        if self._method:
            self._require_unchanged(file)
            path = self._scratch(name)
            path.unlink(missing_ok=True)
            crypt.encrypt(self._backup.path / file, path, self._target.recipients)
            path.chmod(0o600)
            sum_, size = files.sum_of(path), path.stat().st_size
        try:
            self._objects.send(place, path, lambda done: self._progress(f"pushing {file}", done))
        finally:
            if self._method:
                path.unlink()
        if self._read_back(file, place) != (sum_, size):
            if not self._method:
                self._require_unchanged(file)
            raise QuiesceError(
                f"store {self._target.name}: {file} does not match after upload",
                "push again; if it happens again, do not use this store",
            )
        if self._method:
            self._noted[file] = (sum_, size)
            self._note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace_synced(self._note, json.dumps(self._noted).encode())
        return OffsiteObject(file, name, size, sum_)

    def _require_unchanged(self, file: str) -> None:
        sealed = self._sealed.get(file)
        if sealed and files.sum_of(self._backup.path / file) != sealed[0]:
            raise CheckFailed(
                f"{self._backup.name}: {file} has changed since the set was published",
                f"run 'inv verify --file {self._backup.name}', and push another set",
            )

    def forget(self) -> None:
        """The set is complete: remove the record of its uploads."""
        self._note.unlink(missing_ok=True)

    def _read_back(self, file: str, place: str) -> tuple[str, int]:
        return sum_of_object(
            self._objects, place, lambda done: self._progress(f"reading back {file}", done)
        )


def in_order(backup: BackupSet) -> Iterator[str]:
    """Yield the files of a set: members and documents, then the sums, and last the manifest."""
    last = (SUMS, MANIFEST)
    yield from sorted(file for file in files.regular_files(backup.path) if file not in last)
    yield from last


def _read_note(path: Path) -> Iterator[tuple[str, tuple[str, int]]]:
    try:
        for file, (sum_, size) in json.loads(path.read_text()).items():
            yield file, (str(sum_), int(size))
    except (OSError, ValueError, TypeError, AttributeError):
        return
