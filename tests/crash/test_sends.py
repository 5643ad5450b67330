"""Deaths and errors at what a real backup and a real restore send to PostgreSQL, by strace."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.counting import ROOT, Counting
from tests.support.kills import TASKS, Tried, inv, manifests, mark, require_kept
from tests.support.programs import require_programs

KILLED = "signal=SIGKILL"
CHANCE = random.Random(6)
#: With `--long`; in the normal run, one of them.
POINTS = 8


@pytest.fixture(scope="module")
def counting() -> Iterator[Counting]:
    """A stack that counts, with a set of it."""
    require_programs(["strace"], ["strace"])
    with Counting.temporary() as made:
        made.begin()
        assert made.inv("backup").returncode == 0
        yield made


def traced(counting: Counting, task: str, *options: str) -> tuple[int, str, list[str]]:
    """Run a task under strace; return its exit code, what it said, and the calls."""
    log = counting.folder / "strace.log"
    argv = ["strace", "-qq", "-o", str(log), "-e", "trace=sendto,openat", *options]
    ended = subprocess.run(
        [*argv, sys.executable, "-m", "invoke", *TASKS[task],
         "--stack", str(counting.folder / "stack.yaml")],
        cwd=ROOT, env={**os.environ, "QUIESCE_GUARD": "off"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stdout + ended.stderr, log.read_text().splitlines()


def points(counting: Counting, task: str) -> list[int]:
    """Return the ordinals of the sends after the journal was begun."""
    code, said, lines = traced(counting, task)
    assert code == 0, said
    journal = re.compile(r'\.runs/core/\d+-\w+\.jsonl"')
    begun = next(i for i, line in enumerate(lines) if journal.search(line))
    sends = [i for i, line in enumerate(lines) if line.startswith("sendto(")]
    after = [number + 1 for number, line in enumerate(sends) if line > begun]
    assert len(after) > POINTS, "hardly anything is sent: this tries nothing"
    return after


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ("backup", KILLED),
        pytest.param("restore", KILLED, marks=pytest.mark.long),
        pytest.param("backup", "error=ECONNRESET", marks=pytest.mark.long),
        pytest.param("restore", "error=EPIPE", marks=pytest.mark.long),
    ],
)
def test_at_a_send(
    counting: Counting, tried: Tried, task: str, fault: str, request: pytest.FixtureRequest
) -> None:
    """Services run, sets are good, what is live is wholly old or new, nothing stays."""
    how_many = POINTS if request.config.getoption("--long") else 1
    for number in CHANCE.sample(points(counting, task), how_many):
        counting.wait_until_it_counts()
        mark(counting, f"{task} {fault} {number}")
        older = manifests(counting)
        code, said, _ = traced(counting, task, "-e", f"inject=sendto:{fault}:when={number}")
        tried.points += 1
        assert "Traceback" not in said, said
        if fault == KILLED:
            assert code == -9, said
        else:
            assert code in (0, 2, 3, 4), said
        if code in (-9, 4):
            recovered = inv(counting, "never", "-", "recover")
            assert recovered.returncode == 0, recovered.stderr
        require_kept(counting, older)
        tried.kept += 1
