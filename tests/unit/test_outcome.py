"""What the closing line and the exit code of `inv test` are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import command
from tests.outcome import Outcome, count_files, count_tests, print_summary

RECORD = """<testsuites><testsuite>
<testcase classname="tests.unit.test_order" name="test_a" time="1.5" />
<testcase classname="tests.unit.test_order.TestTies" name="test_b" time="0.5">
  <failure message="no">...</failure></testcase>
<testcase classname="tests.contract.test_store" name="test_c" time="0.1">
  <skipped type="pytest.skip" message="no engine">...</skipped></testcase>
<testcase classname="tests.contract.test_store" name="test_d" time="0.1">
  <error message="fixture">...</error></testcase>
<testcase classname="" name="tests.e2e.test_broken" time="0.0">
  <error message="collection failure">...</error></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A record as pytest writes it."""
    path = tmp_path / "results.xml"
    path.write_text(RECORD)
    return path


def test_each_test_counts_once_in_its_group(record: Path) -> None:
    """Failures, errors of a fixture and modules that cannot be imported are all failed."""
    outcomes = count_tests(record, ["unit", "contract", "e2e"], pytest_code=1)
    counts = [(one.stage, one.passed, one.failed, one.skipped) for one in outcomes]
    assert counts == [("unit", 1, 1, 0), ("contract", 0, 1, 1), ("e2e", 0, 1, 0)]
    assert outcomes[0].seconds == 2.0
    assert outcomes[1].skips == [("tests.contract.test_store.test_c", "no engine")]


@pytest.mark.parametrize("code", [-11, 1, 2, 3, 4])
def test_a_run_that_ended_badly_never_counts_as_passed(tmp_path: Path, code: int) -> None:
    """Killed, interrupted, or failed without saying which test it was."""
    outcomes = count_tests(tmp_path / "absent.xml", ["unit"], pytest_code=code)
    assert sum(one.failed for one in outcomes) == 1


@pytest.mark.parametrize(
    ("outcomes", "code", "line"),
    [
        ([Outcome("lint", 1), Outcome("unit", 5, 0, 2)], 0, "6 passed, 0 failed, 2 skipped"),
        ([Outcome("lint", 0, 1), Outcome("unit", 5)], 1, "5 passed, 1 failed, 0 skipped"),
        ([Outcome("lint", 1), Outcome("unit", 0, 0, 2)], 1, "1 passed, 0 failed, 2 skipped"),
        ([Outcome("lint", 1), Outcome("engine", 0, 1)], 1, "1 passed, 1 failed, 0 skipped"),
        ([], 1, "0 passed, 0 failed, 0 skipped"),
    ],
)
def test_the_last_line_is_the_sum_and_only_a_run_without_failure_is_a_success(
    outcomes: list[Outcome], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run in which no test ran is none either."""
    assert print_summary(outcomes, tests_wanted=True) == code
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_the_slowest_file_comes_first_with_what_it_took_of_the_processors(tmp_path: Path) -> None:
    """Fixtures and the programs a test waited for included; each test adds to its file's group."""
    path = tmp_path / "results.xml"
    properties = '<property name="cpu" value="0.5" /><property name="cpu of programs" value="2" />'
    case = '<testcase classname="tests.{}" name="test_x" time="{}"><properties>{}</properties>'
    cases = [
        case.format("unit.test_quick", 0.1, ""),
        case.format("e2e.test_slow", 4, properties),
        case.format("e2e.test_slow.TestMore", 5, properties),
    ]
    path.write_text(f"<testsuites>{'</testcase>'.join(cases)}</testcase></testsuites>")
    files = [(one.stage, one.seconds, one.cpu) for one in count_files(path)]
    assert files == [("tests/e2e/test_slow", 9.0, 5.0), ("tests/unit/test_quick", 0.1, 0.0)]
    assert [one.cpu for one in count_tests(path, ["unit", "e2e"], pytest_code=0)] == [0.0, 5.0]


def test_a_stage_of_several_groups_counts_all_of_them(record: Path) -> None:
    """As the stage of an engine does."""
    whole = Outcome("docker-28.5", seconds=9.0)
    for part in count_tests(record, ["unit", "contract", "e2e"], pytest_code=1):
        whole.add(part)
    assert (whole.passed, whole.failed, whole.skipped, whole.seconds) == (1, 3, 1, 9.0)
    assert [reason for _, reason in whole.skips] == ["no engine"]


@pytest.mark.parametrize(
    ("request_", "hint"),
    [
        ({"engine": "docker-1"}, "HINT: use docker-20.10, docker-26.1, docker-28.5, "),
        ({"engine": "podman-5.8", "quick": True}, "HINT: give --engine without them"),
    ],
)
def test_an_engine_that_cannot_be_meant_is_refused(
    capsys: pytest.CaptureFixture[str], request_: dict[str, Any], hint: str
) -> None:
    """Before anything is installed or run."""
    assert command.main(**request_) == 2
    assert hint in capsys.readouterr().err
