"""`stack.yaml` as it was when the last run began that stops something.

A recovery is owed whatever somebody has done to the file meanwhile: it was edited and has a
mistake now, or is gone. Then it goes by this copy, which lies beside the journals. The env file
holds secrets and is not copied.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from quiesce.app.backups_folder import RUNS
from quiesce.errors import RequestError
from quiesce.execute import journal as journals
from quiesce.model import Stack
from quiesce.private_files import read_private

_FILE = "stack.yaml"


def keep_declaration(stack: Stack, folder: Path) -> None:
    """Lay the file into the folder of the journals, if it still is what was read.

    A disk where that cannot be done is no reason not to run: the journal says so itself.
    """
    from quiesce.adapters.files import replace_synced

    with contextlib.suppress(OSError):
        content = stack.file.read_bytes()
        if hashlib.sha256(content).hexdigest() == stack.digest:
            replace_synced(folder / _FILE, content)


def load_anyhow(
    file: Path, instance: str | None, environ: Mapping[str, str], warn: Callable[[str], None]
) -> Stack:
    """Return the stack as `load_stack` does, or else as it was, for who only recovers.

    Raise what `load_stack` raises where no run is owed anything, or it is not plain which.
    """
    from quiesce.config import load_stack

    try:
        return load_stack(file, instance, environ)
    except RequestError as error:
        runs = file.parent / "backups" / RUNS
        kept = [
            path
            for path in sorted(runs.glob(f"{instance or '*'}/{_FILE}"))
            if journals.unfinished(path.parent)
        ]
        if len(kept) != 1:
            raise
        warn(f"{error.fact}; using the configuration from when the interrupted run began")
        content = read_private(kept[0])
        return load_stack(file, kept[0].parent.name, environ, content=content)
