"""The project lock: a marker on the engine that names who is changing a project.

The run lock is a file in the backups folder, which a second clone of the stack, or another machine,
does not see. Both see the engine: the lock is an empty volume with a fixed name, whose label names
its owner. Creating a volume that exists changes nothing and returns it: if two runs try at once,
one of them finds the label of the other.

While a run is pending, the machine may be renamed or the folder moved. So the label also names the
run: whoever has its journal owns the lock, unless the folder that created it still exists.
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
    """Return the text that identifies this folder of this machine in a lock."""
    return f"{platform.node()}:{folder.resolve()}"


def lock_project(
    connection: EngineConnection, project: str, place: str, run: str, earlier: Collection[str]
) -> None:
    """Lock the project for `place` and `run`.

    `earlier` are the runs that have a journal here. Raise Busy naming another owner.
    """
    name = _name(project)
    labels = {LABEL_PROJECT_LOCK: place, LABEL_PROJECT_LOCK_RUN: run, LABEL_PROJECT: project}
    with translate_engine_errors(f"{project} cannot be locked on the engine"):
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
            "wait until it has ended, or use --wait SECONDS; if it died and cannot be recovered, "
            f"check the state of {project}, then run 'docker volume rm {name}'",
        )


def unlock_project(
    connection: EngineConnection, project: str, place: str, earlier: Collection[str]
) -> None:
    """Remove the lock if this place, or one of these earlier runs, owns it."""
    name = _name(project)
    with translate_engine_errors(f"the lock on {project} cannot be removed"):
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
    """Whether a lock was taken from here, even under a former name.

    A copy of a folder has its journals too; if the original still exists, the lock belongs to that.
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
        return True  # not accessible: assume that it belongs to another user


def _name(project: str) -> str:
    return f"quiesce-claim-{project}"
