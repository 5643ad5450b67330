"""Scratch folders of a run that has changed nothing yet, and so has no journal.

They may contain an unencrypted set. The run keeps a lock on a file in its folder, which the kernel
releases when the process dies: a later recovery sees by that which runs are dead, and removes their
files.

    backups/.staging/<run>/.holder   locked while the run is alive
    backups/.staging/<run>/<name>/   its scratch folder
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path

_HOLDER = ".holder"
#: Seconds after which a folder without a lock file is considered abandoned.
_OLD = 7 * 24 * 3600.0


class RunScratch:
    """The scratch folders below one staging folder. Raises OSError."""

    def __init__(self, staging: Path) -> None:
        self._staging = staging
        self._held: dict[str, int] = {}

    def make(self, run: str, name: str) -> Path:
        """Create and return the folder `name` of a run whose own folder exists, and mark it as in
        use."""
        self.hold(run)
        made = self._staging / run / name
        made.mkdir(mode=0o700, exist_ok=True)
        return made

    def hold(self, run: str) -> None:
        """Mark the existing folder of a run as in use until this process ends."""
        folder = self._staging / run
        if run not in self._held:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(folder / _HOLDER, flags, 0o600)
            # Before it has any content, because a folder without a mark is not removed.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._held[run] = descriptor

    def release(self, run: str) -> None:
        """Release the lock: the run no longer needs its scratch folder."""
        if (descriptor := self._held.pop(run, None)) is not None:
            os.close(descriptor)

    def abandoned(self, keep: Collection[str]) -> tuple[str, ...]:
        """Return the dead runs that left scratch folders, except those in `keep`."""
        if not self._staging.is_dir():
            return ()
        runs = (path.name for path in sorted(self._staging.iterdir()))
        return tuple(run for run in runs if run not in keep and self._is_dead(run))

    def remove(self, run: str) -> None:
        """Remove all scratch folders of a run."""
        folder = self._staging / run
        if folder.is_dir():
            shutil.rmtree(folder)
        self.release(run)

    def _is_dead(self, run: str) -> bool:
        folder = self._staging / run
        try:
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(folder / _HOLDER, flags)
        except FileNotFoundError:
            # From a read-only task, or an earlier version.
            return not folder.is_symlink() and time.time() - folder.stat().st_mtime > _OLD
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True
