"""The steps of a backup that find data which stack.yaml neither names nor excludes. Pure.

The set is published, verified and pushed anyway, and counts for retention. Then the run ends with
exit code 7, until that data is declared or excluded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quiesce.model import Manifest, Mode, SetKind, Stack, Undeclared, UndeclaredKind
from quiesce.plan.steps import CheckUndeclared, FindUndeclared, Node, Plan

_MOST_NAMED = 5


def kinds_of(kind: SetKind, mode: Mode, only: Sequence[str]) -> tuple[UndeclaredKind, ...]:
    """Return the kinds of data that a set is to contain completely: none for a selection, only
    databases for a set without files, and only volumes, folders and files for a cold copy, which
    contains whole servers.
    """
    if only:
        return ()
    if kind != "full":
        return ("database",)
    files: tuple[UndeclaredKind, ...] = ("volume", "path", "file")
    return files if mode == "cold" else (*files, "database")


def of_kinds(
    found: Iterable[Undeclared], kinds: Sequence[UndeclaredKind]
) -> tuple[Undeclared, ...]:
    """Return the data of these kinds, without duplicates."""
    return tuple(dict.fromkeys(one for one in found if one.kind in kinds))


def find_step(
    stack: Stack,
    set_name: str,
    kinds: Sequence[UndeclaredKind],
    before: Sequence[Undeclared],
    ignored: Sequence[str] = (),
) -> tuple[Node, ...]:
    """Return the step that looks again before the set is published; `before` was found at the
    start. There is none in a temporary copy of a stack, because its original is checked."""
    if not kinds or stack.instance.throwaway:
        return ()
    found = of_kinds(before, kinds)
    why = "the set records which data it lacks"
    return (FindUndeclared(set_name, tuple(kinds), found, tuple(ignored), why),)


def check_step(stack: Stack, set_name: str, kinds: Sequence[UndeclaredKind]) -> tuple[Node, ...]:
    """Return the last step of a backup: it fails if something was found."""
    if not kinds or stack.instance.throwaway:
        return ()
    return (CheckUndeclared(set_name, "data that stack.yaml does not mention is in no set"),)


def at_the_end(plan: Plan, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return the nodes of a plan with others appended. The check for undeclared data stays last,
    because it must not prevent other steps."""
    last = tuple(node for node in plan.nodes if isinstance(node, CheckUndeclared))
    return (*(node for node in plan.nodes if node not in last), *nodes, *last)


def undeclared_words(found: Sequence[Undeclared]) -> str:
    """Return a list of what was found."""
    named = [one.words for one in found[:_MOST_NAMED]]
    more = len(found) - len(named)
    return ", ".join([*named, *([f"and {more} more"] if more else [])])


def what_it_covers(manifest: Manifest) -> str:
    """Return what a set contains in words, for sentences about it."""
    databases = [record.key for record in manifest.databases]
    volumes = [record.key for record in manifest.volumes if record.noun == "volume"]
    paths = [record.key for record in manifest.volumes if record.noun == "path"]
    parts = [
        f"{noun if len(keys) == 1 else f'{noun}s'} {', '.join(keys)}"
        for noun, keys in (("database", databases), ("volume", volumes), ("path", paths))
        if keys
    ]
    return " and ".join(parts) or "nothing"
