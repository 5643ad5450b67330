"""A set that was changed in any way is refused by verify and by restore, before anything stops."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quiesce.app.wiring import end_host_processes
from tests.support.place import Place

STACK = """\
version: 1
instances:
  local: {runtime: host, retention: short}
services:
  web:
    command: [sleep, '1000']
    cwd: .
    volumes: {media: MEDIA, other: OTHER}
volumes:
  media: {purpose: Uploads, priority: critical}
  other: {purpose: More of them, priority: critical}
retention:
  short: {keep_last: 3}
"""
MEDIA, OTHER = "volumes/media.0.tar.zst", "volumes/other.0.tar.zst"
CLUSTER = {
    "volume": "media",
    "directory": "/etc",
    "version": "15",
    "state": "shut down",
    "open": False,
    "system_identifier": "1",
    "checkpoint": "0/0",
}
CHANCE = random.Random(7)


@dataclass(frozen=True)
class Mutilation:
    """What is done to a set, and the member that has to be named."""

    names: str
    do: Callable[[Path], object]


def _replace_bytes(folder: Path) -> None:
    """Same size, other content, at random places."""
    content = bytearray((folder / MEDIA).read_bytes())
    for _ in range(3):
        content[CHANCE.randrange(len(content))] ^= CHANCE.randrange(1, 256)
    (folder / MEDIA).write_bytes(content)


def _truncate(folder: Path) -> None:
    size = (folder / MEDIA).stat().st_size
    os.truncate(folder / MEDIA, CHANCE.randrange(size))


def _append(folder: Path) -> None:
    with (folder / MEDIA).open("ab") as file:
        file.write(b"\0")


def _swap(folder: Path) -> None:
    (folder / MEDIA).rename(folder / "x")
    (folder / OTHER).rename(folder / MEDIA)
    (folder / "x").rename(folder / OTHER)


def _edit_manifest(folder: Path) -> None:
    """Only the manifest: its sum tells."""
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"label": ""', '"label": "mine"'))


def _with_format(number: int) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        """With the sum of the manifest set right again, as a real one of that format has it."""
        path, sums = folder / "manifest.json", folder / "SHA256SUMS"
        old = hashlib.sha256(path.read_bytes()).hexdigest()
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": number}))
        new = hashlib.sha256(path.read_bytes()).hexdigest()
        sums.write_text(sums.read_text().replace(old, new))

    return edit


def _point_elsewhere(folder: Path) -> None:
    (folder / MEDIA).unlink()
    (folder / MEDIA).symlink_to("/etc/passwd")


def _naming(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """With the sums set right: what a store that somebody else writes to can make of a set."""

    def edit(folder: Path) -> None:
        path, sums = folder / "manifest.json", folder / "SHA256SUMS"
        old = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))
        new = hashlib.sha256(path.read_bytes()).hexdigest()
        sums.write_text(sums.read_text().replace(old, new))

    return edit


def _of_media(**fields: object) -> Callable[[Path], None]:
    def change(manifest: dict[str, Any]) -> None:
        record = next(entry for entry in manifest["volumes"] if entry["key"] == "media")
        record.update(fields)

    return _naming(change)


def _of_member(**fields: object) -> Callable[[Path], None]:
    return _naming(lambda manifest: manifest["members"][0].update(fields))


MUTILATIONS = {
    "an archive elsewhere": Mutilation("/etc/passwd", _of_media(levels=["/etc/passwd"])),
    "an archive above": Mutilation("../x.tar", _of_media(levels=["../x.tar"])),
    "an archive of another volume": Mutilation(OTHER, _of_media(levels=[OTHER])),
    "a document as archive": Mutilation("RESTORE.md", _of_media(levels=["RESTORE.md"])),
    "an archive twice": Mutilation("media", _of_media(levels=[MEDIA, MEDIA])),
    "no archive": Mutilation("media", _of_media(levels=[])),
    "a list elsewhere": Mutilation("/etc/passwd", _of_media(gone="/etc/passwd")),
    "an archive as list": Mutilation(MEDIA, _of_media(gone=MEDIA)),
    "a member written otherwise": Mutilation(
        "volumes//media", _of_member(file="volumes//media.0.tar.zst")
    ),
    "a member that is a list": Mutilation(MEDIA, _of_member(kind="gone")),
    "a member of another": Mutilation(MEDIA, _of_member(source="other")),
    "a volume twice": Mutilation(
        "media", _naming(lambda manifest: manifest["volumes"].append(manifest["volumes"][0]))
    ),
    "a data directory elsewhere": Mutilation(
        "/etc", _naming(lambda manifest: manifest.update(clusters=[CLUSTER]))
    ),
    "a file added": Mutilation("extra.txt", lambda f: (f / "extra.txt").write_text("x")),
    "a member missing": Mutilation(MEDIA, lambda f: (f / MEDIA).unlink()),
    "a member appended to": Mutilation(MEDIA, _append),
    "a member truncated": Mutilation(MEDIA, _truncate),
    "a member emptied": Mutilation(MEDIA, lambda f: (f / MEDIA).write_bytes(b"")),
    "a member replaced, same size": Mutilation(MEDIA, _replace_bytes),
    "a member a link": Mutilation(MEDIA, _point_elsewhere),
    "two members swapped": Mutilation(MEDIA, _swap),
    "the manifest edited": Mutilation("manifest.json", _edit_manifest),
    "the manifest no JSON": Mutilation(
        "manifest.json", lambda f: (f / "manifest.json").write_text("{")
    ),
    "the manifest missing": Mutilation("", lambda f: (f / "manifest.json").unlink()),
    "the sums missing": Mutilation("SHA256SUMS", lambda f: (f / "SHA256SUMS").unlink()),
    "a document changed": Mutilation("RESTORE.md", lambda f: (f / "RESTORE.md").write_text("rm")),
    "an older format": Mutilation("format 0", _with_format(0)),
    "a newer format": Mutilation("format 2", _with_format(2)),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The stack, up, with one good set, of which a copy lies beside."""
    made = Place(tmp_path_factory.mktemp("mutilated"), STACK)
    try:
        made.succeed("up")
        (made.volume("media") / "upload").write_bytes(CHANCE.randbytes(40_000))
        (made.volume("other") / "upload").write_bytes(CHANCE.randbytes(40_000))
        made.succeed("backup")
        (good,) = made.folder.glob("backups/local-*")
        shutil.copytree(good, made.folder / "good")
        (made.volume("media") / "upload").write_bytes(b"live")
        yield made
    finally:
        end_host_processes(made.folder)


@pytest.mark.parametrize("how", MUTILATIONS)
def test_a_mutilated_set_is_refused_by_name(place: Place, how: str) -> None:
    """Exit 7 from verify, 2 from restore; what is live is untouched."""
    (folder,) = place.folder.glob("backups/local-*")
    shutil.rmtree(folder)
    shutil.copytree(place.folder / "good", folder)
    mutilation = MUTILATIONS[how]
    mutilation.do(folder)
    checked = place.inv("verify", "--file", folder.name)
    refused = place.inv("restore", "--file", folder.name, "--yes")
    assert checked.returncode == 7, checked.stderr
    assert refused.returncode == 2, refused.stderr
    for said in (checked.stderr, refused.stderr):
        assert mutilation.names in said
        assert folder.name in said
        assert "Traceback" not in said
    assert place.running() == {"web"}
    assert (place.volume("media") / "upload").read_bytes() == b"live"
    assert not list(place.folder.glob("backups/.staging/*"))
    assert place.inv("verify", "--all").returncode == 7


def test_the_good_copy_is_still_good(place: Place) -> None:
    """The table refuses what was done to the set, not the set."""
    (folder,) = place.folder.glob("backups/local-*")
    shutil.rmtree(folder)
    shutil.copytree(place.folder / "good", folder)
    place.succeed("verify", "--file", folder.name)
    place.succeed("restore", "--file", folder.name, "--yes", "--no-safety")
    assert (place.volume("media") / "upload").stat().st_size == 40_000
    print(f"mutilations: {len(MUTILATIONS)} tried, all refused by verify and restore")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_member_that_may_not_be_read_is_named(place: Place) -> None:
    """Permissions are a reason like any other."""
    (folder,) = place.folder.glob("backups/local-*")
    (folder / MEDIA).chmod(0)
    try:
        checked = place.inv("verify", "--file", folder.name)
        assert checked.returncode == 7
        assert MEDIA in checked.stderr
    finally:
        (folder / MEDIA).chmod(0o600)
