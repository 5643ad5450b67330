"""Maps each kind of step to its handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quiesce.execute.run import Run
from quiesce.plan.steps import Step

Handler = Callable[[Any, Run], str]
HANDLERS: dict[type[Step], Handler] = {}


def handles(*kinds: type[Step]) -> Callable[[Handler], Handler]:
    """Register the function as the handler of these kinds of step; each has exactly one."""

    def register(function: Handler) -> Handler:
        for kind in kinds:
            if kind in HANDLERS:
                raise ValueError(f"{kind.__name__} has two handlers")
            HANDLERS[kind] = function
        return function

    return register
