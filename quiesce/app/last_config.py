"""A copy of `stack.yaml` from the start of the last run that stopped something.

A recovery must work even if the file was edited and is invalid now, or was deleted. It then uses
this copy, which is beside the journals. The env file contains secrets and is not copied.
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
    """Copy the file into the folder of the journals, if it is unchanged since it was read.

    A failure does not stop the run: if the disk is the problem, the journal reports it.
    """
    from quiesce.adapters.files import replace_synced

    with contextlib.suppress(OSError):
        content = stack.file.read_bytes()
        if hashlib.sha256(content).hexdigest() == stack.digest:
            replace_synced(folder / _FILE, content)


def load_anyhow(
    file: Path, instance: str | None, environ: Mapping[str, str], warn: Callable[[str], None]
) -> Stack:
    """Return the stack as `load_stack` does, or else from the copy, for a recovery.

    Raise what `load_stack` raises if no run is pending, or if it is unclear which one.
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
