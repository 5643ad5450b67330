"""Which Compose project an instance is, where stack.yaml leaves that to Compose."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from quiesce.errors import QuiesceError, RequestError
from quiesce.plan.project_name import choose_project

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiesce.model import Stack


def settle_project(stack: Stack, environ: Mapping[str, str], *, anyhow: bool = False) -> Stack:
    """Return the stack with the project that it is on its engine.

    The engine is asked only where stack.yaml names no project and Compose would take another name
    than Quiesce. One that does not answer tells nothing: whatever needs it will say so. With
    `anyhow`, what is not plain is taken as it always was: a recovery goes by what its run stopped.
    """
    instance = stack.instance
    others = tuple(name for name in instance.other_projects if name != instance.project)
    if not others:
        return stack
    from quiesce.adapters.compose_address import find_address
    from quiesce.adapters.compose_engine import EngineConnection
    from quiesce.adapters.compose_project import find_traces

    def no_way() -> Path:
        raise RequestError("the engine is reached by the docker command alone", "")

    connection = None
    try:
        address = find_address(instance.context, dict(environ or os.environ), Path.home())
        connection = EngineConnection(address, no_way, lambda: "")
        traces = find_traces(connection, stack, (instance.project, *others))
    except QuiesceError:
        return stack
    finally:
        if connection is not None:
            connection.close()

    def exists(name: str, kind: str) -> bool:
        found = traces[name]
        # Volumes of a project that is somebody else's say nothing of this stack.
        return found.containers if kind == "containers" else found.volumes and not found.others

    try:
        project = choose_project(instance.name, instance.project, others, exists)
    except RequestError:
        if not anyhow:
            raise
        project = instance.project
    return replace(stack, instance=replace(instance, project=project, other_projects=()))
