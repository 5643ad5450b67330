"""The Compose project name of a stack if stack.yaml does not set it. Pure.

A wrong name would start the stack a second time: with new volumes all data would seem lost, with
the same volumes a second server would start on live data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quiesce.errors import RequestError


def choose_project(
    instance: str, preferred: str, others: Sequence[str], there_is: Callable[[str, str], bool]
) -> str:
    """Return the project's name.

    `preferred` is the name for a new stack, `others` are other names that this stack may have: the
    instance's name, or Compose's default. `there_is(name, kind)` tells whether `containers` of this
    stack's Compose files exist in that project, or `volumes` with its keys. Raise RequestError if
    it is ambiguous.
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
