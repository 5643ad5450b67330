"""Emptying a folder of the stack on this machine, without following a link out of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from quiesce.errors import QuiesceError
from quiesce.file_errors import hint_for, reason

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotPermitted(QuiesceError):
    """This user may not remove what is in the folder: it was made by somebody else."""


def empty_folder(base: Path, folder: Path) -> int:
    """Remove all that is in `base/folder` and return how many entries that were.

    Below `base` no symbolic link is followed: every part of the way is opened by itself. Raise
    QuiesceError for a link in the way, NotPermitted for what this user may not remove.
    """
    way = [part for part in folder.parts if part != "."]
    if folder.is_absolute() or not way or ".." in way:
        raise QuiesceError(f"{folder} is not below {base}", "correct paths in stack.yaml")
    try:
        descriptor = os.open(base, _FOLDER)
        for part in way:
            below = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
    except FileNotFoundError:
        os.close(descriptor)
        return 0
    except PermissionError as error:
        raise _not_permitted(base / folder) from error
    except OSError as error:
        raise QuiesceError(
            f"{base / folder} cannot be emptied: a component of its path is not a folder",
            f"see 'ls -ld {base / folder}': nothing outside the stack's folder is ever removed",
        ) from error
    try:
        return _empty(descriptor)
    except PermissionError as error:
        raise _not_permitted(base / folder) from error
    except OSError as error:
        raise QuiesceError(
            f"{base / folder} cannot be emptied: {reason(error)}",
            hint_for(error, base / folder),
        ) from error
    finally:
        os.close(descriptor)


def _not_permitted(folder: Path) -> NotPermitted:
    return NotPermitted(
        f"{folder} cannot be emptied: permission denied",
        "run it as the owner of its content, or as root"
        if os.geteuid() != 0
        else "see 'lsattr -Ra' there for immutable or append-only entries",
    )


def _empty(descriptor: int) -> int:
    with os.scandir(descriptor) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_folder in entries:
        if is_folder:
            # With dir_fd this never leaves the folder, whatever is exchanged meanwhile.
            shutil.rmtree(name, dir_fd=descriptor)
        else:
            os.unlink(name, dir_fd=descriptor)
    return len(entries)
