"""A store that somebody else writes to, by the commands people type. No server takes part."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from quiesce.app.wiring import end_host_processes
from tests.support.place import Place

STACK = """\
version: 1
instances:
  local: {{runtime: host, retention: short, stores: [away]}}
services:
  web:
    command: [sleep, '1000']
    cwd: .
    volumes: {{media: MEDIA}}
volumes:
  media: {{purpose: Uploads, priority: critical}}
retention:
  short: {{keep_last: 2}}
stores:
  away: {{url: "file://{store}", retention: short}}
{encrypt}
"""


def make(folder: Path, store: Path, encrypt: str = "") -> Place:
    """A machine with the stack, up, with something in its volume."""
    folder.mkdir()
    store.mkdir(exist_ok=True)
    place = Place(folder, STACK.format(store=store, encrypt=encrypt))
    place.succeed("up")
    return place


@pytest.fixture
def places() -> Iterator[list[Place]]:
    """Every machine of a test; what runs on them is ended."""
    made: list[Place] = []
    try:
        yield made
    finally:
        for place in made:
            end_host_processes(place.folder)


def in_store(store: Path) -> list[str]:
    """The names of the sets that have an index in the store."""
    return sorted(path.parent.name for path in store.glob("local/*/set.json"))


def test_a_set_of_somebody_else_is_not_restored(places: list[Place], tmp_path: Path) -> None:
    """In the clear where sets are encrypted, signed by nobody, or signed with another key."""
    store = tmp_path / "store"
    public = pyrage.x25519.Identity.generate().to_public()
    evil = make(tmp_path / "evil", store)
    places.append(evil)
    (evil.volume("media") / "trojan").write_text("x")
    evil.succeed("backup")
    (name,) = in_store(store)
    here = make(tmp_path / "here", store, f"encrypt: {{age: [{public}]}}")
    places.append(here)
    mine = here.volume("media") / "mine"
    mine.write_text("precious")

    refused = here.inv("restore", "--file", "away:latest", "--yes")
    assert refused.returncode == 2
    assert "is not encrypted, although this installation encrypts its sets" in refused.stderr
    assert mine.exists()

    # From now on this machine has a key of its own.
    here.succeed("backup")
    refused = here.inv("pull", "--file", name, "--accept-unencrypted")
    assert refused.returncode == 2
    assert "it is signed with the key of another installation" in refused.stderr
    index = store / "local" / name / "set.json"
    document = json.loads(index.read_text())
    del document["signature"]
    index.write_text(json.dumps(document))
    refused = here.inv("pull", "--file", name, "--accept-unencrypted")
    assert refused.returncode == 2
    assert "it is not signed" in refused.stderr
    here.succeed("pull", "--file", name, "--accept-unencrypted", "--accept-unsigned")


def test_a_set_that_was_changed_is_not_taken_with_any_flag(
    places: list[Place], tmp_path: Path
) -> None:
    """It was sent from here, and is something else now."""
    store = tmp_path / "store"
    here = make(tmp_path / "here", store)
    places.append(here)
    (here.volume("media") / "upload").write_text("mine")
    here.succeed("backup")
    (name,) = in_store(store)
    shutil.rmtree(here.folder / "backups" / name)
    index = store / "local" / name / "set.json"
    before = index.read_text()
    index.write_text(before.replace('"pinned": false', '"pinned": true'))
    flags = ("--accept-unsigned", "--accept-unencrypted")
    refused = here.inv("restore", "--file", f"away:{name}", "--yes", *flags)
    assert refused.returncode == 2
    assert "its index is not the one that this installation uploaded" in refused.stderr
    assert here.inv("verify", "--store", "away", "--file", name).returncode == 7
    index.write_text(before)
    here.succeed("restore", "--file", f"away:{name}", "--yes")


def test_a_store_keeps_the_good_set_when_later_ones_are_empty(
    places: list[Place], tmp_path: Path
) -> None:
    """Until somebody says that this is right."""
    store = tmp_path / "store"
    here = make(tmp_path / "here", store)
    places.append(here)
    media = here.volume("media") / "photos"
    media.mkdir()
    for number in range(30):
        (media / str(number)).write_bytes(random.Random(number).randbytes(50_000))
    here.succeed("backup")
    (good,) = in_store(store)
    shutil.rmtree(media)
    for _ in range(3):
        here.succeed("backup")
    assert good in in_store(store)
    warned = here.inv("prune", "--store", "away", "--dry-run")
    assert "older sets are kept" in warned.stderr + warned.stdout
    here.succeed("prune", "--store", "away", "--force", "--yes")
    assert good not in in_store(store)
    # What was accepted once is remembered.
    here.succeed("backup")
    assert len(in_store(store)) == 2
