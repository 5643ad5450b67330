"""Opens a store by the scheme of its url, with the credentials in its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from quiesce.adapters.sets.object_store import Objects, ObjectStore
from quiesce.env_file import parse_env_file
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
    """Read an env file whose values are taken literally, because a secret may contain a dollar
    sign.

    Lines that are not assignments, such as a heading `[default]`, are skipped. No value is shown.
    """
    what = f"the credentials file of store {store}"
    try:
        parsed = parse_env_file(file.read_bytes(), {}, {}, references=False)
    except OSError as error:
        raise RequestError(
            f"{what} cannot be read",
            f"make {file} readable for the user that runs this, and for nobody else",
        ) from error
    for mistake in parsed.mistakes:
        if mistake.name or not parsed.is_text:
            name = f"{mistake.name}: " if mistake.name else ""
            fact = f"{what} is wrong in line {mistake.line}: {name}{mistake.fact}"
            raise RequestError(fact, f"{mistake.hint} (in {file})")
    return parsed.values
