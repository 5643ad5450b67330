"""What a restore refuses before anything is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quiesce.errors import RequestError
from quiesce.observed import Observed
from quiesce.plan.restore import plan_restore
from quiesce.plan.restore_request import RestoreRequest
from tests.support.builders import RUN, a_cold_set, a_set, a_stack, a_world


def _shared(key: str) -> Observed:
    world = a_world()
    volumes = (
        replace(state, outside=("stranger",)) if state.key == key else state
        for state in world.volumes
    )
    return replace(world, volumes=tuple(volumes))


def test_a_volume_that_a_stranger_uses_is_not_exchanged() -> None:
    """It would work on half of the old and half of the new; other volumes may come back."""
    world = _shared("backend-media")
    with pytest.raises(RequestError, match="used by stranger") as failure:
        plan_restore(a_stack(), world, a_set(), RestoreRequest(), RUN, "safety", ())
    assert "--only" in failure.value.hint
    others = RestoreRequest(only=("redis-data",))
    assert plan_restore(a_stack(), world, a_set(), others, RUN, "safety", ()).nodes


def test_a_new_name_is_for_one_database_and_is_free() -> None:
    """`--as` replaces nothing."""
    for request, taken in (
        (RestoreRequest(beside="then"), ()),
        (RestoreRequest(only=("rulesdb",), beside="rulesdb"), ()),
        (RestoreRequest(only=("rulesdb",), beside="then"), ("then",)),
        (RestoreRequest(only=("rulesdb",), beside="x" * 64), ()),
        (RestoreRequest(only=("rulesdb",), beside=" then"), ()),
    ):
        with pytest.raises(RequestError):
            plan_restore(a_stack(), a_world(), a_set(), request, RUN, "safety", taken)


@pytest.mark.parametrize(
    ("request_", "fact"),
    [
        (RestoreRequest(path="a"), "needs exactly one volume"),
        (
            RestoreRequest(only=("backend-media", "redis-data"), path="a"),
            "needs exactly one volume",
        ),
        (
            RestoreRequest(only=("rulesdb", "backend-media"), path="a"),
            "needs exactly one volume",
        ),
        (RestoreRequest(only=("backend-media",), path="../a"), "is not a valid path in a volume"),
        (RestoreRequest(only=("backend-media",), path="/etc"), "is not a valid path in a volume"),
        (RestoreRequest(only=("backend-media",), path="a//b"), "is not a valid path in a volume"),
        (RestoreRequest(only=("backend-media",), path="a\nb"), "is not a valid path in a volume"),
        (
            RestoreRequest(only=("backend-media",), path=".quiesce-20260101000000-0001/old"),
            "is not a valid path in a volume",
        ),
    ],
)
def test_a_piece_is_of_one_volume_and_inside_of_it(request_: RestoreRequest, fact: str) -> None:
    """A path from a command line leads nowhere else."""
    with pytest.raises(RequestError, match=fact):
        plan_restore(a_stack(), a_world(), a_set(), request_, RUN, "safety", ())


def test_a_piece_needs_a_volume_that_is_there_and_no_server_s() -> None:
    """Half of a data directory is worse than none."""
    request = RestoreRequest(only=("backend-media",), path="a")
    gone = a_world(missing_volumes=("backend-media",))
    with pytest.raises(RequestError, match="does not exist"):
        plan_restore(a_stack(), gone, a_set(), request, RUN, "safety", ())
    cold = a_cold_set()
    (cluster,) = cold.manifest.clusters
    request = RestoreRequest(only=(cluster.volume,), path="base")
    with pytest.raises(RequestError, match="only be restored as a whole"):
        plan_restore(a_stack(), a_world(), cold, request, RUN, "safety", ())
