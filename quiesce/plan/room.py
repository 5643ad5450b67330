"""Whether a new set, or what a restore unpacks, fits on the disk. Pure.

Everything that a backup writes is below `backups/`: a staged set becomes the set by a rename, and
files are encrypted beside it. So it needs one disk only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quiesce.amounts import size
from quiesce.errors import RequestError
from quiesce.findings import Finding, Level
from quiesce.model import BackupSet, Stack
from quiesce.observed import Observed
from quiesce.plan.expected import OWN, Expected, NewSet, Sizes, Verdict, expect
from quiesce.plan.steps import (
    ArchiveVolume,
    DumpDatabase,
    EncryptSet,
    OpenSet,
    Plan,
    PushSet,
    with_parts,
)

#: With this many times the expected space, and this many bytes, sizes need not be measured.
PLENTY, LITTLE = 10, 1 << 30


def new_set(stack: Stack, plan: Plan) -> NewSet | None:
    """Return the set that the plan makes, None if it makes none."""
    steps = list(with_parts(plan.nodes))
    opened = next((step for step in steps if isinstance(step, OpenSet)), None)
    if opened is None:
        return None
    own = {store.name for store in stack.stores if store.recipients.method}
    return NewSet(
        opened.kind,
        opened.mode == "cold",
        tuple(step.database for step in steps if isinstance(step, DumpDatabase)),
        tuple(s.volume for s in steps if isinstance(s, ArchiveVolume) and s.level == 0),
        any(isinstance(step, EncryptSet) for step in steps),
        any(isinstance(step, PushSet) and step.store in own for step in steps),
    )


def default_set(stack: Stack, observed: Observed) -> NewSet:
    """Return the full set that a backup without options makes."""
    there = {state.key for state in observed.volumes if state.exists}
    kept = tuple(v.key for v in stack.volumes if v.backup == "files" and v.key in there)
    databases = tuple(database.key for database in stack.databases)
    return NewSet(
        "full", cold=False, databases=databases, volumes=kept, encrypted=bool(stack.recipients)
    )


def set_like(found: BackupSet) -> NewSet:
    """Return a set of the same content as this one."""
    manifest = found.manifest
    databases = tuple(record.key for record in manifest.databases)
    volumes = tuple(record.key for record in manifest.volumes)
    cold, encrypted = manifest.mode == "cold", bool(manifest.encryption)
    return NewSet(manifest.kind, cold, databases, volumes, encrypted)


def database_sizes(observed: Observed) -> Sizes:
    """Return the sizes that were observed anyway."""
    return Sizes({d.key: d.bytes for d in observed.databases if d.exists})


def to_measure(stack: Stack, new: NewSet, sets: Sequence[BackupSet], seen: Observed) -> set[str]:
    """Return the volumes whose size has to be measured: those in no earlier set, and all of them
    unless there is plenty of room."""
    known = expect(stack.instance.name, new, sets, database_sizes(seen))
    tight = seen.free_bytes < max(LITTLE, PLENTY * known.about)
    return set(new.volumes) & (set(new.volumes) if tight else set(known.unknown))


def room_finding(expected: Expected, free: int, folder: Path) -> Finding:
    """Return whether the next set fits, as a finding."""
    needs = f"the next set needs about {size(expected.about)}, {expected.reason()}"
    if expected.about == OWN and expected.unknown:
        needs = "it is unknown how much the next set needs"
    levels: dict[Verdict, Level] = {"short": "error", "close": "warning", "fits": "ok"}
    verdict = expected.verdict(free)
    hint = "" if verdict == "fits" else free_hint(folder)
    return Finding(levels[verdict], "free space", f"{size(free)} free; {needs}", hint)


def free_hint(folder: Path) -> str:
    """Return the hint that says how to free space for a set."""
    return (
        f"free some space on the disk of {folder} ('inv prune --dry-run' lists the sets that no "
        "rule keeps)"
    )


def require_room(expected: Expected, free: int, folder: Path) -> str:
    """Return a warning if the set may not fit, otherwise "". Raise RequestError if it does not."""
    what = f"the new set ({expected.reason()})"
    verdict = expected.verdict(free)
    if verdict == "short":
        hint = f"{free_hint(folder)}, then try again; nothing was stopped"
        refuse_short(what, expected.least, free, f"in {folder}", hint)
    if verdict == "close":
        return (
            f"{what} may need up to {size(expected.about)}, and {size(free)} is free in {folder}: "
            "it may not fit"
        )
    if expected.unknown:
        return f"the size of {', '.join(expected.unknown)} is unknown, so the new set may not fit"
    return ""


def require_room_beside(
    expected: Expected, unpacked: int, source: str, free: int, folder: Path
) -> None:
    """Raise RequestError if a safety set does not fit beside the previous data and what is unpacked
    from `source`, both of which exist when it is made."""
    refuse_short(
        f"unpacking {source} and making a safety set of what it replaces ({expected.reason()})",
        expected.least + unpacked,
        free,
        f"in {folder}",
        f"{free_hint(folder)}, or restore less with --only; or use --safety-first, which makes the "
        "safety set before anything is replaced, but while services are stopped",
    )


def refuse_short(what: str, needed: int, free: int, where: str, hint: str) -> None:
    """Raise RequestError if fewer bytes are free than needed."""
    if free < needed:
        raise RequestError(
            f"{what} needs {size(needed)}, but only {size(free)} is free {where}".rstrip(), hint
        )
