"""Objects in S3, Google Cloud Storage, Azure, or a folder: list, upload, read, remove.

The only module that uses `obstore`. Large files are uploaded in parts, several at a time, and each
part is in memory once: at most `PART * PARTS` bytes, whatever the size of the file. Uploads are not
trusted: callers verify them by reading back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from quiesce.errors import QuiesceError, RequestError, translate_errors
from quiesce.model import OffsiteStore

#: S3 accepts at most 10,000 parts: with this size, members up to 160 GB.
PART = 16 * 1024**2
PARTS = 4
#: The minimum size of a chunk when reading.
_CHUNK = 1024**2
#: Seconds for a connection, and for one request: a part must be transferred within it.
CONNECT_SECONDS, REQUEST_SECONDS = 15, 300
RETRIES, RETRY_SECONDS = 6, 120


class AlreadyThere(Exception):
    """An object of this name exists, and was not replaced."""


class Objects(Protocol):
    """The operations that any object store must provide. Names are relative, with slashes."""

    def list(self, prefix: str) -> Mapping[str, int]:
        """Return the names below the prefix and their sizes."""
        ...

    def send(self, name: str, path: Path, progress: Callable[[int], None]) -> None:
        """Store the file's content in the object."""
        ...

    def create(self, name: str, content: bytes) -> None:
        """Create the object with this content. Raise AlreadyThere if it exists."""
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """Yield its content in chunks. Raise QuiesceError if it does not exist."""
        ...

    def remove(self, name: str) -> None:
        """Remove the object, if it exists."""
        ...


def sum_of_object(objects: Objects, name: str, progress: Callable[[int], None]) -> tuple[str, int]:
    """Read an object to its end; return its SHA-256 and its bytes."""
    digest, size = hashlib.sha256(), 0
    for chunk in objects.read(name):
        digest.update(chunk)
        size += len(chunk)
        progress(size)
    return digest.hexdigest(), size


class ObjectStore:
    """The `Objects` of a store that `obstore` can access."""

    def __init__(self, store: OffsiteStore, credentials: Mapping[str, str]) -> None:
        self._name = store.name
        with self._translate_errors("cannot be opened"):
            self._store = _open(store, credentials)

    def list(self, prefix: str) -> Mapping[str, int]:
        import obstore

        with self._translate_errors(f"{prefix} cannot be listed"):
            found = obstore.list(self._store, prefix=prefix)
            return {str(entry["path"]): int(entry["size"]) for page in found for entry in page}

    def send(self, name: str, path: Path, progress: Callable[[int], None]) -> None:
        import obstore

        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with (
            self._translate_errors(f"{name} cannot be uploaded"),
            os.fdopen(descriptor, "rb") as file,
        ):
            watched = _Watched(file, progress)
            obstore.put(self._store, name, watched, chunk_size=PART, max_concurrency=PARTS)  # type: ignore[arg-type]

    def create(self, name: str, content: bytes) -> None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._translate_errors(f"{name} cannot be written"):
            try:
                obstore.put(self._store, name, content, mode="create")
            except (AlreadyExistsError, PreconditionError) as error:
                raise AlreadyThere(name) from error

    def read(self, name: str) -> Iterator[bytes]:
        import obstore

        with self._translate_errors(f"{name} cannot be read"):
            for chunk in obstore.get(self._store, name).stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)

    def remove(self, name: str) -> None:
        import obstore

        with self._translate_errors(f"{name} cannot be removed"):
            try:
                obstore.delete(self._store, name)
            except FileNotFoundError:
                return

    def _translate_errors(self, what: str) -> AbstractContextManager[None]:
        from obstore.exceptions import BaseError

        def translation(error: Exception) -> QuiesceError | None:
            if isinstance(error, FileNotFoundError):
                fact = f"store {self._name}: {what}: it does not exist"
                return QuiesceError(fact, f"run 'inv backups --store {self._name}' again")
            if isinstance(error, BaseError | OSError | ValueError):
                fact = f"store {self._name}: {what}: {_reason(error)}"
                hint = "check its url, its credentials and the network, then try again"
                return QuiesceError(fact, hint)
            return None

        return translate_errors(translation, show_cause=False)


class _Watched:
    """A file that reports how far it was read."""

    def __init__(self, file: Any, progress: Callable[[int], None]) -> None:
        self._file = file
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        chunk: bytes = self._file.read(size)
        self._progress(self._file.tell())
        return chunk

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())


def _open(store: OffsiteStore, credentials: Mapping[str, str]) -> Any:
    from obstore.store import LocalStore, from_url

    parts = urlsplit(store.url)
    if parts.scheme == "file":
        folder = Path(unquote(parts.path))
        if not folder.is_dir():
            # An unmounted disk looks like an empty or missing folder: never create it.
            raise RequestError(
                f"store {store.name}: {folder} does not exist", "mount it, or create the folder"
            )
        return LocalStore(folder, mkdir=False)
    config: dict[str, str] = {name.lower(): value for name, value in credentials.items()}
    if store.endpoint:
        config["endpoint"] = store.endpoint
    if store.region:
        config["region"] = store.region
    client: Any = {
        "allow_http": (store.endpoint or "").startswith("http://"),
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "timeout": timedelta(seconds=REQUEST_SECONDS),
    }
    retries: Any = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
    }
    return from_url(store.url, config=config, client_options=client, retry_config=retries)  # type: ignore[call-overload]


def _reason(error: BaseException) -> str:
    """Return the reason in one line. Requests are signed in headers, so it contains no secret; what
    follows the first sentence is debug output of the driver."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text.split("Debug source:")[0].strip()[:300]
