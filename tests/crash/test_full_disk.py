"""A disk that fills up in the middle of a backup or a restore: a real small file system."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.app.wiring import end_host_processes
from tests.support.place import ONE_VOLUME, Place

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")

CHANCE = random.Random(11)
SIZE = 2_000_000
TRIALS = [
    pytest.param(number, marks=() if number < 2 else pytest.mark.long) for number in range(10)
]
kept = {"backup": 0, "restore": 0}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The stack, up, with a small set on a disk of its own."""
    made = Place(tmp_path, ONE_VOLUME)
    (tmp_path / "backups").mkdir(mode=0o700)
    try:
        yield made
    finally:
        end_host_processes(tmp_path)
        subprocess.run(["umount", "--lazy", tmp_path / "backups"], check=False, capture_output=True)


def mount(place: Place, size: int, *, again: bool = False) -> None:
    """Put a file system of this size under `backups/`, or change its size."""
    options = f"{'remount,' if again else ''}size={size // 1024}k,mode=0700"
    argv = ["mount", "-t", "tmpfs", "-o", options, "none", str(place.folder / "backups")]
    subprocess.run(argv, check=True)


def state(place: Place) -> tuple[set[str], list[str]]:
    """What runs, and which sets are listed."""
    return place.running(), sorted(
        p.parent.name for p in place.folder.glob("backups/*/manifest.json")
    )


@pytest.mark.parametrize("trial", TRIALS)
def test_a_backup_on_a_full_disk_leaves_everything_as_it_was(place: Place, trial: int) -> None:
    """Exit 3 and the reason; services run, older sets are good, nothing half-made stays."""
    mount(place, 20 * SIZE)
    place.succeed("up")
    (place.volume("media") / "upload").write_bytes(CHANCE.randbytes(5_000))
    place.succeed("backup")
    before = state(place)
    used = sum(p.stat().st_blocks * 512 for p in (place.folder / "backups").rglob("*"))
    mount(place, used + CHANCE.randrange(20_000, SIZE), again=True)
    (place.volume("media") / "upload").write_bytes(CHANCE.randbytes(SIZE))
    failed = place.inv("backup")
    # 2: not even the journal could be begun, so nothing was.
    assert failed.returncode in (2, 3, 4), failed.stdout + failed.stderr
    assert "space" in failed.stderr.lower()
    assert "Traceback" not in failed.stderr
    mount(place, 20 * SIZE, again=True)
    if failed.returncode == 4:  # the journal could not say that all was settled
        place.succeed("recover", "--yes")
    assert state(place) == before
    assert not list(place.folder.glob("backups/.staging/*"))
    place.succeed("verify", "--all")
    place.succeed("backup")
    assert len(state(place)[1]) == len(before[1]) + 1
    kept["backup"] += 1


@pytest.mark.parametrize("trial", TRIALS)
def test_a_restore_on_a_full_disk_leaves_what_was_live(place: Place, trial: int) -> None:
    """The volume's disk is full: what is live stays, and no folder of ours in it."""
    place.succeed("up")
    volume = place.volume("media")
    options = f"size={(SIZE + CHANCE.randrange(100_000, SIZE)) // 1024}k"
    (volume / "upload").write_bytes(CHANCE.randbytes(SIZE))
    place.succeed("backup")
    place.succeed("stop")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", volume], check=True)
    try:
        live = CHANCE.randbytes(SIZE)
        (volume / "upload").write_bytes(live)
        place.succeed("start")
        failed = place.inv("restore", "--file", "latest", "--yes", "--no-safety")
        assert failed.returncode in (2, 3), failed.stdout + failed.stderr
        assert "space" in failed.stderr.lower()
        assert place.running() == {"web"}
        assert (volume / "upload").read_bytes() == live
        assert sorted(path.name for path in volume.iterdir()) == ["upload"]
        kept["restore"] += 1
    finally:
        place.inv("stop")
        subprocess.run(["umount", "--lazy", volume], check=False)


def test_the_count() -> None:
    """How many trials were kept."""
    print(f"full disk: {kept['backup']} backups and {kept['restore']} restores, all kept")
