"""`backups/` and the folders that Quiesce keeps in it, made safe before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.private_files import refuse_link, secure_below, secure_top, trusted_owners

if TYPE_CHECKING:
    from pathlib import Path

    from quiesce.model import Stack

#: Where journals, reports, and whatever else a run writes without a set lie below `backups/`.
RUNS, REPORTS = ".runs", ".reports"
_SHARED = (".staging", ".state", ".trash", ".isolated", ".log")


def runs_folder(stack: Stack) -> Path:
    """Where the instance's journals are, and the notes of what its runs left.

    Those of a throwaway copy lie in it and go with it: nothing of them concerns the instance.
    """
    if stack.instance.throwaway:
        return stack.instance.directory / "runs"
    return stack.backups / RUNS / stack.instance.name


def lock_file(stack: Stack) -> Path:
    """The file that one run at a time of this instance locks, or of a copy: both use its sets."""
    return stack.backups / RUNS / stack.instance.name / "lock"


def secure(stack: Stack) -> None:
    """`backups/` and its inner folders are private, ours, and no symbolic links below the top.

    What is open to others and ours is corrected: git makes the folder 0755. Raise RequestError for
    what somebody else may write in or has put there, before anything is written through it.
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
    """Return what `secure` would refuse as a symbolic link. Changes nothing."""
    top, name = stack.backups, stack.instance.name
    folders = [top / RUNS, top / RUNS / name, top / REPORTS, top / REPORTS / name]
    folders += [top / shared for shared in _SHARED]
    return tuple(path for path in (*folders, *_files(stack)) if path.is_symlink())


def _files(stack: Stack) -> tuple[Path, ...]:
    """What is opened by its name and written, without being replaced."""
    runs = stack.backups / RUNS / stack.instance.name
    log = stack.backups / ".log" / f"{stack.instance.name}.log"
    return (runs / "lock", runs / "guard.log", log)
