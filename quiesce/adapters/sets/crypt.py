"""Encrypts files for recipients and decrypts them, in the standard formats of age and gpg.

The only module that uses `pyrage`. Encryption needs only public keys. A plaintext gets its final
name after the ciphertext was authenticated to its end: a truncated file never looks complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quiesce.adapters.process import program
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Recipients

AGE, GPG = "age", "gpg"
#: Seconds that gpg may take for one file.
GPG_SECONDS = 6 * 3600.0
_IDENTITY = "give the file with --identity, or in QUIESCE_IDENTITY"

#: Allowance beyond the expected size of a plaintext.
_SLACK = 1 << 20


def check_recipients(recipients: Recipients) -> None:
    """Raise RequestError for an invalid key, before anything is encrypted for it."""
    for text in recipients.age:
        _age_recipient(text)
    for key in recipients.gpg:
        try:
            _gpg(["--list-keys", key], f"{key} cannot be used as a recipient")
        except QuiesceError as error:
            hint = "import its public key, or correct encrypt.gpg in stack.yaml"
            raise RequestError(error.fact, hint, details=error.details) from error


def encrypt(source: Path, target: Path, recipients: Recipients) -> None:
    """Encrypt the file for all recipients, each of whom can decrypt it alone."""
    if recipients.age:
        import pyrage

        keys = [_age_recipient(text) for text in recipients.age]
        try:
            pyrage.encrypt_file(str(source), str(target), keys)
        except (pyrage.EncryptError, OSError) as error:
            raise QuiesceError(f"{source.name} cannot be encrypted: {error}") from error
        return
    named = [part for key in recipients.gpg for part in ("--recipient", key)]
    # stack.yaml decides which keys are trusted, not gpg's web of trust.
    argv = ["--trust-model", "always", *named, "--output", str(target), "--encrypt", str(source)]
    _gpg(argv, f"{source.name} cannot be encrypted")


def decrypt(
    source: Path, target: Path, method: str, identity: Path | None, most: int | None = None
) -> None:
    """Decrypt a file completely or not at all, and to not much more than `most` bytes.

    Raise RequestError if there is no key for it, QuiesceError if it was changed or cut off.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        if method == AGE:
            _decrypt_age(source, partial, identity)
        elif method == GPG:
            # gpg also decompresses, possibly to a thousand times the size.
            limit = [] if most is None else ["--max-output", str(most + _SLACK)]
            argv = [*limit, "--output", str(partial), "--decrypt", str(source)]
            _gpg(argv, f"{source.name} cannot be decrypted")
        else:
            raise QuiesceError(
                f"{source.name} has an unknown kind of encryption", "use a newer version of Quiesce"
            )
        partial.chmod(0o600)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------- inside


def _decrypt_age(source: Path, target: Path, identity: Path | None) -> None:
    import pyrage

    if identity is None:
        raise RequestError(
            f"{source.name} is encrypted, and there is no identity to decrypt it", _IDENTITY
        )
    keys = _age_identities(identity)
    try:
        pyrage.decrypt_file(str(source), str(target), keys)
    except pyrage.DecryptError as error:
        if "No matching keys" in str(error):
            fact = f"{source.name} is not encrypted for the identity in {identity.name}"
            raise RequestError(fact, _IDENTITY) from error
        raise QuiesceError(f"{source.name} was changed or cut off ({error})") from error
    except OSError as error:
        # A truncated file is detected here.
        raise QuiesceError(f"{source.name} was changed or cut off ({error})") from error


def _age_recipient(text: str) -> Any:
    import pyrage

    kinds = (pyrage.ssh,) if text.startswith("ssh-") else (pyrage.x25519,)
    for kind in kinds:
        try:
            return kind.Recipient.from_str(text)
        except pyrage.RecipientError:
            continue
    raise RequestError(
        f"{text[:20]!r} is not an age recipient", "use a public key: age1…, ssh-ed25519 …"
    )


def _age_identities(file: Path) -> Sequence[Any]:
    import pyrage

    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"the identity {file} cannot be read", _IDENTITY) from error
    try:
        if "PRIVATE KEY-----" in text:
            return [pyrage.ssh.Identity.from_buffer(text.encode())]
        lines = [line.strip() for line in text.splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        found = [pyrage.x25519.Identity.from_str(line) for line in keys]
    except pyrage.IdentityError as error:
        raise RequestError(f"{file} contains no age identity", _IDENTITY) from error
    if not found:
        raise RequestError(f"{file} contains no age identity", _IDENTITY)
    return found


def _gpg(argv: Sequence[str], what: str) -> None:
    try:
        program.run(
            ["gpg", "--batch", "--yes", "--no-tty", "--quiet", *argv],
            timeout=GPG_SECONDS,
            what="gpg",
        )
    except QuiesceError as error:
        if "secret key" in " ".join((error.fact, *error.details)).lower():
            raise RequestError(f"{what}: gpg has no key for it", "import the secret key") from error
        raise QuiesceError(
            f"{what}: {error.fact}", "try it by hand with gpg", details=error.details
        ) from error
