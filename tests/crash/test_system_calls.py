"""Errors and deaths at system calls of a real backup and a real restore, put there by strace."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from quiesce.app.wiring import end_host_processes
from tests.support.checkout import wait_until
from tests.support.place import ONE_VOLUME, Place
from tests.support.programs import require_programs
from tests.support.sampling import chance

#: What is made of each call, and how often it is tried with `--long` (in the normal run: sample).
FAULTS = {
    "openat": ("error=ENOSPC", "error=EMFILE", "error=EACCES", "signal=SIGKILL"),
    "write": ("error=ENOSPC", "error=EIO", "signal=SIGKILL"),
    "fsync": ("error=EIO", "signal=SIGKILL"),
    "rename": ("error=ENOSPC", "signal=SIGKILL"),
    "renameat2": ("error=EIO", "signal=SIGKILL"),
    "unlink": ("error=EACCES", "signal=SIGKILL"),
    "connect": ("error=ECONNREFUSED",),
}
RUNS = {
    "backup": ("backup",),
    "restore": ("restore", "--file", "latest", "--yes", "--no-safety"),
}
SAMPLE = {
    ("backup", "openat", "error=ENOSPC"), ("backup", "write", "error=EIO"),
    ("backup", "fsync", "signal=SIGKILL"), ("restore", "rename", "signal=SIGKILL"),
    ("restore", "openat", "error=EMFILE"), ("backup", "renameat2", "signal=SIGKILL"),
}  # fmt: skip
CASES = [
    pytest.param(
        run, call, fault, id=f"{run}-{call}-{fault}",
        marks=() if (run, call, fault) in SAMPLE else pytest.mark.long,
    )
    for run in RUNS for call, faults in FAULTS.items() for fault in faults
]  # fmt: skip
#: At how many points each is tried, and without `--long`.
POINTS, FEW = 4, 2


@dataclass
class Counts:
    """How many points were tried, and at how many all was kept."""

    tried: int = 0
    kept: int = 0


counts = Counts()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The stack, up, with one good set, and other data live."""
    require_programs(["strace"], ["strace"])
    made = Place(tmp_path, ONE_VOLUME)
    try:
        made.succeed("up")
        (made.volume("media") / "upload").write_text("old")
        made.succeed("backup")
        (made.volume("media") / "upload").write_text("new")
        yield made
    finally:
        end_host_processes(tmp_path)


def traced(place: Place, call: str, inject: str, arguments: tuple[str, ...]) -> tuple[int, str]:
    """Run a task under strace; return its exit code and what it said."""
    log = place.folder / "strace.log"
    more = ["-e", f"inject={call}:{inject}"] if inject else []
    argv = ["strace", "-qq", "-o", str(log), "-e", f"trace={call}", *more]
    ended = subprocess.run(
        [*argv, sys.executable, "-m", "invoke", *arguments],
        cwd=place.folder, env=place.environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stdout + ended.stderr


def points(place: Place, call: str, arguments: tuple[str, ...], count: int) -> list[int]:
    """Return some ordinals of the call, all of them after the journal was begun."""
    code, said = traced(place, f"openat,{call}", "", arguments)
    assert code == 0, said
    lines = (place.folder / "strace.log").read_text().splitlines()
    begun = next(
        i for i, line in enumerate(lines) if re.search(r'\.runs/local/\d+-\w+\.jsonl"', line)
    )
    ordinals = [i for i, line in enumerate(lines) if line.startswith(f"{call}(")]
    after = [number + 1 for number, line in enumerate(ordinals) if line > begun]
    numbers = chance(f"system calls {call} {arguments}")
    return sorted(numbers.sample(after, min(count, len(after))))


def calls_in(place: Place, call: str) -> int:
    """How many of these calls the last traced run made."""
    lines = (place.folder / "strace.log").read_text().splitlines()
    return sum(line.startswith(f"{call}(") for line in lines)


def sets(place: Place) -> list[str]:
    """The sets that are listed."""
    return sorted(path.parent.name for path in place.folder.glob("backups/*/manifest.json"))


@pytest.mark.parametrize(("run", "call", "fault"), CASES)
def test_at_a_system_call(place: Place, run: str, call: str, fault: str, everything: bool) -> None:
    """Services run, older sets are good, what is live is wholly old or new, nothing stays."""
    upload = place.volume("media") / "upload"
    first = sets(place)[0]
    for number in points(place, call, RUNS[run], POINTS if everything else FEW):
        counts.tried += 1
        upload.write_text("new")
        before = sets(place)
        code, said = traced(place, call, f"{fault}:when={number}", RUNS[run])
        where = f"{run}, {fault} at {call} {number}: {said}"
        if code == 0 and calls_in(place, call) < number:
            # A later run can make fewer of these calls than the first one, which was counted.
            counts.tried -= 1
            continue
        assert "Traceback" not in said, where
        if fault == "signal=SIGKILL":
            assert code == -9, where
            # The guard may be at it already.
            place.succeed("recover", "--yes", "--wait", "60")
        else:
            assert code in (0, 2, 3, 4), where
            if code == 4:
                place.succeed("recover", "--yes")
        wait_until(lambda: place.running() == {"web"}, f"web after {where}")
        assert upload.read_text() in ("old", "new"), where
        assert first in sets(place), where
        assert set(before) <= set(sets(place)), where
        place.succeed("verify", "--all")
        assert not list(place.folder.glob("backups/.staging/*")), where
        assert [p.name for p in upload.parent.iterdir()] == ["upload"], where
        counts.kept += 1


def test_the_count() -> None:
    """All that was tried was kept."""
    print(f"system calls: {counts.tried} points tried, {counts.kept} kept")
    assert counts.kept == counts.tried
    assert os.environ.get("CI") != "true" or counts.tried > 0
