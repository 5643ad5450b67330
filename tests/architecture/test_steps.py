"""A new step costs two places: its class with its sentence, and its handler."""

from __future__ import annotations

import dataclasses

import pytest

from quiesce.execute.handlers import HANDLERS
from quiesce.plan.steps import Step


def test_every_step_is_a_frozen_dataclass_with_a_reason() -> None:
    """A journal holds it, a plan prints it, and nobody changes it on the way."""
    for kind in Step.kinds.values():
        assert dataclasses.is_dataclass(kind), kind
        with pytest.raises(dataclasses.FrozenInstanceError):
            object.__new__(kind).why = "changed"
        assert [field.name for field in dataclasses.fields(kind)][-1] == "why", kind


def test_every_step_has_a_handler() -> None:
    """A plan that can be printed can be carried out."""
    assert set(HANDLERS) == set(Step.kinds.values())


def test_every_step_has_a_sentence() -> None:
    """A step that is carried out can be printed."""
    assert [kind for kind in Step.kinds.values() if "sentence" not in vars(kind)] == []
