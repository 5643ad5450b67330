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
from contextlib import contextmanager
from pathlib import Path

from quiesce.adapters import files
from quiesce.adapters.sets.manifest_check import wrong_references
from quiesce.adapters.sets.members_encryption import decrypted, encrypt_member, encrypted_file
from quiesce.adapters.sets.scratch import RunScratch
from quiesce.codec import NotDecodable, decode, encode
from quiesce.errors import QuiesceError, RequestError
from quiesce.file_errors import hint_for, reason
from quiesce.model import BackupSet, Manifest, Member, MemberKind, Recipients, SetState
from quiesce.ports import Progress
from quiesce.private_files import read_private, secure_below, secure_top, trusted_owners

FORMAT = 1
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"


class LocalStore:
    """Implements `ports.BackupStore` on a local folder, which is created with mode 0700 if
    missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._staging = folder / ".staging"
        self._scratch = RunScratch(self._staging)
        self._state = folder / ".state"
        self._trash = folder / ".trash"
        self._members: dict[tuple[str, str], dict[str, Member]] = {}
        self._read_as: dict[Path, files.Identity] = {}

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
        manifest = _read_manifest(path)
        size = sum(member.bytes for member in manifest.members)
        state = self._read_state(path.name) or SetState(pinned=manifest.pinned)
        return BackupSet(path, manifest, state, size)

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
        with _translate_errors(self.folder):
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
        with _translate_errors(self.folder):
            self._run_folder(run)
            return self._scratch.make(run, name)

    def hold(self, run: str) -> None:
        with _translate_errors(self.folder):
            self._run_folder(run)
            self._scratch.hold(run)

    def abandoned(self, keep: Collection[str]) -> tuple[str, ...]:
        with _translate_errors(self.folder):
            return self._scratch.abandoned(keep)

    def add(self, run: str, name: str, member: Member) -> None:
        self._members.setdefault((run, name), {})[member.file] = member

    def members(self, run: str, name: str) -> tuple[Member, ...]:
        """Return the members added so far, in the order in which they were finished."""
        return tuple(self._members.get((run, name), {}).values())

    def write(self, run: str, name: str, file: str, content: bytes) -> None:
        with _translate_errors(self.folder):
            files.write_synced(self._staging / run / name / file, content)

    def measure(self, run: str, name: str, file: str, kind: MemberKind, source: str) -> Member:
        """Sync a finished file of a staged set, compute its sum by reading it, and add it."""
        path = self._staging / run / name / file
        with _translate_errors(self.folder):
            path.chmod(0o600)
            # Before reading, so that a change while it is read is detected.
            self._read_as[path] = files.identity(path)
            digest, size = files.sum_and_sync(path)
        member = Member(Path(file).name, kind, source, file, size, digest)
        self.add(run, name, member)
        return member

    def encrypt(self, run: str, name: str, member: Member, recipients: Recipients) -> None:
        members = self._members[run, name]
        plain = (member.plain or member).file
        with _translate_errors(self.folder):
            done = encrypt_member(self._staging / run / name, member, recipients)
            path = self._staging / run / name / done.file
            self._read_as[path] = files.identity(path)
        members[plain] = done

    def decrypted(
        self, run: str, backup: BackupSet, identity: Path | None, progress: Progress
    ) -> BackupSet:
        if not backup.manifest.encryption:
            return backup
        folder = self.scratch(run, ".decrypted") / backup.name
        with _translate_errors(self.folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            return decrypted(backup, folder, identity, progress)

    def seal(self, run: str, manifest: Manifest, documents: Mapping[str, bytes]) -> BackupSet:
        final = self.folder / manifest.name
        if not (self._staging / run / manifest.name).is_dir() and final.is_dir():
            return self.read(final)
        staged = self._staging / run / manifest.name
        with _translate_errors(self.folder):
            for file, content in documents.items():
                files.write_synced(staged / file, content)
            text = json.dumps(encode(manifest), indent=1, ensure_ascii=False)
            # Bytes in names that are not valid UTF-8 become JSON escapes.
            body = text.encode("utf-8", "backslashreplace") + b"\n"
            sums = [f"{member.sha256}  {member.file}" for member in manifest.members]
            sums += [f"{_digest(content)}  {file}" for file, content in documents.items()]
            sums.append(f"{_digest(body)}  {MANIFEST}")
            files.write_synced(staged / SUMS, ("\n".join(sums) + "\n").encode())
            self._require_whole(staged, manifest, documents)
            files.remove_empty_folders(staged)
            files.sync_folders(staged)
            # Last in the folder: a set without a manifest does not exist.
            files.write_synced(staged / MANIFEST, body)
            files.sync_folder(staged)
            files.rename_without_replacing(staged, final)
            files.sync_folder(self.folder)
        return self.read(final)

    def _require_whole(
        self, staged: Path, manifest: Manifest, documents: Mapping[str, bytes]
    ) -> None:
        """Raise QuiesceError unless the staged set contains exactly what the manifest lists.

        A member that is unchanged since its sum was computed is not read again.
        """
        members = {member.file: member for member in manifest.members}
        present = set(files.regular_files(staged))
        extra = present - {*members, *documents, SUMS}
        wrong = [f"{file}: is not part of the set" for file in sorted(extra)]
        for file, member in members.items():
            path = staged / file
            if file not in present:
                wrong.append(f"{file}: is missing")
            elif path.lstat().st_size != member.bytes:
                wrong.append(f"{file}: its size has changed since it was checksummed")
            elif (
                files.identity(path) != self._read_as.get(path)
                and files.sum_of(path) != member.sha256
            ):
                wrong.append(f"{file}: its content has changed since it was checksummed")
        if wrong:
            raise QuiesceError(
                f"{manifest.name} was changed while it was made: {wrong[0]}",
                f"it is not published; see what else writes or removes files in {self._staging}",
                details=wrong[1:],
            )

    def adopt(self, path: Path) -> BackupSet:
        final = self.folder / path.name
        with _translate_errors(self.folder):
            files.rename_without_replacing(path, final)
            files.sync_folder(self.folder)
        return self.read(final)

    def publish_file(
        self, staged: Path, name: str, *, compress: bool, recipients: Recipients
    ) -> Path:
        final = self.folder / name
        if not files.is_inside(self.folder, name) or "/" in name:
            raise RequestError(f"{name} is not a valid file name", "give a plain name")
        with _translate_errors(self.folder):
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
        with _translate_errors(self.folder):
            self._own_folder(".state")
            files.replace_synced(self._state / f"{name}.json", json.dumps(encode(state)).encode())

    def remove(self, name: str) -> None:
        path = self.folder / name
        with _translate_errors(self.folder):
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
        with _translate_errors(self.folder):
            self._scratch.remove(run)
        for key in [key for key in self._members if key[0] == run]:
            del self._members[key]
        folder = self._staging / run
        for path in [path for path in self._read_as if path.is_relative_to(folder)]:
            del self._read_as[path]

    # ------------------------------------------------------------------------------ checking

    def verify(
        self, backup: BackupSet, progress: Progress, sums: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """See the port; `sums` are of files that this process has read already."""
        expected = {member.file: member for member in backup.manifest.members}
        present = set(files.regular_files(backup.path))
        documents, wrong = self._check_sums_file(backup, expected)
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
        self, backup: BackupSet, expected: Mapping[str, Member]
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
            f"{path.name} has format {number}, this program reads format {FORMAT}",
            "use the version of Quiesce that made it, or a newer one",
        )
    try:
        manifest: Manifest = decode(Manifest, raw)
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


@contextmanager
def _translate_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise QuiesceError(
            f"cannot write {where}: {reason(error)}", hint_for(error, where)
        ) from error
