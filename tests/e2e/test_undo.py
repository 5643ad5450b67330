"""Which set `undo-restore` goes back to, by the commands people type."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.app.wiring import end_host_processes
from tests.support.place import ONE_VOLUME, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A stack that runs, with one volume."""
    made = Place(tmp_path, ONE_VOLUME)
    try:
        made.succeed("up")
        yield made
    finally:
        end_host_processes(made.folder)


def as_an_earlier_version_wrote_it(manifest: Path) -> None:
    """Take `safety` out of a manifest, and note its new sum."""
    document = json.loads(manifest.read_text())
    del document["safety"]
    before = hashlib.sha256(manifest.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(document))
    after = hashlib.sha256(manifest.read_bytes()).hexdigest()
    sums = manifest.with_name("SHA256SUMS")
    sums.write_text(sums.read_text().replace(before, after))


@pytest.mark.core
def test_a_label_makes_no_safety_set(place: Place) -> None:
    """Nor in sets of the version before, which did not record what a safety set is."""
    photo = place.volume("media") / "photo"
    photo.write_text("one")
    place.succeed("backup")
    photo.write_text("two")
    place.succeed("restore", "--file", "latest", "--yes")
    photo.write_text("three")
    place.succeed("backup", "--label", "before restore")
    manifests = sorted((place.folder / "backups").glob("*/manifest.json"))
    assert [json.loads(file.read_text())["safety"] for file in manifests] == [False, True, False]

    def back_and_forth() -> None:
        photo.write_text("four")
        place.succeed("undo-restore", "--yes", "--no-restart")
        assert photo.read_text() == "two"
        place.succeed("restore", "--file", "latest", "--yes", "--no-safety", "--no-restart")
        assert photo.read_text() == "three"

    back_and_forth()
    (undone,) = set((place.folder / "backups").glob("*/manifest.json")) - set(manifests)
    assert json.loads(undone.read_text())["safety"]
    shutil.rmtree(undone.parent)
    for file in manifests:
        as_an_earlier_version_wrote_it(file)
    back_and_forth()
