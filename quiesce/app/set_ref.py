"""Resolves `--file` to a set: a folder, a name, `latest`, or the answer to a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from quiesce.errors import RequestError
from quiesce.model import BackupSet, Stack

_HINT = "run 'inv backups' to list the sets"


def resolve(
    stack: Stack,
    sets: Sequence[BackupSet],
    file: str | None,
    ask: Callable[[Sequence[BackupSet]], str],
    other: str | None = None,
) -> BackupSet:
    """Return the requested set.

    `latest` is the newest complete full set of this instance that is not a safety set;
    `latest:data`, `latest:schema`, `latest:safety` and `latest:<database or volume>` select
    another. A relative path counts from the working directory, then from `backups/`. `other` is the
    instance of the set, if it is not this one. Raise RequestError with the nearest names if the set
    does not exist, or for a set of another instance.
    """
    meant = stack.instance.name if other is None else other
    if file is None:
        own = [s for s in sets if s.manifest.instance == meant]
        if not own:
            raise RequestError("there is no backup set yet", "run 'inv backup' first")
        file = ask(own)
    if file == "latest" or file.startswith("latest:"):
        return _latest(meant, sets, file.partition(":")[2])
    named = [s for s in sets if s.name == file]
    if named:
        return _of_instance(meant, named[0])
    for path in (Path(file), stack.backups / file):
        if path.is_dir():
            from quiesce.adapters.sets.local import LocalStore

            return _of_instance(meant, LocalStore(stack.backups).read(path.resolve()))
    names = [s.name for s in sets]
    alike = get_close_matches(Path(file).name, names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(alike)}?" if alike else _HINT
    raise RequestError(f"there is no set {file}", hint)


def _latest(instance: str, sets: Sequence[BackupSet], what: str) -> BackupSet:
    own = [s for s in sets if s.manifest.instance == instance]
    safety = [s for s in own if is_safety(s)]
    ordinary = [s for s in own if not is_safety(s)]
    if what == "":
        found = [s for s in ordinary if s.manifest.kind == "full"]
    elif what == "safety":
        found = safety
    elif what in ("full", "data", "schema"):
        found = [s for s in ordinary if s.manifest.kind == what]
    else:
        found = [s for s in ordinary if s.manifest.kind == "full" and what in _sources(s)]
    if not found:
        words = f"set for {what}" if what else "full set"
        raise RequestError(f"instance {instance} has no {words} yet", _HINT)
    return max(found, key=lambda s: (s.manifest.created_at, s.name))


def is_safety(backup: BackupSet) -> bool:
    """Whether the set was made by a restore of the data that it was about to replace."""
    return backup.manifest.label == "before restore"


def _sources(backup: BackupSet) -> set[str]:
    return {member.source for member in backup.manifest.members}


def _of_instance(meant: str, backup: BackupSet) -> BackupSet:
    made_of = backup.manifest.instance
    if made_of != meant:
        raise RequestError(
            f"{backup.name} is a set of instance {made_of}",
            f"restore it with --instance {made_of}, or here with --from-instance {made_of}",
        )
    return backup
