"""Resolves `--file` to a set: a folder, a name, `latest`, or the answer to a question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from quiesce.app.wiring import open_store
from quiesce.errors import RequestError
from quiesce.model import BackupSet, Stack
from quiesce.plan.set_ref import SetRef
from quiesce.suggest import suggest

_HINT = "run 'inv backups' to list the sets"


def parse(stack: Stack, file: str) -> SetRef:
    """Parse the value of `--file`; a prefix may be one of the stores of `stack`."""
    return SetRef.parse(file, [store.name for store in stack.stores])


def single_file(stack: Stack, ref: SetRef) -> Path | None:
    """Return the single file that `--file` names, or None if it names a set."""
    for path in _paths(stack, ref):
        if path.is_file():
            return path.absolute()
    return None


def resolve(
    stack: Stack, sets: Sequence[BackupSet], ref: SetRef, other: str | None = None
) -> BackupSet:
    """Return the set that `--file` names, of this instance or of `other`.

    `sets` are those in `backups/`. A name counts before a path. Raise RequestError with the
    nearest names for what does not exist, for a set in a store, and for a set of an instance that
    is not meant.
    """
    if ref.store:
        raise RequestError(
            f"{ref} is in a store",
            f"download it first: inv pull --store {ref.store} --file {ref.without_store}",
        )
    meant = stack.instance.name if other is None else other
    if ref.is_latest:
        return _latest(meant, sets, ref)
    named = [s for s in sets if s.name == ref.name]
    if named:
        return _of_instance(meant, named[0])
    for path in _paths(stack, ref):
        if path.is_dir():
            return _of_instance(meant, open_store(stack.backups).read(path.resolve()))
    hint = suggest(ref.last_part, [s.name for s in sets], most=3, unlike=_newest(meant, sets))
    raise RequestError(f"there is no set {ref}", hint)


def require_any(stack: Stack, sets: Sequence[BackupSet], other: str | None) -> list[BackupSet]:
    """Return the sets that may be chosen. Raise RequestError if there is none."""
    meant = stack.instance.name if other is None else other
    if own := [s for s in sets if s.manifest.instance == meant]:
        return own
    raise RequestError("there is no backup set yet", "run 'inv backup' first")


def _paths(stack: Stack, ref: SetRef) -> Iterator[Path]:
    """Yield where a path may lead: from the working directory, then from `backups/`."""
    if ref.name and not ref.store:
        yield from (Path(ref.name), stack.backups / ref.name)


def _newest(instance: str, sets: Sequence[BackupSet]) -> str:
    """Return the hint for a name that is like none: names differ in little but their time."""
    own = [s for s in sets if s.manifest.instance == instance and not s.manifest.safety]
    if not own:
        return _HINT
    newest = max(own, key=lambda s: (s.manifest.created_at, s.name))
    return f"the newest set is {newest.name}; {_HINT}"


def _latest(instance: str, sets: Sequence[BackupSet], ref: SetRef) -> BackupSet:
    fitting = [
        s
        for s in sets
        if s.manifest.instance == instance
        and ref.fits(s.manifest.kind, s.manifest.sources, safety=s.manifest.safety)
    ]
    if not fitting:
        raise RequestError(f"{instance} has no {ref.words} yet", _HINT)
    return max(fitting, key=lambda s: (s.manifest.created_at, s.name))


def _of_instance(meant: str, backup: BackupSet) -> BackupSet:
    made_of = backup.manifest.instance
    if made_of != meant:
        raise RequestError(
            f"{backup.name} is a set of instance {made_of}",
            f"restore it with --instance {made_of}, or here with --from-instance {made_of}",
        )
    return backup
