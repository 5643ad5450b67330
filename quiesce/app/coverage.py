"""Names data that is in no set, and data that a restore does not bring back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quiesce.app.leftovers import leftovers
from quiesce.model import BackupSet
from quiesce.plan.coverage import of_kinds
from quiesce.undeclared import Contents, find_undeclared

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quiesce.execute.run import Ports
    from quiesce.model import RestoreSource, Stack, Undeclared, UndeclaredKind
    from quiesce.observed import Observed
    from quiesce.plan.restore_request import RestoreRequest


def left_databases(stack: Stack, ports: Ports) -> tuple[str, ...]:
    """Return the names of databases that earlier runs could not drop."""
    return tuple(one.database for one in leftovers(stack, ports) if one.database)


def undeclared_now(
    stack: Stack,
    ports: Ports,
    seen: Observed,
    kinds: Sequence[UndeclaredKind],
    left: Sequence[str] = (),
) -> tuple[Undeclared, ...]:
    """Return existing data of these kinds that stack.yaml neither names nor excludes. `left` are
    databases that do not count. Nothing in a temporary copy of a stack."""
    if stack.instance.throwaway:
        return ()
    found = find_undeclared(
        stack,
        seen.services,
        [volume for volume in seen.volumes if volume.exists],
        [name for name in seen.undeclared_databases if name not in left],
        local=seen.engine.local,
        contents=Contents(ports.runtime, ports.volumes) if "file" in kinds else None,
    )
    return of_kinds(found, kinds)


def warn_of(ports: Ports, found: Sequence[Undeclared]) -> None:
    """Warn about data that the new set will lack."""
    for one in found:
        ports.sink.warn(f"{one.words} {one.fact}: the set will not contain it")


def left_behind(
    stack: Stack, ports: Ports, seen: Observed, source: RestoreSource, request: RestoreRequest
) -> tuple[str, ...]:
    """Return what a restore of a whole set does not bring back, in words: what the set lacks, and
    what exists here and is not in it.

    Nothing for a selection, because the user requested it, and for single files.
    """
    partial = request.only or request.path or request.beside
    if not isinstance(source, BackupSet) or partial or stack.instance.throwaway:
        return ()
    lacking = source.manifest.undeclared
    lines = [f"{one.words} was not in stack.yaml when the set was made" for one in lacking]
    lines += _not_in(stack, seen, source, request)
    known = {(one.kind, one.name) for one in lacking}
    kinds: tuple[UndeclaredKind, ...] = ("volume", "path", "file", "database")
    lines += [
        f"{one.words} is not in stack.yaml, so no set contains it"
        for one in undeclared_now(stack, ports, seen, kinds, left_databases(stack, ports))
        if (one.kind, one.name) not in known
    ]
    return tuple(lines)


def _not_in(
    stack: Stack, seen: Observed, source: BackupSet, request: RestoreRequest
) -> Iterator[str]:
    """Yield data that is backed up and exists here, but is not in the set."""
    if source.manifest.mode != "cold":
        for state in seen.databases:
            if state.exists and state.key not in source.database_keys:
                yield f"database {state.key} is not in the set and stays as it is"
    if request.data_only:
        return
    present = {state.key for state in seen.volumes if state.exists} - set(source.volume_keys)
    for volume in stack.volumes:
        if volume.backup == "files" and volume.key in present:
            yield f"volume {volume.key} is not in the set and stays as it is"
