"""Encrypts the members of a set in place, and decrypts them into another folder.

With `encrypt.where: everywhere`, no member of a set is stored unencrypted in `backups/`, and the
machine that backs up cannot read its own sets. The manifest stays readable, with names, counts and
sums: lists, retention and `verify` need no key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from quiesce.adapters import files
from quiesce.adapters.sets import crypt
from quiesce.errors import QuiesceError
from quiesce.model import BackupSet, Member, Plain, Recipients
from quiesce.private_facts import PRIVATE, with_private_facts


def encrypt_member(folder: Path, member: Member, recipients: Recipients) -> Member:
    """Encrypt the member's file, remove the plain file, and return the new member."""
    if member.plain is not None:
        return member
    target = encrypted_file(folder / member.file, recipients)
    digest, size = files.sum_and_sync(target)
    return replace(
        member,
        file=str(target.relative_to(folder)),
        bytes=size,
        sha256=digest,
        plain=Plain(member.file, member.bytes, member.sha256),
    )


def encrypted_file(plain: Path, recipients: Recipients) -> Path:
    """Encrypt the file, remove it, and return the encrypted file's path."""
    target = plain.with_name(f"{plain.name}.{recipients.method}")
    target.unlink(missing_ok=True)
    crypt.encrypt(plain, target, recipients)
    target.chmod(0o600)
    plain.unlink()
    return target


def decrypted(
    backup: BackupSet, folder: Path, identity: Path | None, progress: Callable[[str, int], None]
) -> BackupSet:
    """Return the set with its members decrypted into `folder`, which is created.

    Raise RequestError if there is no key for it, QuiesceError for a member that was changed or cut
    off, or has other content than was encrypted.
    """
    manifest, members = backup.manifest, []
    for member in manifest.members:
        if member.plain is not None and member.plain.file == PRIVATE:
            own = _decrypted_member(backup, member, folder, identity, progress)
            manifest = with_private_facts(manifest, own.read_bytes())
            break
    for member in manifest.members:
        if member.plain is None or not files.is_inside(folder, member.plain.file):
            raise QuiesceError(
                f"{member.file} has no valid record of its plaintext in the manifest",
                "use another set",
            )
        target = folder / member.plain.file
        if member.plain.file != PRIVATE:
            _decrypted_member(backup, member, folder, identity, progress)
            if files.sum_of(target) != member.plain.sha256:
                raise QuiesceError(
                    f"{member.file} does not contain what was encrypted", "use another set"
                )
        members.append(
            replace(
                member,
                file=member.plain.file,
                bytes=member.plain.bytes,
                sha256=member.plain.sha256 or files.sum_of(target),
                plain=None,
            )
        )
    manifest = replace(manifest, encryption="", members=tuple(members))
    return replace(backup, path=folder, manifest=manifest)


def _decrypted_member(
    backup: BackupSet,
    member: Member,
    folder: Path,
    identity: Path | None,
    progress: Callable[[str, int], None],
) -> Path:
    if member.plain is None or not files.is_inside(folder, member.plain.file):
        raise QuiesceError(
            f"{member.file} has no valid record of its plaintext in the manifest", "use another set"
        )
    target, method = folder / member.plain.file, backup.manifest.encryption
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    progress(f"decrypting {member.file}", 0)
    crypt.decrypt(backup.path / member.file, target, method, identity, member.plain.bytes)
    return target
