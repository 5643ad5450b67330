"""A mark on the engine that says from where a project is being changed.

The lock is a file beside the sets, so a second clone of the stack, or another machine, does not
see it. What both see is the engine: a volume of a fixed name, empty, whose label names the place.
Making a volume that is there already changes nothing and returns it, so of two who try at once one
finds the label of the other.

A machine may be renamed, and a folder moved, while something is owed. So the label names the run,
too: who has its journal has made the mark, unless the folder that it was made from is still there.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from pathlib import Path

from quiesce.adapters.compose.engine import (
    LABEL_PROJECT,
    EngineConnection,
    absent,
    translate_engine_errors,
)
from quiesce.errors import Busy

LABEL_PROJECT_LOCK = "quiesce.claim"
LABEL_PROJECT_LOCK_RUN = "quiesce.claim.run"


def make_place(folder: Path) -> str:
    """Return what names this folder of this machine in a mark."""
    return f"{platform.node()}:{folder.resolve()}"


def lock_project(
    connection: EngineConnection, project: str, place: str, run: str, earlier: Collection[str]
) -> None:
    """The project is marked as being changed from `place`, by `run`.

    `earlier` are the runs that have a journal here. Raise Busy naming another place.
    """
    name = _name(project)
    labels = {LABEL_PROJECT_LOCK: place, LABEL_PROJECT_LOCK_RUN: run, LABEL_PROJECT: project}
    with translate_engine_errors(f"{project} cannot be marked on the engine as being changed"):
        connection.api.create_volume(name, labels=labels)
        mark = _mark(connection, name)
        if mark.get(LABEL_PROJECT_LOCK) != place and _is_own(mark, place, earlier):
            connection.api.remove_volume(name)
            connection.api.create_volume(name, labels=labels)
            mark = _mark(connection, name)
    if mark.get(LABEL_PROJECT_LOCK) != place:
        raise Busy(
            f"{project} is being changed from {mark.get(LABEL_PROJECT_LOCK) or 'elsewhere'}, "
            "on the same engine",
            f"wait for it, or let this run wait with --wait SECONDS; should that be over for good "
            f"without its end, look at {project} and run 'docker volume rm {name}'",
        )


def unlock_project(
    connection: EngineConnection, project: str, place: str, earlier: Collection[str]
) -> None:
    """No mark of this place, or of these runs from here, is on the project. Another's stays."""
    name = _name(project)
    with translate_engine_errors(f"the mark on {project} cannot be removed"):
        try:
            if _is_own(_mark(connection, name), place, earlier):
                connection.api.remove_volume(name)
        except Exception as error:
            if not absent(error):
                raise


def _mark(connection: EngineConnection, name: str) -> Mapping[str, str]:
    found: Mapping[str, str] = connection.api.inspect_volume(name).get("Labels") or {}
    return found


def _is_own(mark: Mapping[str, str], place: str, earlier: Collection[str]) -> bool:
    """Whether a mark was made from here, whatever here was called then.

    A copy of a folder has its journals, too; the original, where it can be seen, is another.
    """
    made_at = mark.get(LABEL_PROJECT_LOCK, "")
    if made_at == place:
        return True
    if mark.get(LABEL_PROJECT_LOCK_RUN, "") not in earlier:
        return False
    host, _, original = made_at.partition(":")
    return host != platform.node() or not _is_another(Path(original), Path(place.split(":", 1)[1]))


def _is_another(original: Path, here: Path) -> bool:
    try:
        return original.is_dir() and not here.samefile(original)
    except OSError:
        return True  # somebody else's, where we may not even look


def _name(project: str) -> str:
    return f"quiesce-claim-{project}"
