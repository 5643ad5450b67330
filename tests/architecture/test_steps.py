"""Every step has a handler, a sentence and a place in the union."""

from __future__ import annotations

import dataclasses
from typing import get_args

from quiesce.execute.handlers import HANDLERS
from quiesce.plan import describe, steps


def _step_classes() -> set[type]:
    return {
        value
        for value in vars(steps).values()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and value.__module__ == steps.__name__
        and value not in (steps.Bracket, steps.Plan)
    }


def test_every_step_class_is_in_the_vocabulary() -> None:
    """The union is what a journal can hold."""
    assert _step_classes() == set(get_args(steps.Step))


def test_every_step_has_a_handler() -> None:
    """A plan that can be printed can be carried out."""
    assert set(HANDLERS) == _step_classes()


def test_every_step_has_a_sentence() -> None:
    """A step that is carried out can be printed."""
    assert set(describe.SENTENCES) == _step_classes()
