"""A safety set that cannot be made after its restore: what was replaced stays, until it is.

On the host runtime, with real PostgreSQL and a real small disk for the sets.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from quiesce.app.backups_folder import runs_folder
from quiesce.execute import journal, pending
from quiesce.plan.pending import safety_sets
from tests.support.counting import Counting
from tests.support.kills import (
    TASKS,
    inv,
    leftovers,
    mark,
    marks,
    positions,
    positions_of,
    require_kept,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")

ROOMY = 200_000_000
ROWS, WIDTH = 30, 100_000


@pytest.fixture(scope="module")
def counting() -> Iterator[Counting]:
    """A stack with a small set, and a disk of its own for its sets."""
    with Counting.temporary() as made:
        (made.folder / "backups").mkdir(mode=0o700, exist_ok=True)
        mount(made, ROOMY)
        try:
            made.begin()
            mark(made, "in the set")
            assert made.inv("backup").returncode == 0
            yield made
        finally:
            subprocess.run(
                ["umount", "--lazy", made.folder / "backups"], check=False, capture_output=True
            )


def mount(stack: Counting, size: int, *, again: bool = False) -> None:
    """Put a file system of this size under `backups/`, or change its size."""
    options = f"{'remount,' if again else ''}size={size // 1024}k,mode=0700"
    argv = ["mount", "-t", "tmpfs", "-o", options, "none", str(stack.folder / "backups")]
    subprocess.run(argv, check=True)


def fill(stack: Counting, left: int) -> None:
    """Leave so many bytes on the disk of the sets."""
    disk = os.statvfs(stack.folder / "backups")
    mount(stack, (disk.f_blocks - disk.f_bfree) * disk.f_frsize + left, again=True)


def grow(stack: Counting) -> None:
    """Add 3 MB that do not compress to a database: no set has told of them yet."""
    chance = random.Random(5)
    stack.sql("rulesdb", "CREATE TABLE IF NOT EXISTS noise (bytes bytea)")
    stack.sql("rulesdb", "DELETE FROM noise")
    for _ in range(ROWS):
        value = chance.randbytes(WIDTH).hex()
        stack.sql("rulesdb", f"INSERT INTO noise VALUES (decode('{value}', 'hex'))")


def rows_of_noise(stack: Counting) -> int:
    """How many of those rows are live."""
    there = stack.sql("rulesdb", "SELECT to_regclass('noise') IS NOT NULL")[0][0]
    return int(stack.sql("rulesdb", "SELECT count(*) FROM noise")[0][0]) if there else 0


def waiting(stack: Counting) -> list[str]:
    """The safety sets that are still to be made."""
    notes, _ = pending.read_all(runs_folder(stack.session().stack))
    return [made.set for note in notes for made in safety_sets(note.steps)]


def restored_on_a_full_disk(stack: Counting, word: str) -> subprocess.CompletedProcess[str]:
    """Restore the first set where the one of the replaced data does not fit."""
    mount(stack, ROOMY, again=True)
    first = stack.sets()[0].name
    grow(stack)
    mark(stack, word)
    fill(stack, 1_500_000)
    return stack.inv("restore", "--file", first, "--yes")


def test_on_a_full_disk_the_previous_data_stays_and_comes_back_by_renames(
    counting: Counting,
) -> None:
    """Exit 4 says what to do; a backup is still possible; `undo-restore` needs no space."""
    ended = restored_on_a_full_disk(counting, "before the full disk")
    assert ended.returncode == 4, ended.stdout + ended.stderr
    assert "the restored data is in use" in ended.stderr
    hint = ended.stderr.partition("HINT:")[2]
    assert "inv recover" in hint
    assert "inv undo-restore" in hint
    assert marks(counting) == {"in the set"}
    (name,) = waiting(counting)
    assert name not in [found.name for found in counting.sets()]
    assert any("__old_" in one for one in leftovers(counting))
    # Nothing half-made takes the space that is missing.
    assert not list(counting.folder.glob("backups/.staging/*/*"))
    again = counting.inv("recover")
    assert again.returncode == 4, again.stderr
    assert waiting(counting) == [name]
    undone = counting.inv("undo-restore", "--yes")
    assert marks(counting) == {"before the full disk"}, undone.stderr
    assert rows_of_noise(counting) == ROWS
    # The data that the undo replaced fits: its set was made, and nothing is left.
    assert undone.returncode == 0, undone.stdout + undone.stderr
    assert waiting(counting) == []
    require_kept(counting, {})


def test_with_room_again_the_set_is_made_of_the_moment_of_the_exchange(counting: Counting) -> None:
    """By `recover`, or by any later run; then the previous data is removed."""
    assert restored_on_a_full_disk(counting, "replaced").returncode == 4
    (name,) = waiting(counting)
    folder = runs_folder(counting.session().stack)
    (note,) = pending.read_all(folder)[0]
    instant = journal.exchanged_at(folder, note.plan.run)
    mount(counting, ROOMY, again=True)
    done = counting.inv("recover")
    assert done.returncode == 0, done.stderr
    assert waiting(counting) == []
    (made,) = [found for found in counting.sets() if found.name == name]
    assert made.manifest.created_at == instant
    assert made.manifest.safety
    assert made.manifest.consistent
    assert "as of the moment of the exchange" in (made.path / "RESTORE.md").read_text()
    require_kept(counting, {})
    undone = counting.inv("undo-restore", "--yes")
    assert undone.returncode == 0, undone.stderr
    assert marks(counting) == {"replaced"}
    assert rows_of_noise(counting) == ROWS


def test_a_second_restore_does_not_lose_what_the_first_one_replaced(counting: Counting) -> None:
    """Each keeps its own, and both sets are made when there is room."""
    assert restored_on_a_full_disk(counting, "first").returncode == 4
    mark(counting, "second")
    again = counting.inv("restore", "--file", counting.sets()[0].name, "--yes")
    assert again.returncode == 0, again.stderr
    assert len(waiting(counting)) == 1
    mount(counting, ROOMY, again=True)
    assert counting.inv("recover").returncode == 0
    require_kept(counting, {})
    for word in ("second", "first"):
        newest = [found for found in counting.sets() if found.manifest.safety]
        by_time = sorted(newest, key=lambda found: found.manifest.created_at)
        chosen = by_time[-1 if word == "second" else -2].name
        assert counting.inv("restore", "--file", chosen, "--no-safety", "--yes").returncode == 0
        assert marks(counting) == {word}


def test_what_a_full_disk_left_is_not_removed_by_any_task(counting: Counting) -> None:
    """Not by a backup, a prune or another restore's end."""
    assert restored_on_a_full_disk(counting, "kept").returncode == 4
    there = {one for one in leftovers(counting) if "__old_" in one}
    assert there
    for task in (["prune", "--yes"], ["backup", "--only", "memorydb"], ["status"], ["check"]):
        counting.inv(*task)
        assert there <= set(leftovers(counting)), task
    report = json.loads(counting.inv("status", "--json").stdout)
    assert waiting(counting)[0] in json.dumps(report)
    mount(counting, ROOMY, again=True)
    assert counting.inv("recover").returncode == 0


@pytest.mark.parametrize("kind", ["PutBackDatabases", "PutBackVolume", "ForgetPending"])
def test_a_killed_undo_by_renames_leaves_one_state(counting: Counting, kind: str) -> None:
    """Wholly restored or wholly undone, with the way back kept in both cases."""
    word = f"killed in {kind}"
    assert restored_on_a_full_disk(counting, word).returncode == 4
    planned = counting.inv("undo-restore", "--yes", "--dry-run", "--json")
    steps = positions_of(json.loads(planned.stdout)["plan"])
    at = next(at for at, step in steps.items() if step == kind)
    died = inv(counting, "after", at, "undo-restore", "--yes")
    assert died.returncode == -signal.SIGKILL, died.stderr
    inv(counting, "never", "-", "recover")
    undone = kind == "ForgetPending"
    assert marks(counting) == ({word} if undone else {"in the set"})
    mount(counting, ROOMY, again=True)
    recovered = inv(counting, "never", "-", "recover")
    assert recovered.returncode == 0, recovered.stderr
    require_kept(counting, {})
    assert inv(counting, "never", "-", "undo-restore", "--yes").returncode == 0
    assert marks(counting) == ({"in the set"} if undone else {word})


def test_data_that_somebody_removed_by_hand_is_no_longer_waited_for(counting: Counting) -> None:
    """As `nuke` does; otherwise something would be pending for ever."""
    assert restored_on_a_full_disk(counting, "given up").returncode == 4
    for name in leftovers(counting):
        if "__old_" in name:
            counting.sql("memorydb", f'DROP DATABASE "{name}" WITH (FORCE)')
        elif name.startswith(".quiesce-"):
            shutil.rmtree(counting.volume("numbers") / name)
    mount(counting, ROOMY, again=True)
    recovered = counting.inv("recover")
    assert recovered.returncode == 0, recovered.stderr
    assert "longer exists" in recovered.stdout + recovered.stderr
    assert waiting(counting) == []
    require_kept(counting, {})


@pytest.mark.parametrize("when", ["before", "after"])
def test_undo_works_after_a_kill_between_the_start_and_the_seal(
    counting: Counting, when: str
) -> None:
    """Right away, without a `recover` before: it makes the set, then restores it."""
    mount(counting, ROOMY, again=True)
    mark(counting, f"killed {when}")
    at = next(at for at, kind in positions(counting, "restore").items() if kind == "SealSet")
    died = inv(counting, when, at, *TASKS["restore"])
    assert died.returncode == -signal.SIGKILL
    undone = counting.inv("undo-restore", "--yes")
    assert undone.returncode == 0, undone.stderr
    assert marks(counting) == {f"killed {when}"}
    require_kept(counting, {})


def test_a_safety_set_that_cannot_fit_is_known_before_anything_stops(counting: Counting) -> None:
    """Exit 2 with the numbers; the other order is offered, and works. The last test here: from its
    backup on, the size of the database is known."""
    mount(counting, ROOMY, again=True)
    grow(counting)
    assert counting.inv("backup").returncode == 0
    mark(counting, "live")
    first = counting.sets()[0].name
    fill(counting, 1_500_000)
    with counting.session().observed() as (_, seen):
        before = {unit.id for unit in seen.running}
    refused = counting.inv("restore", "--file", first, "--yes")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "making a safety set of what it replaces" in refused.stderr
    assert "only 1" in refused.stderr
    assert "--safety-first" in refused.stderr.partition("HINT:")[2]
    with counting.session().observed() as (_, seen):
        assert {unit.id for unit in seen.running} == before
    failed = counting.inv("restore", "--file", first, "--safety-first", "--yes")
    assert failed.returncode == 3, failed.stdout + failed.stderr
    assert marks(counting) == {"live"}
    mount(counting, ROOMY, again=True)
    done = counting.inv("restore", "--file", first, "--safety-first", "--yes")
    assert done.returncode == 0, done.stderr
    assert marks(counting) == {"in the set"}
    require_kept(counting, {})
