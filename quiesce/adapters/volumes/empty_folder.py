"""Empties a folder of the stack on this machine, without following links out of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from quiesce.errors import QuiesceError
from quiesce.file_errors import hint_for, reason

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotPermitted(QuiesceError):
    """The user may not remove the content, which another user created."""


def empty_folder(base: Path, folder: Path) -> int:
    """Remove the content of `base/folder` and return the number of removed entries.

    Below `base` no symbolic link is followed: every component of the path is opened separately.
    Raise QuiesceError for a link, NotPermitted for entries that this user may not remove.
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
            # With dir_fd this never leaves the folder, whatever is replaced meanwhile.
            shutil.rmtree(name, dir_fd=descriptor)
        else:
            os.unlink(name, dir_fd=descriptor)
    return len(entries)
