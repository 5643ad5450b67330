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

    The engine is asked unless stack.yaml names the project. If the engine does not answer, this is
    an error only if `patient`; otherwise the first step that needs the engine reports it. With
    `anyhow`, an unclear name becomes that of a new stack: a recovery uses what its run stopped.
    """
    instance = stack.instance
    if instance.runtime != "compose" or instance.project_from == "stack.yaml":
        return stack
    from quiesce.app.wiring import compose_of

    names = (instance.project, *instance.other_projects)
    try:
        with compose_of(stack) as runtime:
            traces = runtime.project_traces(names)
    except QuiesceError as error:
        if patient and error.lost_engine:
            raise
        return stack
    try:
        project = choose_project(instance.name, names, traces, instance.siblings)
    except RequestError:
        if not anyhow:
            raise
        project = instance.project
    return replace(stack, instance=replace(instance, project=project, other_projects=()))
