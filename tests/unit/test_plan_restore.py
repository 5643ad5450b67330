"""What a restore refuses before anything is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quiesce.errors import RequestError
from quiesce.observed import Observed
from quiesce.plan.restore import RestoreRequest, plan_restore
from tests.support.builders import RUN, a_set, a_stack, a_world


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
