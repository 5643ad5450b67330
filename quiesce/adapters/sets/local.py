"""Backup sets on disk: staged, sealed, published by one rename, listed, verified, removed.

    backups/<set>/                a published set: 0700, its files 0600
    backups/.staging/<run>/       work in progress of a run (see `scratch`)
    backups/.state/<set>.json     mutable facts (pinned, verified), outside the sealed set
    backups/.trash/<set>/         moved here first, then removed

The order of writes makes it safe (rule 8): members are synced first, then the sums, then the
manifest, then the folder; one rename that never replaces anything publishes the set, and its parent
is synced. A set without a readable manifest does not exist.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from quiesce.adapters import files
from quiesce.adapters.sets.members_encryption import decrypted, encrypt_member, encrypted_file
from quiesce.adapters.sets.published import MANIFEST, SUMS, read_set, verify
from quiesce.adapters.sets.scratch import RunScratch
from quiesce.codec import NotDecodable, decode, encode
from quiesce.errors import QuiesceError, RequestError
from quiesce.file_errors import translate_write_errors
from quiesce.model import BackupSet, Manifest, Member, MemberKind, Recipients, SetState
from quiesce.ports import Measured, Progress
from quiesce.private_files import read_private, secure_below, secure_top, trusted_owners


class LocalStore:
    """Implements `ports.BackupStore` on a local folder, which is created with mode 0700 if
    missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._staging = folder / ".staging"
        self._scratch = RunScratch(self._staging)
        self._state = folder / ".state"
        self._trash = folder / ".trash"

    # ------------------------------------------------------------------------------- looking

    def sets(self) -> tuple[BackupSet, ...]:
        found = [s for s in map(self._try_read, self._candidates()) if isinstance(s, BackupSet)]
        return tuple(sorted(found, key=lambda s: (s.manifest.created_at, s.name)))

    def unreadable(self) -> tuple[tuple[str, str], ...]:
        read = ((path.name, self._try_read(path)) for path in self._candidates())
        return tuple((name, result) for name, result in read if isinstance(result, str))

    def names(self) -> frozenset[str]:
        """Return every name in the folder, also of other files, so that a new set gets a free
        one."""
        if not self.folder.is_dir():
            return frozenset()
        staged = self._staging.glob("*/*") if self._staging.is_dir() else ()
        return frozenset(p.name for p in (*self.folder.iterdir(), *staged))

    def read(self, path: Path) -> BackupSet:
        """Return the set in this folder, which may be anywhere. Raise RequestError if it is not
        one."""
        return read_set(path, self._read_state(path.name))

    def _candidates(self) -> Iterator[Path]:
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
                yield path

    def _try_read(self, path: Path) -> BackupSet | str:
        try:
            return self.read(path)
        except RequestError as error:
            return error.fact

    # ------------------------------------------------------------------------------- writing

    def open(self, run: str, name: str) -> Path:
        with translate_write_errors(self.folder):
            path = self._run_folder(run) / name
            for folder in (path, path / "databases", path / "volumes", path / "stack"):
                folder.mkdir(mode=0o700, exist_ok=True)
        return path

    def _run_folder(self, run: str) -> Path:
        return self._own_folder(".staging", run)

    def _own_folder(self, *names: str) -> Path:
        """Return one of Quiesce's folders below the store's, created if missing, through no
        link."""
        owners = trusted_owners(self.folder.parent)
        secure_top(self.folder, owners)
        secure_below(self.folder, *names, owners=owners, make=True)
        return self.folder.joinpath(*names)

    def scratch(self, run: str, name: str) -> Path:
        with translate_write_errors(self.folder):
            self._run_folder(run)
            return self._scratch.make(run, name)

    def hold(self, run: str) -> None:
        with translate_write_errors(self.folder):
            self._run_folder(run)
            self._scratch.hold(run)

    def abandoned(self, keep: Collection[str]) -> tuple[str, ...]:
        with translate_write_errors(self.folder):
            return self._scratch.abandoned(keep)

    def write(self, run: str, name: str, file: str, content: bytes) -> None:
        with translate_write_errors(self.folder):
            files.write_synced(self._staging / run / name / file, content)

    def measure(self, run: str, name: str, file: str, kind: MemberKind, source: str) -> Measured:
        path = self._staging / run / name / file
        with translate_write_errors(self.folder):
            path.chmod(0o600)
            # Before reading, so that a change while it is read is detected.
            identity = files.identity(path)
            digest, size = files.sum_and_sync(path)
        return Measured(Member(Path(file).name, kind, source, file, size, digest), identity)

    def encrypt(self, run: str, name: str, plain: Measured, recipients: Recipients) -> Measured:
        staged = self._staging / run / name
        with translate_write_errors(self.folder):
            done = encrypt_member(staged, plain.member, recipients)
            return Measured(done, files.identity(staged / done.file))

    def decrypted(
        self, run: str, backup: BackupSet, identity: Path | None, progress: Progress
    ) -> BackupSet:
        if not backup.manifest.encryption:
            return backup
        folder = self.scratch(run, ".decrypted") / backup.name
        with translate_write_errors(self.folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            return decrypted(backup, folder, identity, progress)

    def seal(
        self,
        run: str,
        manifest: Manifest,
        documents: Mapping[str, bytes],
        measured: Collection[Measured] = (),
    ) -> BackupSet:
        final = self.folder / manifest.name
        if not (self._staging / run / manifest.name).is_dir() and final.is_dir():
            return self.read(final)
        staged = self._staging / run / manifest.name
        with translate_write_errors(self.folder):
            for file, content in documents.items():
                files.write_synced(staged / file, content)
            text = json.dumps(encode(manifest), indent=1, ensure_ascii=False)
            # Bytes in names that are not valid UTF-8 become JSON escapes.
            body = text.encode("utf-8", "backslashreplace") + b"\n"
            sums = [f"{member.sha256}  {member.file}" for member in manifest.members]
            sums += [f"{_digest(content)}  {file}" for file, content in documents.items()]
            sums.append(f"{_digest(body)}  {MANIFEST}")
            files.write_synced(staged / SUMS, ("\n".join(sums) + "\n").encode())
            self._require_whole(staged, manifest, documents, measured)
            files.remove_empty_folders(staged)
            files.sync_folders(staged)
            # Last in the folder: a set without a manifest does not exist.
            files.write_synced(staged / MANIFEST, body)
            files.sync_folder(staged)
            files.rename_without_replacing(staged, final)
            files.sync_folder(self.folder)
        return self.read(final)

    def _require_whole(
        self,
        staged: Path,
        manifest: Manifest,
        documents: Mapping[str, bytes],
        measured: Collection[Measured],
    ) -> None:
        """Raise QuiesceError unless the staged set contains exactly what the manifest lists.

        A member that is unchanged since its sum was computed is not read again.
        """
        members = {member.file: member for member in manifest.members}
        read_as = {one.member.file: one.identity for one in measured}
        present = set(files.regular_files(staged))
        extra = present - {*members, *documents, SUMS}
        wrong = [f"{file}: is not part of the set" for file in sorted(extra)]
        for file, member in members.items():
            path = staged / file
            if file not in present:
                wrong.append(f"{file}: is missing")
            elif path.lstat().st_size != member.bytes:
                wrong.append(f"{file}: its size has changed since it was checksummed")
            elif files.identity(path) != read_as.get(file) and files.sum_of(path) != member.sha256:
                wrong.append(f"{file}: its content has changed since it was checksummed")
        if wrong:
            raise QuiesceError(
                f"{manifest.name} was changed while it was made: {wrong[0]}",
                f"it is not published; see what else writes or removes files in {self._staging}",
                details=wrong[1:],
            )

    def adopt(self, path: Path) -> BackupSet:
        final = self.folder / path.name
        with translate_write_errors(self.folder):
            files.rename_without_replacing(path, final)
            files.sync_folder(self.folder)
        return self.read(final)

    def publish_file(
        self, staged: Path, name: str, *, compress: bool, recipients: Recipients
    ) -> Path:
        final = self.folder / name
        if not files.is_inside(self.folder, name) or "/" in name:
            raise RequestError(f"{name} is not a valid file name", "give a plain name")
        with translate_write_errors(self.folder):
            if compress:
                staged = files.compressed(staged)
            if recipients:
                staged = encrypted_file(staged, recipients)
            staged.chmod(0o600)
            files.sum_and_sync(staged)
            files.rename_without_replacing(staged, final)
            files.sync_folder(self.folder)
        return final

    def remember(self, name: str, state: SetState) -> None:
        with translate_write_errors(self.folder):
            self._own_folder(".state")
            files.replace_synced(self._state / f"{name}.json", json.dumps(encode(state)).encode())

    def remove(self, name: str) -> None:
        path = self.folder / name
        with translate_write_errors(self.folder):
            if path.is_dir():
                self._own_folder(".trash")
                doomed = self._trash / name
                shutil.rmtree(doomed, ignore_errors=True)
                # Rename first, so that an interruption leaves no partial set that looks complete.
                path.rename(doomed)
                files.sync_folder(self.folder)
            shutil.rmtree(self._trash / name, ignore_errors=True)
            (self._state / f"{name}.json").unlink(missing_ok=True)

    def half_removed(self) -> tuple[str, ...]:
        if not self._trash.is_dir():
            return ()
        names = sorted(path.name for path in self._trash.iterdir())
        # A new set may have the same name meanwhile, if the clock was set back.
        return tuple(name for name in names if not (self.folder / name).exists())

    def discard(self, run: str) -> None:
        with translate_write_errors(self.folder):
            self._scratch.remove(run)

    def discard_set(self, run: str, name: str) -> None:
        path = self._staging / run / name
        with translate_write_errors(self.folder):
            if path.is_dir():
                shutil.rmtree(path)

    def verify(self, backup: BackupSet, progress: Progress) -> tuple[str, ...]:
        return verify(backup, progress)

    def _read_state(self, name: str) -> SetState | None:
        """Return the recorded state of a set; None if there is none, or it cannot be read."""
        try:
            state: SetState = decode(
                SetState, json.loads(read_private(self._state / f"{name}.json"))
            )
        except (OSError, ValueError, NotDecodable):
            return None
        return state


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
