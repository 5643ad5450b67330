"""Determines the Compose project of an instance, if stack.yaml leaves that to Compose."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quiesce.errors import QuiesceError, RequestError
from quiesce.plan.project_name import choose_project

if TYPE_CHECKING:
    from quiesce.model import Stack


def resolve_project(stack: Stack, *, anyhow: bool = False, patient: bool = False) -> Stack:
    """Return the stack with its project name on the engine.

    The engine is asked only if stack.yaml names no project and Compose would choose another name
    than Quiesce. An engine that does not answer is an error only for `patient`; others that need it
    report that themselves. With `anyhow`, an unclear name becomes that of a new stack: a recovery
    uses what its run stopped.
    """
    instance = stack.instance
    others = instance.other_projects
    if not others:
        return stack
    from quiesce.app.wiring import compose_of

    try:
        with compose_of(stack) as runtime:
            traces = runtime.project_traces((instance.project, *others))
    except QuiesceError as error:
        if patient and error.lost_engine:
            raise
        return stack

    def there_is(name: str, kind: str) -> bool:
        found = traces[name]
        # Volumes of another stack's project say nothing about this one.
        return found.containers if kind == "containers" else found.volumes and not found.others

    try:
        project = choose_project(instance.name, instance.project, others, there_is)
    except RequestError:
        if not anyhow:
            raise
        project = instance.project
    return replace(stack, instance=replace(instance, project=project, other_projects=()))
