"""Steps that empty, remove or rebuild."""

from __future__ import annotations

import os
from pathlib import Path

from quiesce.execute.handlers.registry import handles
from quiesce.execute.handlers.volumes import refuse_foreign_writers
from quiesce.execute.run import Run
from quiesce.plan import steps as s


@handles(s.BuildServices)
def build(step: s.BuildServices, run: Run) -> str:
    run.ports.project.build(step.services)
    return ""


@handles(s.RemoveProject)
def remove_project(step: s.RemoveProject, run: Run) -> str:
    run.ports.project.remove_project()
    return ""


@handles(s.EmptyVolume)
def empty_volume(step: s.EmptyVolume, run: Run) -> str:
    state = run.observed.volume(step.volume)
    if state.exists:
        refuse_foreign_writers(step.volume, run)
        run.ports.volumes.empty(state)
    return ""


@handles(s.EmptyPath)
def empty_path(step: s.EmptyPath, run: Run) -> str:
    folder = Path(step.path)
    base = run.stack.directory
    if folder.is_absolute():
        base, folder = Path(os.path.realpath(folder.parent)), Path(folder.name)
    gone = run.ports.volumes.empty_folder(base, folder)
    return f"{gone} entries"


@handles(s.RemoveVolume)
def remove_volume(step: s.RemoveVolume, run: Run) -> str:
    run.ports.project.remove_volume(step.name)
    return ""
