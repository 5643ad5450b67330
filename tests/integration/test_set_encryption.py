"""Sets encrypted and decrypted on disk, and what a death in the middle leaves."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest

from quiesce.adapters.sets.local import LocalStore
from quiesce.errors import QuiesceError
from quiesce.model import BackupSet, Recipients
from tests.support.builders import NOW, RUN, a_set
from tests.support.programs import require_programs

NAME = "core-20261127-020000"
CONTENT = {"databases/rulesdb.dump": b"rows" * 1000, "volumes/media.tar": b"content of files" * 9}


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """A key for age, in a file."""
    file = tmp_path / "key.txt"
    file.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    return file


@pytest.fixture
def gpg_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A key of this user's gpg, whose folder is short enough for its agent's socket."""
    require_programs(["gnupg"], ["gpg"])
    home = Path(tempfile.mkdtemp(prefix="qgpg-"))
    monkeypatch.setenv("GNUPGHOME", str(home))
    made = ["--quick-generate-key", "tester@example.org", "default", "default", "never"]
    subprocess.run(
        ["gpg", "--batch", "--passphrase", "", "--pinentry-mode", "loopback", *made],
        check=True, capture_output=True,
    )  # fmt: skip
    yield "tester@example.org"
    subprocess.run(["gpgconf", "--kill", "all"], check=False, capture_output=True)
    shutil.rmtree(home)


def age(identity: Path) -> Recipients:
    """Whoever has the key in this file."""
    key = pyrage.x25519.Identity.from_str(identity.read_text().strip()).to_public()
    return Recipients(age=(str(key),), gpg=())


def sealed(store: LocalStore, recipients: Recipients) -> BackupSet:
    """Publish a set of `CONTENT`, encrypted."""
    staged = store.open(RUN, NAME)
    measured = []
    for file, content in CONTENT.items():
        (staged / file).write_bytes(content)
        kind = "database" if file.endswith(".dump") else "volume"
        plain = store.measure(RUN, NAME, file, kind, Path(file).stem)
        measured.append(store.encrypt(RUN, NAME, plain, recipients))
    made = replace(
        a_set(NAME).manifest,
        members=tuple(one.member for one in measured),
        created_at=NOW,
        name=NAME,
        encryption=recipients.method,
    )
    backup = store.seal(RUN, made, {}, measured)
    store.discard(RUN)
    return backup


def require_same(store: LocalStore, backup: BackupSet, identity: Path | None) -> None:
    """It decrypts to what went in, privately, and goes with its run."""
    assert not any(
        content[:20] in path.read_bytes()
        for path in backup.path.rglob("*") if path.is_file()
        for content in CONTENT.values()
    )  # fmt: skip
    plain = store.decrypted("reading", backup, identity, lambda *_: None)
    assert {m.file: (plain.path / m.file).read_bytes() for m in plain.manifest.members} == CONTENT
    for path in plain.path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    store.discard("reading")
    assert not plain.path.exists()


def test_age_there_and_back(tmp_path: Path, identity: Path) -> None:
    """With the key only."""
    store = LocalStore(tmp_path / "backups")
    require_same(store, sealed(store, age(identity)), identity)


def test_gpg_there_and_back(tmp_path: Path, gpg_key: str) -> None:
    """With the keys that gpg has."""
    store = LocalStore(tmp_path / "backups")
    require_same(store, sealed(store, Recipients(age=(), gpg=(gpg_key,))), None)


def test_a_member_in_the_place_of_another_is_refused(tmp_path: Path, identity: Path) -> None:
    """Both decrypt well; neither is what was encrypted under that name."""
    store = LocalStore(tmp_path / "backups")
    backup = sealed(store, age(identity))
    one, two = (backup.path / member.file for member in backup.manifest.members)
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    with pytest.raises(QuiesceError, match="does not contain what was encrypted"):
        store.decrypted("reading", backup, identity, lambda *_: None)


DECRYPT = """
import os, pathlib, sys
from quiesce.adapters.sets.local import LocalStore
store = LocalStore(pathlib.Path(sys.argv[1]))
(backup,) = store.sets()
store.decrypted("reading", backup, pathlib.Path(sys.argv[2]), lambda *_: None)
print("there", flush=True)
sys.stdin.read()
"""


def test_what_a_dead_reader_left_is_seen_and_removed(tmp_path: Path, identity: Path) -> None:
    """While it lives nobody touches its scratch; dead, it is found unless it has a journal."""
    store = LocalStore(tmp_path / "backups")
    sealed(store, age(identity))
    reader = subprocess.Popen(
        [sys.executable, "-c", DECRYPT, str(store.folder), str(identity)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reader.stdin
    assert reader.stdout
    try:
        assert reader.stdout.readline() == "there\n"
        assert store.abandoned(()) == ()
    finally:
        reader.send_signal(signal.SIGKILL)
        reader.wait()
        reader.stdin.close()
        reader.stdout.close()
    staging = store.folder / ".staging"
    assert list(staging.rglob("*.dump")), "nothing was in the clear: this tries nothing"
    assert store.abandoned({"reading"}) == ()
    assert store.abandoned(()) == ("reading",)
    store.discard("reading")
    assert list(staging.iterdir()) == []
