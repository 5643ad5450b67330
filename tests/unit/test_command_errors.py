"""What leaves a task is told plainly, whatever it is."""

from __future__ import annotations

import errno

import pytest

from quiesce.errors import StepFailed
from quiesce.menu.command import _plainly


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE, errno.EIO, errno.EACCES])
def test_what_the_machine_refuses_is_no_mistake_of_ours(number: int) -> None:
    """Exit 3 with the file and the reason, not the place in our code."""
    failure = _plainly(OSError(number, "refused", "/proc/stat"))
    assert isinstance(failure, StepFailed)
    assert "/proc/stat" in failure.fact
    assert failure.hint


def test_what_nobody_thought_of_is_unexpected() -> None:
    """Its text may quote a secret: only its place is told."""
    for error in (ValueError("secret"), OSError(errno.EINVAL, "secret")):
        failure = _plainly(error)
        assert failure.exit_code == 1
        assert "secret" not in failure.fact
