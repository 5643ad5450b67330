"""A backup that cannot fit is refused before anything stops: real PostgreSQL, a real small disk."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.amounts import size
from quiesce.app.wiring import end_host_processes
from quiesce.plan.expected import OWN
from tests.support.counting import Counting

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")

ROWS, WIDTH = 30, 100_000


@pytest.fixture(scope="module")
def full() -> Iterator[Counting]:
    """A stack with 3 MB that do not compress in a database, one set, and 900 kB left for sets."""
    # Not pytest's own: the embedded server of root runs as another user, who has to get in.
    folder = Path(tempfile.mkdtemp(prefix="qroom-"))
    folder.chmod(0o755)
    made = Counting.make(folder / "app")
    (made.folder / "backups").mkdir(mode=0o700, exist_ok=True)
    try:
        mount(made, 200_000_000)
        made.begin()
        chance = random.Random(5)
        made.sql("rulesdb", "CREATE TABLE noise (bytes bytea)")
        for _ in range(ROWS):
            value = chance.randbytes(WIDTH).hex()
            made.sql("rulesdb", f"INSERT INTO noise VALUES (decode('{value}', 'hex'))")
        first = made.inv("backup")
        assert first.returncode == 0, first.stderr
        mount(made, used(made) + 900_000, again=True)
        yield made
    finally:
        end_host_processes(made.folder)
        subprocess.run(
            ["umount", "--lazy", made.folder / "backups"], check=False, capture_output=True
        )
        shutil.rmtree(folder, ignore_errors=True)


def mount(stack: Counting, size: int, *, again: bool = False) -> None:
    """Put a file system of this size under `backups/`, or change its size."""
    options = f"{'remount,' if again else ''}size={size // 1024}k,mode=0700"
    argv = ["mount", "-t", "tmpfs", "-o", options, "none", str(stack.folder / "backups")]
    subprocess.run(argv, check=True)


def used(stack: Counting) -> int:
    """The bytes that are taken on the disk of the sets."""
    disk = os.statvfs(stack.folder / "backups")
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize


def units(stack: Counting) -> set[str]:
    """The processes of the services; one that was stopped since has another id."""
    with stack.session().observed() as (_, seen):
        return {unit.id for unit in seen.running}


def test_nothing_stops_for_a_set_that_cannot_fit(full: Counting) -> None:
    """Exit 2 with both numbers, as a dry run and a real run; every process is the one before."""
    before, sets = units(full), [found.name for found in full.sets()]
    for options in (("--dry-run",), ()):
        refused = full.inv("backup", *options)
        assert refused.returncode == 2, refused.stdout + refused.stderr
        needed = f"needs {size(full.sets()[0].bytes + OWN)}, but only 8"
        assert needed in refused.stderr, refused.stderr
        assert f"judging by {sets[0]}" in refused.stderr
        assert "nothing was stopped" in refused.stderr.partition("HINT:")[2]
    assert units(full) == before
    assert [found.name for found in full.sets()] == sets
    assert not list(full.folder.glob("backups/.staging/*"))


def test_check_says_that_the_next_set_does_not_fit(full: Counting) -> None:
    """An error, so the exit code is 7."""
    checked = full.inv("check", "--json")
    assert checked.returncode == 7
    (found,) = [f for f in findings(checked.stdout) if f["subject"] == "free space"]
    assert found["level"] == "error"
    assert f"needs about {size(int(full.sets()[0].bytes * 1.2) + OWN)}" in found["fact"]


def test_a_shutdown_stops_nothing_either(full: Counting) -> None:
    """It makes a set of the rows after its first stop."""
    before = units(full)
    refused = full.inv("shutdown", "--full", "--yes")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "nothing was stopped" in refused.stderr
    assert units(full) == before


def test_a_set_that_is_small_enough_is_made_on_the_same_disk(full: Counting) -> None:
    """What is refused is the set, not every set."""
    made = full.inv("backup", "--only", "memorydb,numbers")
    assert made.returncode == 0, made.stdout + made.stderr
    assert {r.key for r in full.sets()[-1].manifest.databases} == {"memorydb"}


def test_a_set_that_may_fit_is_made_with_a_warning(full: Counting) -> None:
    """There is room for the set as it was, and none for growth; it is made, and services stop."""
    before = units(full)
    mount(full, used(full) + OWN + int(full.sets()[0].bytes * 1.1), again=True)
    made = full.inv("backup")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "it may not fit" in made.stdout + made.stderr
    assert units(full) != before


def test_the_dry_run_says_what_it_needs_and_how_long_it_takes(full: Counting) -> None:
    """From the runs before: the downtime of the same services, and the size of the last set."""
    mount(full, 200_000_000, again=True)
    text = full.inv("backup", "--dry-run").stdout
    assert f"judging by {full.sets()[-1].name}" in text
    assert "services will be down for " in text
    down, again = (
        "--- start of the window: these services are stopped: counter\n",
        "these services run again\n",
    )
    assert down in text
    assert text.index(down) < text.index("stop counter") < text.index(again)
    assert text.index(again) < text.index("dump database rulesdb")
    outlook = json.loads(full.inv("backup", "--dry-run", "--json").stdout)["plan"]["outlook"]
    assert outlook["downtimes"] == [s.manifest.downtime_seconds.overall for s in full.sets()]
    assert outlook["room"]["about"] < outlook["free_bytes"]


def findings(text: str) -> list[dict[str, str]]:
    """The findings of `check --json`."""
    found = json.loads(text)["findings"]
    assert isinstance(found, list)
    return found
