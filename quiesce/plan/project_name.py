"""Which Compose project a stack is, where stack.yaml does not say. Pure.

A stack must never begin a second life beside the one it has: with other volumes everything would
seem to be lost, with the same volumes a second server would start on live data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quiesce.errors import RequestError


def choose_project(
    instance: str, preferred: str, others: Sequence[str], there_is: Callable[[str, str], bool]
) -> str:
    """Return the project's name.

    `preferred` is what a new stack gets, `others` what this one may be called as well: the
    instance's name, or what Compose alone would call it. `there_is(name, kind)` says whether there
    are `containers` of this stack's Compose files in that project, or `volumes` of its keys.
    Raise RequestError where it is not plain which one is meant.
    """
    names = (preferred, *others)
    for kind in ("containers", "volumes"):
        used = [name for name in names if there_is(name, kind)]
        if len(used) > 1 and kind == "containers":
            raise RequestError(
                f"containers of this Compose file run in several projects: {', '.join(used)}",
                f"add 'project:' with the right one to instance {instance} in stack.yaml",
            )
        if preferred in used or used == [instance]:
            return preferred if preferred in used else instance
        if used:
            raise RequestError(
                f"stack.yaml sets no project for instance {instance}, but {kind} of this stack "
                f"belong to project {used[0]}",
                f"add 'project: {used[0]}' to instance {instance} in stack.yaml",
            )
    return preferred
