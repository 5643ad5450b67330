"""Stores away from here, for real: a folder, two S3 servers (moto, rclone), an rclone remote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyrage
import pytest

from quiesce.adapters.sets.local import LocalStore
from quiesce.adapters.sets.object_store import AlreadyThere
from quiesce.adapters.sets.offsite import INDEX, OffsiteStores, open_objects
from quiesce.errors import CheckFailed, QuiesceError, RequestError
from quiesce.model import BackupSet, OffsiteStore, Recipients
from tests.support.s3 import REGION, S3, an_rclone_server, an_s3_server
from tests.support.sets import publish_a_set

NAME = "core-20261121-020000"
STORE = "away"


def nothing(text: str, done: int) -> None:
    """Progress that nobody watches."""


@dataclass
class Place:
    """A store, and a way into it that is not ours."""

    store: OffsiteStore
    read: Callable[[str], bytes]
    write: Callable[[str, bytes], None]
    names: Callable[[], list[str]]


def _in_folder(store: OffsiteStore, folder: Path) -> Place:
    def names() -> list[str]:
        return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]

    def write(name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)

    return Place(store, lambda name: (folder / name).read_bytes(), write, names)


def _in_bucket(server: S3, folder: Path) -> Place:
    store = OffsiteStore(
        STORE, f"s3://{server.bucket}/sets", endpoint=server.endpoint, region=REGION,
        credentials_file=server.credentials_file(folder),
    )  # fmt: skip
    strip = "sets/"
    return Place(
        store,
        lambda name: server.read(strip + name),
        lambda name, content: server.write(strip + name, content),
        lambda: [name.removeprefix(strip) for name in server.names()],
    )


@pytest.fixture(scope="module")
def moto() -> Iterator[S3]:
    """A server that knows conditions and parts, for all tests here."""
    with an_s3_server() as server:
        yield server


@pytest.fixture(params=["folder", "moto", "rclone serve", "rclone remote"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Each kind of store, empty."""
    if request.param == "folder":
        (tmp_path / "disk").mkdir()
        store = OffsiteStore(STORE, (tmp_path / "disk").as_uri())
        yield _in_folder(store, tmp_path / "disk")
    elif request.param == "moto":
        server: S3 = request.getfixturevalue("moto")
        for name in server.names():
            server.client().delete_object(Bucket=server.bucket, Key=name)
        yield _in_bucket(server, tmp_path)
    elif request.param == "rclone serve":
        with an_rclone_server(tmp_path / "served") as server:
            yield _in_bucket(server, tmp_path)
    else:
        (tmp_path / "disk").mkdir()
        config = tmp_path / "rclone.conf"
        config.write_text(f"[disk]\ntype = alias\nremote = {tmp_path / 'disk'}\n")
        monkeypatch.setenv("RCLONE_CONFIG", str(config))
        programs = str(Path(sys.executable).parent)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        yield _in_folder(OffsiteStore(STORE, "rclone:disk:"), tmp_path / "disk")


@pytest.fixture
def backup(tmp_path: Path) -> BackupSet:
    """A set here."""
    return publish_a_set(LocalStore(tmp_path / "backups"), NAME)


def stores(place: Place, tmp_path: Path, identity: Path | None = None) -> OffsiteStores:
    """The adapter for one store."""
    folder = tmp_path / "work"
    return OffsiteStores(
        [place.store], "core", folder / "scratch", folder / "notes", identity=identity
    )


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_set_goes_and_comes_back(place: Place, backup: BackupSet, tmp_path: Path) -> None:
    """Byte for byte, private, with nothing else; a second push sends nothing."""
    port = stores(place, tmp_path)
    assert port.sets(STORE) == ()
    assert port.push(STORE, backup, nothing) is True
    assert port.push(STORE, backup, nothing) is False
    (there,) = port.sets(STORE)
    assert (there.name, there.kind, there.encryption) == (NAME, backup.manifest.kind, "")
    assert port.verify(STORE, NAME, nothing) == ()
    pulled = port.pull(STORE, NAME, tmp_path / "empty", nothing)
    assert content_of(pulled) == content_of(backup.path)
    assert {p.stat().st_mode & 0o077 for p in pulled.rglob("*")} == {0}
    port.remove(STORE, NAME)
    port.remove(STORE, NAME)
    assert port.sets(STORE) == ()
    assert place.names() == []


def test_what_was_sent_already_is_not_sent_again(
    place: Place, backup: BackupSet, tmp_path: Path
) -> None:
    """After a death in the middle: right objects stay, a torn one is sent again."""
    port = stores(place, tmp_path)
    port.push(STORE, backup, nothing)
    place_of_index = f"core/{NAME}/{INDEX}"
    torn = f"core/{NAME}/volumes/m.0.tar.zst"
    objects = open_objects(place.store)
    objects.remove(place_of_index)
    place.write(torn, b"torn")
    assert port.sets(STORE) == ()
    sent: list[str] = []
    again = stores(place, tmp_path)
    assert again.push(STORE, backup, lambda text, _: sent.append(text)) is True
    assert {text for text in sent if text.startswith("pushing")} == {"pushing volumes/m.0.tar.zst"}
    assert again.verify(STORE, NAME, nothing) == ()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a byte": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "cut": lambda content: content[:-1],
    "longer": lambda content: content + b"x",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_in_the_store_is_found_and_named(
    place: Place, backup: BackupSet, tmp_path: Path, damage: str
) -> None:
    """By verify, and by pull, which leaves nothing that looks like a set."""
    port = stores(place, tmp_path)
    port.push(STORE, backup, nothing)
    member = f"core/{NAME}/databases/rulesdb.dump"
    place.write(member, DAMAGES[damage](place.read(member)))
    (wrong,) = port.verify(STORE, NAME, nothing)
    assert wrong.startswith("databases/rulesdb.dump: ")
    with pytest.raises(CheckFailed, match=r"databases/rulesdb\.dump"):
        port.pull(STORE, NAME, tmp_path / "empty", nothing)


@pytest.mark.parametrize("secret", [False, True])
def test_damage_since_the_sealing_is_never_sent_as_a_set(
    place: Place, backup: BackupSet, tmp_path: Path, key: tuple[Path, str], secret: bool
) -> None:
    """What is compared are the sums of then: the store has no index, and the member is named."""
    port = stores(encrypted(place, key[1]) if secret else place, tmp_path)
    member = backup.path / "databases" / "rulesdb.dump"
    member.write_bytes(DAMAGES["a byte"](member.read_bytes()))
    with pytest.raises(CheckFailed, match=r"databases/rulesdb\.dump has changed since"):
        port.push(STORE, backup, nothing)
    assert port.sets(STORE) == ()


def test_a_missing_object_is_named(place: Place, backup: BackupSet, tmp_path: Path) -> None:
    """Also by who only looks."""
    port = stores(place, tmp_path)
    port.push(STORE, backup, nothing)
    open_objects(place.store).remove(f"core/{NAME}/SHA256SUMS")
    assert port.verify(STORE, NAME, nothing) == ("SHA256SUMS: is missing",)
    with pytest.raises(QuiesceError):
        port.pull(STORE, NAME, tmp_path / "empty", nothing)


HOSTILE: dict[str, dict[str, object]] = {
    "outside": {"objects": [{"file": "../../evil", "object": "x", "bytes": 1, "sha256": "0"}]},
    "absolute": {"objects": [{"file": "/evil", "object": "x", "bytes": 1, "sha256": "0"}]},
    "another": {"name": "core-20200101-000000"},
    "another instance": {"instance": "production"},
    "newer": {"format": 2},
    "not a set": {"objects": 3},
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_index_is_no_set(
    place: Place, backup: BackupSet, tmp_path: Path, how: str
) -> None:
    """It is told, and nothing of it is followed."""
    port = stores(place, tmp_path)
    port.push(STORE, backup, nothing)
    index = f"core/{NAME}/{INDEX}"
    place.write(index, json.dumps({**json.loads(place.read(index)), **HOSTILE[how]}).encode())
    assert port.sets(STORE) == ()
    ((name, reason),) = port.unreadable(STORE)
    assert name == NAME
    assert reason
    with pytest.raises(CheckFailed):
        port.pull(STORE, NAME, tmp_path / "empty", nothing)


def test_an_index_is_never_written_over(place: Place) -> None:
    """Two machines with one store cannot replace each other's sets."""
    objects = open_objects(place.store)
    objects.create("core/x/set.json", b"first")
    if "served" in str(place.store.credentials_file.parent if place.store.credentials_file else ""):
        return
    try:
        objects.create("core/x/set.json", b"second")
    except AlreadyThere:
        assert place.read("core/x/set.json") == b"first"
    else:
        # rclone's server does not know conditions; what looks first is told all the same.
        assert "127.0.0.1" in (place.store.endpoint or "")


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, str]:
    """An identity of age, and its public key."""
    made = pyrage.x25519.Identity.generate()
    file = tmp_path / "key.txt"
    file.write_text(f"# made by a test\n{made}\n")
    return file, str(made.to_public())


def encrypted(place: Place, recipient: str) -> Place:
    """The same store, encrypted."""
    return replace(place, store=replace(place.store, recipients=Recipients(age=(recipient,))))


def test_an_encrypted_set_tells_strangers_next_to_nothing(
    place: Place, backup: BackupSet, tmp_path: Path, key: tuple[Path, str]
) -> None:
    """Sent with a public key alone; only its owner gets it back, and by hand as well."""
    identity, recipient = key
    port = stores(encrypted(place, recipient), tmp_path)
    port.push(STORE, backup, nothing)
    everything = b"".join(place.read(name) for name in place.names())
    for secret in (b"rulesdb.dump\x00", b"ddddd", b"alembic", b"public"):
        assert secret not in everything
    assert port.verify(STORE, NAME, nothing) == ()
    with pytest.raises(RequestError, match="no identity"):
        port.pull(STORE, NAME, tmp_path / "without", nothing)
    other = tmp_path / "other.txt"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(RequestError, match="is not encrypted for the identity"):
        stores(place, tmp_path, other).pull(STORE, NAME, tmp_path / "wrong", nothing)
    pulled = stores(place, tmp_path, identity).pull(STORE, NAME, tmp_path / "right", nothing)
    assert content_of(pulled) == content_of(backup.path)
    assert not list((tmp_path / "work" / "scratch").iterdir())


def test_swapped_and_truncated_members_are_refused(
    place: Place, backup: BackupSet, tmp_path: Path, key: tuple[Path, str]
) -> None:
    """Even by somebody who writes the index anew: the sums inside are encrypted."""
    identity, recipient = key
    stores(encrypted(place, recipient), tmp_path).push(STORE, backup, nothing)
    index = f"core/{NAME}/{INDEX}"
    document = json.loads(place.read(index))
    by_file = {entry["file"]: entry for entry in document["objects"]}
    one, two = by_file["databases/rulesdb.dump"], by_file["volumes/m.0.tar.zst"]
    for name in ("object", "bytes", "sha256"):
        one[name], two[name] = two[name], one[name]
    place.write(index, json.dumps(document).encode())
    with pytest.raises(CheckFailed, match=r"rulesdb\.dump"):
        stores(place, tmp_path, identity).pull(STORE, NAME, tmp_path / "swapped", nothing)


def test_an_encrypted_push_goes_on_where_it_was(
    place: Place, backup: BackupSet, tmp_path: Path, key: tuple[Path, str]
) -> None:
    """Encrypted twice a file has other bytes: what was noted is recognized, the rest sent again."""
    secret = encrypted(place, key[1])
    port = stores(secret, tmp_path)
    port.push(STORE, backup, nothing)
    notes = tmp_path / "work" / "notes"
    assert not list(notes.glob("*"))
    document = json.loads(place.read(f"core/{NAME}/{INDEX}"))
    kept = {e["file"]: [e["sha256"], e["bytes"]] for e in document["objects"][:3]}
    (notes / f"{STORE}-{NAME}.json").write_text(json.dumps(kept))
    open_objects(place.store).remove(f"core/{NAME}/{INDEX}")
    sent: list[str] = []
    stores(secret, tmp_path).push(STORE, backup, lambda text, _: sent.append(text))
    pushed = {text.removeprefix("pushing ") for text in sent if text.startswith("pushing")}
    assert pushed == {e["file"] for e in document["objects"]} - set(kept)


def test_gpg_encrypts_and_decrypts(
    backup: BackupSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the gpg of this machine; a member opens by hand, too."""
    if shutil.which("gpg") is None:
        pytest.skip("there is no gpg here")
    home = Path("/tmp") / f"q-gpg-{os.getpid()}"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    try:
        make = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key"]
        subprocess.run([*make, "drill@example.org"], check=True, capture_output=True)
        (tmp_path / "disk").mkdir()
        store = OffsiteStore(
            STORE, (tmp_path / "disk").as_uri(), recipients=Recipients(gpg=("drill@example.org",))
        )
        place = _in_folder(store, tmp_path / "disk")
        stores(place, tmp_path).push(STORE, backup, nothing)
        pulled = stores(place, tmp_path).pull(STORE, NAME, tmp_path / "right", nothing)
        assert content_of(pulled) == content_of(backup.path)
        member = tmp_path / "disk" / "core" / NAME / "manifest.json.gpg"
        by_hand = subprocess.run(["gpg", "--batch", "-d", member], check=True, capture_output=True)
        assert by_hand.stdout == (backup.path / "manifest.json").read_bytes()
    finally:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def test_a_store_that_is_not_there_is_said_in_plain_words(
    backup: BackupSet, tmp_path: Path
) -> None:
    """Without the credentials, and without waiting for long."""
    missing = Place(OffsiteStore(STORE, (tmp_path / "no").as_uri()), bytes, print, list)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="does not exist"):
        stores(missing, tmp_path).push(STORE, backup, nothing)
    assert not (tmp_path / "no").exists()
