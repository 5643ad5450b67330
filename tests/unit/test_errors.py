"""Errors of other systems become ours in one way."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import pytest

from quiesce.errors import QuiesceError, RequestError, translate_errors
from quiesce.file_errors import translate_write_errors


def _of_values(error: Exception) -> QuiesceError | None:
    return RequestError("translated", "do this") if isinstance(error, ValueError) else None


def test_an_error_of_the_table_is_replaced_and_stays_its_cause() -> None:
    """`--debug` then shows what the other system said."""
    with pytest.raises(RequestError, match="translated") as failure, translate_errors(_of_values):
        raise ValueError("said by another system")
    assert isinstance(failure.value.__cause__, ValueError)


def test_a_cause_can_be_kept_out_of_the_traceback() -> None:
    """For a driver whose own text may hold more than a person should see."""
    with (
        pytest.raises(RequestError) as failure,
        translate_errors(_of_values, show_cause=False),
    ):
        raise ValueError("secret")
    assert "secret" not in "".join(traceback.format_exception(failure.value))


@pytest.mark.parametrize("error", [KeyError("x"), QuiesceError("x"), KeyboardInterrupt()])
def test_every_other_error_leaves_the_block_as_it_is(error: BaseException) -> None:
    """The same object, without a cause that it did not have."""
    with pytest.raises(type(error)) as failure, translate_errors(_of_values):
        raise error
    assert failure.value is error
    assert error.__cause__ is None


def test_a_file_that_cannot_be_written_is_named_with_the_reason_and_the_hint() -> None:
    """The file the system names, else the folder."""
    for named, shown in (("/data/file", "/data/file"), (None, "/data")):
        with pytest.raises(QuiesceError) as failure, translate_write_errors(Path("/data")):
            raise OSError(errno.ENOSPC, "", named)
        assert failure.value.fact == f"cannot write {shown}: No space left on device"
        assert failure.value.hint.startswith("free some space")
