"""Sets on a real file system: published whole, checked to the byte, removed invisible-first."""

from __future__ import annotations

import json
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from quiesce.adapters.sets.local import LocalStore
from quiesce.errors import RequestError
from quiesce.model import SetState
from tests.support.builders import RUN
from tests.support.sets import publish_a_set


def _tell(text: str, done: int) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store in a folder that does not exist yet."""
    return LocalStore(tmp_path / "backups")


def test_a_set_is_listed_only_once_it_is_sealed(store: LocalStore) -> None:
    """Work in progress is no set."""
    staged = store.open(RUN, "core-20261121-020000")
    (staged / "databases" / "rulesdb.dump").write_bytes(b"half")
    assert store.sets() == ()
    store.discard(RUN)
    sealed = publish_a_set(store)
    assert [s.name for s in store.sets()] == [sealed.name]
    assert store.verify(sealed, _tell) == ()


def test_everything_is_private(store: LocalStore) -> None:
    """Folders 0700 and files 0600, whatever the umask says."""
    before = os.umask(0)
    try:
        sealed = publish_a_set(store)
    finally:
        os.umask(before)
    for path in (store.folder, sealed.path, *sealed.path.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_publishing_never_replaces(store: LocalStore) -> None:
    """Not even an empty folder, which rename(2) would replace without a word."""
    (store.folder / "core-20261121-020000").mkdir(parents=True)
    with pytest.raises(Exception, match="cannot write"):
        publish_a_set(store)


def test_sealing_twice_finds_the_set_there(store: LocalStore) -> None:
    """A repeated step reaches the same goal."""
    sealed = publish_a_set(store)
    assert store.seal(RUN, sealed.manifest, {}) == sealed


def test_removing_leaves_nothing(store: LocalStore) -> None:
    """Neither the set nor what was remembered of it."""
    sealed = publish_a_set(store)
    store.remember(sealed.name, SetState(pinned=True))
    assert store.sets()[0].state.pinned
    store.remove(sealed.name)
    store.remove(sealed.name)
    assert store.sets() == ()
    assert not list(store.folder.rglob(f"*{sealed.name}*"))


def _change_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    index = random.Random(7).randrange(len(data))
    data[index] ^= 1
    path.write_bytes(data)


def _swap_members(sealed: Path) -> None:
    first, second = sealed / "databases/rulesdb.dump", sealed / "volumes/m.0.tar.zst"
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)


MUTILATIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "added": (lambda s: (s / "extra").write_text("x"), "extra: is not part of the set"),
    "missing": (lambda s: (s / "databases/rulesdb.dump").unlink(), "databases/rulesdb.dump"),
    "appended": (
        lambda s: (s / "volumes/m.0.tar.zst").write_bytes(b"v" * 9 + b"x"),
        "volumes/m.0.tar.zst: has 10 bytes instead of 9",
    ),
    "truncated": (
        lambda s: (s / "databases/rulesdb.dump").write_bytes(b"d" * 4999),
        "databases/rulesdb.dump: has 4999 bytes",
    ),
    "flipped": (
        lambda s: _change_byte(s / "databases/rulesdb.dump"),
        "databases/rulesdb.dump: its content has changed",
    ),
    "swapped": (_swap_members, "databases/rulesdb.dump: has 9 bytes"),
    "document changed": (lambda s: (s / "RESTORE.md").write_text("rm -rf /"), "RESTORE.md"),
    "document missing": (lambda s: (s / "RESTORE.md").unlink(), "RESTORE.md"),
    "sums missing": (lambda s: (s / "SHA256SUMS").unlink(), "SHA256SUMS: is missing"),
    "member is a link": (
        lambda s: (
            (s / "databases/rulesdb.dump").rename(s.parent / "elsewhere"),
            (s / "databases/rulesdb.dump").symlink_to(s.parent / "elsewhere"),
        ),
        "databases/rulesdb.dump",
    ),
}


@pytest.mark.parametrize("name", MUTILATIONS)
def test_a_mutilated_set_is_named_by_its_member(store: LocalStore, name: str) -> None:
    """Every kind of damage is found, and said in words a person can act on."""
    sealed = publish_a_set(store)
    mutilate, message = MUTILATIONS[name]
    mutilate(sealed.path)
    wrong = store.verify(sealed, _tell)
    assert any(problem.startswith(message) for problem in wrong), wrong


def test_an_edited_manifest_is_found(store: LocalStore) -> None:
    """Its own sum is in SHA256SUMS."""
    sealed = publish_a_set(store)
    file = sealed.path / "manifest.json"
    raw = json.loads(file.read_text())
    raw["label"] = "edited"
    file.write_text(json.dumps(raw))
    assert any("manifest.json" in problem for problem in store.verify(sealed, _tell))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(format=2), "has format 2"),
        (lambda raw: raw.pop("format"), "has format None"),
        (lambda raw: raw["members"][0].update(file="../../etc/passwd"), "names '../../etc/passwd'"),
        (lambda raw: raw["members"][0].update(file="/etc/passwd"), "names '/etc/passwd'"),
        (lambda raw: raw.update(name="other"), "contains the set other"),
        (lambda raw: raw.update(kind="rubbish"), "is damaged"),
    ],
)
def test_a_hostile_or_foreign_manifest_is_no_set(
    store: LocalStore, change: Callable[[dict[str, object]], object], message: str
) -> None:
    """It is refused by name, and listed as unreadable with the reason."""
    sealed = publish_a_set(store)
    file = sealed.path / "manifest.json"
    raw = json.loads(file.read_text())
    change(raw)
    file.write_text(json.dumps(raw))
    with pytest.raises(RequestError, match=message):
        store.read(sealed.path)
    assert store.sets() == ()
    assert store.unreadable()[0][0] == sealed.name


def test_a_state_that_cannot_be_read_is_an_empty_one(store: LocalStore) -> None:
    """What is remembered beside a set never hides the set."""
    sealed = publish_a_set(store)
    store.remember(sealed.name, SetState(pinned=True))
    (store.folder / ".state" / f"{sealed.name}.json").write_text("{")
    assert store.sets()[0].state == SetState()
