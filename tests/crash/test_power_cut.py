"""The disk as a power cut leaves it: an image of a file system, copied in the middle of backups."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quiesce.app.wiring import end_host_processes
from tests.support.checkout import wait_until
from tests.support.place import ONE_VOLUME, Place
from tests.support.programs import require_programs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")

CHANCE = random.Random(5)
MEGABYTES = 96
CUTS = [pytest.param(n, marks=() if n < 2 else pytest.mark.long) for n in range(10)]
counts = {"cuts": 0, "sets": 0}


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[None]:
    """The file system of an image, with its journal replayed, as after a boot."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=False, capture_output=True)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The stack, up, with a good set on a file system of its own."""
    require_programs(["e2fsprogs"], ["mkfs.ext4"])
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(MEGABYTES * 1024**2)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    made = Place(tmp_path, ONE_VOLUME)
    (tmp_path / "backups").mkdir(mode=0o700)
    with mounted(image, tmp_path / "backups"):
        (tmp_path / "backups" / "lost+found").rmdir()
        try:
            made.succeed("up")
            (made.volume("media") / "upload").write_bytes(CHANCE.randbytes(100_000))
            made.succeed("backup")
            yield made
        finally:
            end_host_processes(tmp_path)


@pytest.mark.parametrize("cut", CUTS)
def test_every_set_that_is_listed_after_a_power_cut_is_good(place: Place, cut: int) -> None:
    """Whatever was under way: what is listed verifies, the older set is there, the rest goes."""
    (place.volume("media") / "upload").write_bytes(CHANCE.randbytes(3_000_000))
    first = next(place.folder.glob("backups/local-*")).name
    running = place.start_inv("backup")
    # Somewhere in the middle: chance says how far the copy has got.
    staged = place.folder / "backups" / ".staging"
    wanted = CHANCE.randrange(1, 3_000_000)

    def far_enough() -> bool:
        size = sum(p.stat().st_size for p in staged.rglob("*") if p.is_file())
        return size >= wanted or running.poll() is not None

    wait_until(far_enough, "a backup under way")
    copy = place.folder / "after.img"
    shutil.copyfile(place.folder / "disk.img", copy)
    running.wait()
    after = place.folder / "after"
    with mounted(copy, after):
        listed = sorted(p.parent.name for p in after.glob("local-*/manifest.json"))
        assert first in listed
        (place.folder / "boot").mkdir()
        other = Place(place.folder / "boot", ONE_VOLUME)
        shutil.rmtree(other.folder / "backups", ignore_errors=True)
        (other.folder / "backups").symlink_to(after)
        other.succeed("verify", "--all")
        counts["cuts"] += 1
        counts["sets"] += len(listed)


def test_the_count() -> None:
    """How much was tried."""
    print(f"power cuts: {counts['cuts']}, after which {counts['sets']} listed sets verified")
