"""A mark on the engine that says from where a project is being changed.

The lock is a file beside the sets, so a second clone of the stack, or another machine, does not
see it. What both see is the engine: a volume of a fixed name, empty, whose label names the place.
Making a volume that is there already changes nothing and returns it, so of two who try at once one
finds the label of the other.
"""

from __future__ import annotations

from quiesce.adapters.compose_engine import LABEL_PROJECT, EngineConnection, absent, told
from quiesce.errors import Busy

LABEL_CLAIM = "quiesce.claim"


def claim(connection: EngineConnection, project: str, place: str) -> None:
    """The project is marked as being changed from `place`. Raise Busy naming another place."""
    name = _name(project)
    labels = {LABEL_CLAIM: place, LABEL_PROJECT: project}
    with told(f"{project} cannot be marked on the engine as being changed"):
        connection.api.create_volume(name, labels=labels)
        there = _place(connection, name)
    if there != place:
        raise Busy(
            f"{project} is being changed from {there or 'elsewhere'}, on the same engine",
            f"wait for it, or let this run wait with --wait SECONDS; should that be over for good "
            f"without its end, look at {project} and run 'docker volume rm {name}'",
        )


def disclaim(connection: EngineConnection, project: str, place: str) -> None:
    """No mark of this place is on the project. Somebody else's stays."""
    name = _name(project)
    with told(f"the mark on {project} cannot be removed"):
        try:
            if _place(connection, name) == place:
                connection.api.remove_volume(name)
        except Exception as error:
            if not absent(error):
                raise


def _place(connection: EngineConnection, name: str) -> str:
    labels = connection.api.inspect_volume(name).get("Labels") or {}
    return str(labels.get(LABEL_CLAIM, ""))


def _name(project: str) -> str:
    return f"quiesce-claim-{project}"
