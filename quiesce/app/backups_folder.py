"""Secures `backups/` and Quiesce's folders in it before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.private_files import refuse_link, secure_below, secure_top, trusted_owners

if TYPE_CHECKING:
    from pathlib import Path

    from quiesce.model import Stack

#: Folders below `backups/` for journals, for reports, and for other files of runs.
RUNS, REPORTS = ".runs", ".reports"
_SHARED = (".staging", ".state", ".trash", ".isolated", ".log")


def runs_folder(stack: Stack) -> Path:
    """Return the folder of the instance's journals and notes of pending work.

    A throwaway copy has its own, which is removed with it: nothing in it concerns the instance.
    """
    if stack.instance.throwaway:
        return stack.instance.directory / "runs"
    return stack.backups / RUNS / stack.instance.name


def lock_file(stack: Stack) -> Path:
    """Return the file that one run at a time of this instance, or of a copy, locks: both use its
    sets."""
    return stack.backups / RUNS / stack.instance.name / "lock"


def secure(stack: Stack) -> None:
    """Make `backups/` and its inner folders private, owned by this user, and free of symbolic
    links.

    Wrong modes of own folders are corrected: git creates 0755. Raise RequestError for a folder that
    others can write to or have placed there, before anything is written through it.
    """
    top, owners = stack.backups, trusted_owners(stack.directory)
    secure_top(top, owners)
    secure_below(top, RUNS, stack.instance.name, owners=owners, make=True)
    secure_below(top, REPORTS, stack.instance.name, owners=owners)
    for name in _SHARED:
        secure_below(top, name, owners=owners)
    for file in _files(stack):
        refuse_link(file)


def links_in(stack: Stack) -> tuple[Path, ...]:
    """Return the symbolic links that `secure` would refuse. Read-only."""
    top, name = stack.backups, stack.instance.name
    folders = [top / RUNS, top / RUNS / name, top / REPORTS, top / REPORTS / name]
    folders += [top / shared for shared in _SHARED]
    return tuple(path for path in (*folders, *_files(stack)) if path.is_symlink())


def _files(stack: Stack) -> tuple[Path, ...]:
    """Return the files that are opened by name and written without being replaced."""
    runs = stack.backups / RUNS / stack.instance.name
    log = stack.backups / ".log" / f"{stack.instance.name}.log"
    return (runs / "lock", runs / "guard.log", log)
