"""A published set in its folder: read, and compared with its own manifest and sums."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from quiesce.adapters import files
from quiesce.adapters.sets.earlier_versions import completed
from quiesce.adapters.sets.manifest_check import wrong_references
from quiesce.codec import NotDecodable, decode
from quiesce.errors import RequestError
from quiesce.file_errors import reason
from quiesce.model import BackupSet, Manifest, Member, SetState
from quiesce.ports import Progress
from quiesce.private_files import read_private

FORMAT = 1
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"


def read_set(path: Path, state: SetState | None = None) -> BackupSet:
    """Return the set in this folder, which may be anywhere. Raise RequestError if it is not one.

    `state` is the recorded state of the set; without one, the manifest says whether it is pinned.
    """
    manifest = _read_manifest(path)
    size = sum(member.bytes for member in manifest.members)
    return BackupSet(path, manifest, state or SetState(pinned=manifest.pinned), size)


def verify(
    backup: BackupSet, progress: Progress, sums: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return every problem of a set, each with the member's name; nothing for a good set.

    `sums` are those of files that this process has already read; they are not read again.
    """
    expected = {member.file: member for member in backup.manifest.members}
    present = set(files.regular_files(backup.path))
    documents, wrong = _check_sums_file(backup, expected)
    wrong += [f"{MANIFEST}: {problem}" for problem in wrong_references(backup.manifest)]
    known = {*expected, *documents, MANIFEST, SUMS}
    wrong += [f"{file}: is not part of the set" for file in sorted(present - known)]
    done = 0
    for file, member in expected.items():
        path = backup.path / file
        if file not in present:
            wrong.append(f"{file}: is missing")
            continue
        try:
            size = path.stat().st_size
            if size != member.bytes:
                wrong.append(f"{file}: has {size} bytes instead of {member.bytes}")
            elif (sums or {}).get(file, "") != member.sha256 != files.sum_of(path):
                wrong.append(f"{file}: its content has changed")
        except OSError as error:
            wrong.append(f"{file}: cannot be read ({reason(error)})")
        done += member.bytes
        progress(file, done)
    return tuple(wrong)


def _check_sums_file(
    backup: BackupSet, expected: Mapping[str, Member]
) -> tuple[set[str], list[str]]:
    """Return the documents that SHA256SUMS names, and all problems with them and with it."""
    wrong: list[str] = []
    documents: set[str] = set()
    named: dict[str, str] = {}
    try:
        for line in read_private(backup.path / SUMS).decode().splitlines():
            digest, _, file = line.partition("  ")
            named[file] = digest
    except (OSError, UnicodeDecodeError):
        return documents, [f"{SUMS}: is missing or cannot be read"]
    for file, member in expected.items():
        if named.get(file) != member.sha256:
            wrong.append(f"{file}: {SUMS} and {MANIFEST} disagree")
    for file, digest in named.items():
        if file in expected:
            continue
        if not files.is_inside(backup.path, file):
            wrong.append(f"{SUMS}: names {file!r}, which is outside the set")
            continue
        documents.add(file)
        try:
            if files.sum_of(backup.path / file) != digest:
                wrong.append(f"{file}: its content has changed")
        except OSError:
            wrong.append(f"{file}: is missing or cannot be read")
    if MANIFEST not in named:
        wrong.append(f"{MANIFEST}: {SUMS} does not name it")
    return documents, wrong


def _read_manifest(path: Path) -> Manifest:
    hint = "run 'inv backups' to list the sets"
    try:
        raw = json.loads(read_private(path / MANIFEST))
    except OSError as error:
        raise RequestError(
            f"{path.name} is not a backup set: {MANIFEST}: {reason(error)}", hint
        ) from error
    except ValueError as error:
        raise RequestError(f"{path.name}: {MANIFEST} is damaged", hint) from error
    number = raw.get("format") if isinstance(raw, dict) else None
    if number != FORMAT:
        raise RequestError(
            f"{path.name} has format {number}, this version reads format {FORMAT}",
            "use the version of Quiesce that made it, or a newer one",
        )
    try:
        manifest: Manifest = decode(Manifest, completed(raw))
    except NotDecodable as error:
        raise RequestError(f"{path.name}: {MANIFEST} is damaged: {error}", hint) from error
    for member in manifest.members:
        if not files.is_inside(path, member.file):
            raise RequestError(
                f"{path.name}: {MANIFEST} names {member.file!r}, which is outside the set", hint
            )
    if manifest.name != path.name:
        raise RequestError(
            f"{path.name} contains the set {manifest.name}", f"rename it to {manifest.name}"
        )
    return manifest
