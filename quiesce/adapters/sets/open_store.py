"""Opens a store by the scheme of its url, with the credentials in its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from quiesce.adapters.sets.object_store import Objects, ObjectStore
from quiesce.errors import RequestError
from quiesce.model import OffsiteStore


def open_objects(store: OffsiteStore) -> Objects:
    """Return the `Objects` of a store, by the scheme of its url."""
    if urlsplit(store.url).scheme == "rclone":
        from quiesce.adapters.sets.rclone import Rclone

        return Rclone(store)
    credentials: Mapping[str, str] = {}
    if store.credentials_file is not None:
        credentials = _credentials(store.credentials_file, store.name)
    return ObjectStore(store, credentials)


def _credentials(file: Path, store: str) -> Mapping[str, str]:
    """Read lines like NAME=value. They are never shown."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"the credentials file of store {store} cannot be read", f"make {file} readable"
        ) from error
    pairs = (line.removeprefix("export ").partition("=") for line in lines if "=" in line)
    return {
        name.strip(): value.strip().strip("'\"")
        for name, _, value in pairs
        if not name.lstrip().startswith("#")
    }
