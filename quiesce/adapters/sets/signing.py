"""Signs and verifies documents in stores with the signing key of this installation.

Encryption with a public key does not show who encrypted: anyone who can write to a store can add a
set. So the index of an uploaded set is signed with a key that the store does not have (HMAC-SHA256
over the document's canonical JSON). Hosts that share a store share the key.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from quiesce.adapters import files
from quiesce.errors import RequestError

#: `good`: signed with this key. `absent`: not signed. `foreign`: signed with another key.
#: `bad`: claims to be signed with this key, and is not.
Verdict = Literal["good", "absent", "foreign", "bad"]
FIELD = "signature"
_BYTES = 32


class SigningKey:
    """A key in a file of 64 hexadecimal digits, readable by its owner alone."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def exists(self) -> bool:
        """Whether the key file exists. A link counts too: `_read` refuses it."""
        return os.path.lexists(self.file)

    def make(self) -> None:
        """Create a key unless one exists. Its folder gets mode 0700, its file 0600."""
        if self.exists():
            return
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Atomically: an empty file would be no key, and would prevent a new one.
        partial = self.file.with_name(f".{self.file.name}.{secrets.token_hex(4)}")
        try:
            files.write_synced(partial, f"{secrets.token_hex(_BYTES)}\n".encode())
            with contextlib.suppress(FileExistsError):
                files.rename_without_replacing(partial, self.file)
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def sign(self, document: Mapping[str, Any]) -> str:
        """Return the signature of a document of plain JSON values. Raise RequestError without a
        usable key."""
        key = self._read()
        return f"{_mac(key, b'key id', b'')[:16]}:{_mac(key, b'set index', canonical(document))}"

    def check(self, document: Mapping[str, Any]) -> Verdict:
        """Return the verdict on the signature in `document`. Raise RequestError as `sign`."""
        given = document.get(FIELD)
        if not isinstance(given, str) or not given:
            return "absent"
        expected = self.sign(document)
        if given.partition(":")[0] != expected.partition(":")[0]:
            return "foreign"
        return "good" if hmac.compare_digest(given, expected) else "bad"

    def pseudonym(self, name: str) -> str:
        """Return a pseudonym for `name`, which tells nothing without the key."""
        return _mac(self._read(), b"name", name.encode())[:16]

    def _read(self) -> bytes:
        try:
            # A FIFO would block.
            handle = os.open(self.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise RequestError(
                f"the signing key {self.file} cannot be read: {error.strerror}",
                "restore the file from your copy, or name another one with signing_key_file",
            ) from error
        try:
            found = os.fstat(handle)
            text = os.read(handle, 1024).strip() if stat.S_ISREG(found.st_mode) else b""
        finally:
            os.close(handle)
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise RequestError(
                f"the signing key {self.file} can be read by other users",
                f"run: chmod 600 {self.file}",
            )
        try:
            key = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            key = b""
        if len(key) != _BYTES:
            raise RequestError(
                f"the signing key {self.file} is not valid: expected {2 * _BYTES} hexadecimal "
                "digits",
                "restore the file from your copy, or name another one with signing_key_file",
            )
        return key


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the bytes that are signed: the document without its signature, in canonical form."""
    signed = {key: value for key, value in document.items() if key != FIELD}
    return json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _mac(key: bytes, purpose: bytes, content: bytes) -> str:
    # A separate key for each purpose, so that a value for one is not valid for another.
    own = hmac.new(key, b"quiesce 1 " + purpose, hashlib.sha256).digest()
    return hmac.new(own, content, hashlib.sha256).hexdigest()
