"""The demo's temporary folder: created, found after a crash, and removed with its processes.

A running demo holds a lock on its folder, which the kernel releases when the process ends in any
way. So the next demo can remove the folder of a killed demo, and never one that is in use.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = "demo.lock"


def _prefix() -> str:
    return f"quiesce-demo-{os.getuid()}-"


@contextmanager
def throwaway(end_processes: Callable[[Path], None]) -> Iterator[Path]:
    """Create a temporary folder, and remove it at the end in any case.

    `end_processes` gets a folder and ends every process that was started in it; it is called before
    the folder is removed, also for folders of dead demos.
    """
    parent = Path(tempfile.gettempdir())
    remove_orphans(parent, end_processes)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(), dir=parent))
    # Started by root, the embedded server runs as another user, which needs access.
    folder.chmod(0o711 if os.getuid() == 0 else 0o700)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        _remove(folder, end_processes)
        os.close(lock)


def remove_orphans(parent: Path, end_processes: Callable[[Path], None]) -> tuple[Path, ...]:
    """Remove the folders of dead demos, and return them."""
    removed = []
    for folder in sorted(parent.glob(f"{_prefix()}*")):
        if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
            continue
        if _is_dead(folder):
            _remove(folder, end_processes)
            removed.append(folder)
    return tuple(removed)


def _remove(folder: Path, end_processes: Callable[[Path], None]) -> None:
    # A server that is ending can write a file while its folder is removed.
    for _ in range(5):
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def _is_dead(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        # Between mkdtemp and the lock lies a moment; a folder of that moment is empty.
        return False
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
