"""What is typed at, and what runs to its end: only a person gets a terminal and a pager."""

from __future__ import annotations

import pytest

from quiesce.adapters.postgres.shell import runs_to_its_end


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], False),
        (["-c", "SELECT 1"], True),
        (["-cSELECT 1"], True),
        (["-XAtc", "SELECT 1"], True),
        (["--command=SELECT 1"], True),
        (["-f", "x.sql"], True),
        (["-l"], True),
        (["-X"], False),
        (["-v", "-c"], False),
        (["-vc=1"], False),
        (["-F", "-f", "-x"], False),
        (["--set", "--file"], False),
        (["-P", "pager=off", "-c", "SELECT 1"], True),
    ],
)
def test_arguments_say_whether_psql_ends_by_itself(argv: list[str], expected: bool) -> None:
    """A value of another option is none, whatever it looks like."""
    assert runs_to_its_end(argv) is expected
