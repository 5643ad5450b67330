"""Which earlier runs tell the downtime of the next one, and how it is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quiesce.app.outlook import with_downtime
from quiesce.execute.run import DowntimeMeter
from quiesce.model import Downtime, Stack
from quiesce.plan.backup import BackupRequest, plan_backup
from quiesce.plan.expected import Expected
from quiesce.plan.outlook import Outlook, last
from tests.support.builders import RUN, a_stack, a_world

ALL = ["proxy", "frontend", "backend", "redis"]


def report(stack: Stack, number: int, **fields: object) -> None:
    """Write the report of an earlier run."""
    document = {
        "run": f"20261120-02000{number}-abcdef",
        "task": "backup",
        "started_at": f"2026-11-20T02:00:0{number}+00:00",
        "seconds": 9.0,
        "ok": True,
        "exit_code": 0,
        "downtime_seconds": {"overall": float(number), "services": dict.fromkeys(ALL, 1.0)},
        **fields,
    }
    folder = stack.backups / ".reports" / stack.instance.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{document['run']}-{document['task']}.json").write_text(json.dumps(document))


def expected(stack: Stack) -> tuple[float, ...]:
    """The downtimes in the plan of a backup of everything."""
    plan = plan_backup(stack, a_world(), BackupRequest(), RUN, "core-20261121-020000")
    return with_downtime(stack, plan).outlook.downtimes


def test_the_last_three_runs_count(tmp_path: Path) -> None:
    """Oldest first; without a report nothing is said."""
    stack = a_stack(tmp_path)
    assert expected(stack) == ()
    for number in range(1, 6):
        report(stack, number)
    assert expected(stack) == (3.0, 4.0, 5.0)


@pytest.mark.parametrize(
    "other",
    [
        {"task": "restore"},
        {"ok": False, "exit_code": 3},
        {"downtime_seconds": {"overall": 9.0, "services": {"redis": 9.0}}},
        {"downtime_seconds": {"overall": 0.0, "services": dict.fromkeys(ALL, 0.0)}},
        {"downtime_seconds": None},
        {"downtime_seconds": {"overall": "?", "services": ALL}},
    ],
)
def test_a_run_that_was_another_one_says_nothing(tmp_path: Path, other: dict[str, object]) -> None:
    """Another task, a failure, other services, nothing measured, or nothing that can be read."""
    stack = a_stack(tmp_path)
    report(stack, 1)
    report(stack, 2, **other)
    assert expected(stack) == (1.0,)


def test_a_set_that_failed_a_check_was_made_all_the_same(tmp_path: Path) -> None:
    """Exit code 7 says that something is wrong with it, not with its window."""
    stack = a_stack(tmp_path)
    report(stack, 1, ok=False, exit_code=7)
    assert expected(stack) == (1.0,)


def test_the_same_services_are_needed() -> None:
    """In any order."""
    spans = [(frozenset("ab"), 2.0), (frozenset("a"), 9.0), (frozenset("ba"), 1.0)]
    assert last(spans, ("b", "a")) == (1.0, 2.0)
    assert last(spans, ()) == ()


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ((3.2,), ("about 3.2 s", "as in the last run")),
        ((3.21, 3.19), ("about 3.2 s", "as in the last 2 runs")),
        ((4.0, 2.0, 75.0), ("2.0 s to 1 min 15 s", "as in the last 3 runs")),
    ],
)
def test_a_downtime_is_said_as_a_span(spans: tuple[float, ...], said: tuple[str, str]) -> None:
    """The shortest and the longest, unless they read the same."""
    assert Outlook(downtimes=spans).lines() == ((f"services will be down for {said[0]}", said[1]),)


def test_nothing_known_is_nothing_said() -> None:
    """What is known of the space only, is said alone."""
    assert Outlook().lines() == ()
    (line,) = Outlook(Expected(1, 2 << 20, unknown=("media",)), 3 << 20).lines()
    assert line == (
        "the set needs about 2.0 MiB; 3.0 MiB is free",
        "judging by the size of the data; the size of media is unknown",
    )


def test_a_service_is_back_when_it_was_first_healthy_again() -> None:
    """A restore waits again for what it has started; only another stop counts anew."""
    meter = DowntimeMeter()
    for service, at in (("web", 10.0), ("db", 11.0)):
        meter.stopping(service, at)
    meter.healthy("web", 12.0)
    meter.healthy("web", 14.0)
    meter.healthy("other", 99.0)
    assert meter.result() == Downtime(2.0, {"web": 2.0})
    meter.stopping("web", 20.0)
    assert meter.result() == Downtime(0.0, {})
    meter.healthy("web", 21.0)
    meter.healthy("db", 13.5)
    assert meter.result() == Downtime(11.0, {"web": 11.0, "db": 2.5})
