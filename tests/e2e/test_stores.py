"""Sets away from here, by the commands people type: pushed, killed, damaged, pulled, restored."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from quiesce.app.wiring import end_host_processes
from tests.support.checkout import wait_until
from tests.support.place import Place
from tests.support.s3 import REGION, S3, an_s3_server

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
  short: {{keep_last: 1}}
  long: {{keep_last: 2}}
stores:
  away: {{url: "{url}", endpoint: "{endpoint}", region: {region}, credentials_file: s3.env,
          retention: long}}
encrypt: {{age: [{recipient}]}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    """A real S3 server."""
    with an_s3_server() as there:
        yield there


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, str]:
    """An identity of age that is nowhere near the stack, and its public key."""
    made = pyrage.x25519.Identity.generate()
    file = tmp_path / "key.txt"
    file.write_text(f"{made}\n")
    return file, str(made.to_public())


def make(folder: Path, server: S3, recipient: str) -> Place:
    """A machine with the stack and the credentials, and nothing else."""
    folder.mkdir()
    server.credentials_file(folder)
    url = f"s3://{server.bucket}/{folder.parent.name}"
    stack = STACK.format(url=url, endpoint=server.endpoint, region=REGION, recipient=recipient)
    return Place(folder, stack)


@pytest.fixture
def place(tmp_path: Path, server: S3, key: tuple[Path, str]) -> Iterator[Place]:
    """The stack, up, with something in its volume."""
    made = make(tmp_path / "here", server, key[1])
    try:
        made.succeed("up")
        (made.volume("media") / "upload").write_bytes(random.Random(1).randbytes(3_000_000))
        yield made
    finally:
        end_host_processes(made.folder)


def sets_in(place: Place) -> list[str]:
    """Names of the sets in the store."""
    told = json.loads(place.succeed("backups", "--store", "away", "--json"))
    return [entry["name"] for entry in told["sets"]]


@pytest.mark.core
def test_from_the_store_alone_everything_comes_back(
    place: Place, key: tuple[Path, str], server: S3, tmp_path: Path
) -> None:
    """A backup sends its set by itself; an empty machine with stack.yaml and the key has it all."""
    plan = place.succeed("backup", "--dry-run")
    assert plan.index("verify set") < plan.index("push set") < plan.index("remove expired sets")
    place.succeed("backup")
    (name,) = sets_in(place)
    assert place.running() == {"web"}
    place.succeed("verify", "--store", "away")
    place.succeed("push")
    other = make(tmp_path / "empty", server, key[1])
    try:
        other.succeed("up")
        refused = other.inv("restore", "--file", "away:latest", "--yes")
        assert refused.returncode == 2
        assert "--identity" in refused.stderr
        assert not list(other.folder.glob("backups/*/manifest.json"))
        given = ("--identity", str(key[0]))
        dry = other.succeed("restore", "--file", "away:latest", "--dry-run", *given)
        assert f"pull set {name} from away" in dry
        other.succeed("restore", "--file", "away:latest", "--yes", *given)
        wanted = (place.volume("media") / "upload").read_bytes()
        assert (other.volume("media") / "upload").read_bytes() == wanted
        other.succeed("verify", "--file", name)
    finally:
        end_host_processes(other.folder)


def test_a_push_that_was_killed_is_caught_up(place: Place, server: S3) -> None:
    """Half a set is none; the next backup sends it and its own."""
    (place.volume("media") / "large").write_bytes(random.Random(2).randbytes(60_000_000))
    place.succeed("backup", "--label", "first", AWS_ENDPOINT="unused")
    assert len(sets_in(place)) == 1
    (first,) = (path.parent.name for path in place.folder.glob("backups/*/manifest.json"))
    mine = f"{place.folder.parent.name}/local/"
    for entry in [n for n in server.names() if n.startswith(mine)]:
        server.client().delete_object(Bucket=server.bucket, Key=entry)
    state = place.folder / "backups" / ".state" / f"{first}.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "pushed": {}}))
    running = place.start_inv("push")
    wait_until(lambda: any(n.startswith(mine) for n in server.names()), "an object of the set")
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert sets_in(place) == []
    place.succeed("backup")
    assert len(sets_in(place)) == 2
    place.succeed("verify", "--store", "away", "--all")
    assert not list(place.folder.glob("backups/.staging/*"))


def test_a_store_that_cannot_be_reached_leaves_a_good_set(place: Place) -> None:
    """Exit 3 says which half is good; services are back; the next run sends both."""
    text = (place.folder / "stack.yaml").read_text()
    away = place.folder / "disk"
    broken = text.replace('"s3://', f'"{away}/').replace('endpoint: "http', 'endpoint: "http')
    (place.folder / "stack.yaml").write_text(broken)
    failed = place.inv("backup")
    assert failed.returncode == 3, failed.stderr
    assert "could not be uploaded to away" in failed.stderr
    assert place.running() == {"web"}
    (name,) = (path.parent.name for path in place.folder.glob("backups/*/manifest.json"))
    place.succeed("verify", "--file", name)
    assert "not in away yet" in place.succeed("backups")
    (place.folder / "stack.yaml").write_text(text)
    place.succeed("backup")
    assert len(sets_in(place)) == 2


def test_a_damaged_set_in_the_store_is_refused(
    place: Place, server: S3, key: tuple[Path, str]
) -> None:
    """Verify exits 7 and names the member; nothing is pulled, nothing stops."""
    place.succeed("backup")
    (name,) = sets_in(place)
    (victim,) = (n for n in server.names() if name in n and ".0.tar" in n)
    content = bytearray(server.read(victim))
    content[len(content) // 2] ^= 1
    server.write(victim, bytes(content))
    found = place.inv("verify", "--store", "away")
    assert found.returncode == 7
    assert "volumes/media.0.tar" in found.stderr
    shutil.rmtree(place.folder / "backups" / name)
    given = ("--identity", str(key[0]))
    refused = place.inv("restore", "--file", "away:latest", "--yes", *given)
    assert refused.returncode == 7, refused.stderr
    assert "volumes/media.0.tar" in refused.stderr
    assert place.running() == {"web"}
    assert not list(place.folder.glob("backups/.staging/*"))


def test_a_set_that_only_looks_right_is_found_with_the_key(
    place: Place, server: S3, key: tuple[Path, str]
) -> None:
    """An index that fits is easily written; the sums within the set say otherwise."""
    place.succeed("backup")
    (name,) = sets_in(place)
    given = ("verify", "--store", "away", "--identity", str(key[0]))
    place.succeed(*given)
    (victim,) = (n for n in server.names() if name in n and ".0.tar" in n)
    forged = pyrage.encrypt(b"something else", [pyrage.x25519.Recipient.from_str(key[1])])
    server.write(victim, forged)
    (place_of_index,) = (n for n in server.names() if name in n and n.endswith("/set.json"))
    index = json.loads(server.read(place_of_index))
    (entry,) = (o for o in index["objects"] if victim.endswith(o["object"]))
    entry |= {"bytes": len(forged), "sha256": hashlib.sha256(forged).hexdigest()}
    server.write(place_of_index, json.dumps(index).encode())
    # Without the key as well: the index is not the one that was noted here.
    found = place.inv("verify", "--store", "away")
    assert found.returncode == 7, found.stderr
    assert "its index is not the one that this installation uploaded" in found.stderr
    found = place.inv(*given)
    assert found.returncode == 7, found.stderr
    assert f"{name} differs from what was pushed: volumes/media.0.tar" in found.stderr
    assert not list(place.folder.glob("backups/.staging/*"))


def test_a_store_has_rules_of_its_own(place: Place) -> None:
    """One set stays here, two there; a yes is asked for, and pinned sets stay."""
    for number in range(3):
        (place.volume("media") / "upload").write_text(f"number {number}")
        place.succeed("backup")
    assert len(list(place.folder.glob("backups/*/manifest.json"))) == 1
    assert len(sets_in(place)) == 2
    assert place.inv("prune", "--store", "nowhere").returncode == 2
    place.succeed("prune", "--store", "away", "--yes")


def test_no_credential_is_in_anything_that_stays(place: Place) -> None:
    """Not in sets, journals, reports, nor in what is printed with --debug."""
    told = place.inv("backup", "--debug")
    secret = "sesame-opens"
    assert secret not in told.stdout + told.stderr
    for path in (place.folder / "backups").rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_a_set_that_nobody_verified_is_not_sent_and_named(place: Place, server: S3) -> None:
    """Nothing is called there that is not."""
    place.succeed("backup")
    (name,) = (path.parent.name for path in place.folder.glob("backups/*/manifest.json"))
    mine = f"{place.folder.parent.name}/local/"
    for entry in [n for n in server.names() if n.startswith(mine)]:
        server.client().delete_object(Bucket=server.bucket, Key=entry)
    (place.folder / "backups" / ".state" / f"{name}.json").unlink()
    ended = place.inv("push")
    assert ended.returncode == 0
    assert (
        f"{name} was not uploaded: it is damaged, or was never verified"
        in ended.stderr + ended.stdout
    )
    assert sets_in(place) == []
    place.succeed("verify", "--file", name)
    place.succeed("push")
    assert sets_in(place) == [name]
