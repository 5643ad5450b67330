"""Objects in S3, Google Cloud Storage, Azure, or a folder: listed, sent, read, removed.

The one home of `obstore`. Large files go in parts, several at a time, each part held in memory
once: at most `PART * PARTS` bytes, whatever the size of the file. What is sent is not trusted:
who wants to know what is there reads it back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from quiesce.errors import QuiesceError, RequestError
from quiesce.model import OffsiteStore

#: S3 takes at most 10,000 parts: with this size, members up to 160 GB.
PART = 16 * 1024**2
PARTS = 4
#: What is read comes in pieces of this size.
_SUBPATH = 1024**2
#: Seconds for a connection, and for one request: a part has to arrive within it.
CONNECT_SECONDS, REQUEST_SECONDS = 15, 300
RETRIES, RETRY_SECONDS = 6, 120


class AlreadyThere(Exception):
    """An object of this name exists, and was not replaced."""


class Objects(Protocol):
    """What is needed of any place for objects. Names are relative, with slashes."""

    def list(self, prefix: str) -> Mapping[str, int]:
        """Names below the prefix and their bytes."""
        ...

    def send(self, name: str, path: Path, progress: Callable[[int], None]) -> None:
        """The object has the file's content."""
        ...

    def create(self, name: str, content: bytes) -> None:
        """The object has this content. Raise AlreadyThere when there is one already."""
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """Yield its content in pieces. Raise QuiesceError when there is none."""
        ...

    def remove(self, name: str) -> None:
        """There is no such object."""
        ...


def sum_of_object(objects: Objects, name: str, progress: Callable[[int], None]) -> tuple[str, int]:
    """Read an object to its end; return its SHA-256 and its bytes."""
    digest, size = hashlib.sha256(), 0
    for subpath in objects.read(name):
        digest.update(subpath)
        size += len(subpath)
        progress(size)
    return digest.hexdigest(), size


class ObjectStore:
    """`Objects` of a store that `obstore` reaches."""

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
        with self._translate_errors(f"{name} cannot be sent"), os.fdopen(descriptor, "rb") as file:
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
            for subpath in obstore.get(self._store, name).stream(min_chunk_size=_SUBPATH):
                yield bytes(subpath)

    def remove(self, name: str) -> None:
        import obstore

        with self._translate_errors(f"{name} cannot be removed"):
            try:
                obstore.delete(self._store, name)
            except FileNotFoundError:
                return

    @contextmanager
    def _translate_errors(self, what: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as error:
            raise QuiesceError(
                f"store {self._name}: {what}: it is not there", "run 'inv backups --store' again"
            ) from error
        except (BaseError, OSError, ValueError) as error:
            raise QuiesceError(
                f"store {self._name}: {what}: {_reason(error)}",
                "check its url, its credentials and the network, then try again",
            ) from None


class _Watched:
    """A file that tells how far it was read."""

    def __init__(self, file: Any, progress: Callable[[int], None]) -> None:
        self._file = file
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        subpath: bytes = self._file.read(size)
        self._progress(self._file.tell())
        return subpath

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
            # A disk that is not mounted is an empty folder, or none: never made behind its back.
            raise RequestError(
                f"store {store.name}: {folder} is not there", "mount it, or make the folder"
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
    """What went wrong, in one line. Requests are signed in headers, so none of it is a secret;
    what comes after the first sentence is the driver's own debugging."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text.split("Debug source:")[0].strip()[:300]
