"""Who sent a set that is in a store: signatures, notes, and what somebody else may do there."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from quiesce.adapters.sets.local import LocalStore
from quiesce.adapters.sets.offsite import INDEX, OffsiteStores
from quiesce.adapters.sets.signing import SigningKey
from quiesce.errors import CheckFailed, RequestError
from quiesce.model import OffsiteStore, Recipients, Trust
from quiesce.plan import offsite
from quiesce.plan.retention import suspicions
from tests.support.builders import NOW
from tests.support.sets import publish_a_set

NAME = "core-20261121-020000"
STORE = "away"


def nothing(text: str, done: int) -> None:
    """Progress that nobody watches."""


class Machine:
    """An installation: its key, its notes, and the store it shares with others."""

    def __init__(self, folder: Path, store: Path, recipients: Recipients = Recipients()) -> None:  # noqa: B008
        store.mkdir(exist_ok=True)
        self.store = OffsiteStore(STORE, f"file://{store}", recipients=recipients)
        self.backups = LocalStore(folder / "backups")
        self.key = SigningKey(folder / "keys/signing.key")
        self.sent = folder / "sent"
        self.work = folder / "work"

    @property
    def port(self) -> OffsiteStores:
        """A new connection: nothing is remembered but what is on disk."""
        return OffsiteStores(
            [self.store], "core", self.work / "scratch", self.work / "notes",
            key=self.key, sent=self.sent,
        )  # fmt: skip

    def push(self, name: str = NAME) -> None:
        """Make a set and send it."""
        assert self.port.push(STORE, publish_a_set(self.backups, name), nothing)

    def forget(self) -> None:
        """Lose the notes, as a machine does that was made anew; the key may have been kept."""
        (self.sent / f"{STORE}.json").unlink()

    def trust(self, name: str = NAME) -> Trust:
        """What a new connection thinks of the set."""
        return self.port.trust(STORE, name)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder that is the store."""
    return tmp_path / "there"


@pytest.fixture
def machine(tmp_path: Path, there: Path) -> Machine:
    """An installation that has sent one set."""
    made = Machine(tmp_path / "here", there)
    made.push()
    return made


def edit(there: Path, name: str = NAME, **changes: object) -> None:
    """Write into the index as somebody does who can write into the store."""
    file = there / "core" / name / INDEX
    document = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({k: v for k, v in document.items() if v is not None}))


def test_what_was_sent_from_here_is_known_by_its_note_and_by_its_key(machine: Machine) -> None:
    """Either of them is enough."""
    assert machine.trust() == "noted"
    machine.forget()
    assert machine.trust() == "signed"
    machine.key.file.unlink()
    assert machine.trust() == "unknown"


@pytest.mark.parametrize(
    "change",
    [
        {"pinned": True},
        {"contents": []},
        {"objects": []},
        {"created_at": "2030-01-01T00:00:00+00:00"},
    ],
)
def test_an_index_that_somebody_changed_is_noticed(
    machine: Machine, there: Path, change: dict[str, object]
) -> None:
    """With the notes, and with the key alone."""
    edit(there, **change)
    assert machine.trust() == "changed"
    machine.forget()
    assert machine.trust() == "changed"


def test_a_set_under_another_name_is_noticed(machine: Machine, there: Path) -> None:
    """The name is signed, too: an old set cannot be shown as a new one."""
    other = "core-20291121-020000"
    (there / "core" / other).mkdir()
    body = json.loads((there / "core" / NAME / INDEX).read_text())
    (there / "core" / other / INDEX).write_text(json.dumps({**body, "name": other}))
    assert machine.trust(other) == "changed"


def test_an_older_index_put_back_over_a_newer_one_is_noticed(machine: Machine, there: Path) -> None:
    """Signed by the same key, and not what was noted last."""
    old = (there / "core" / NAME / INDEX).read_bytes()
    machine.port.remove(STORE, NAME)
    machine.backups.remove(NAME)
    backup = publish_a_set(machine.backups, NAME)
    machine.port.push(STORE, replace(backup, state=replace(backup.state, pinned=True)), nothing)
    assert machine.trust() == "noted"
    (there / "core" / NAME / INDEX).write_bytes(old)
    assert machine.trust() == "changed"


def test_what_nobody_or_another_key_signed(machine: Machine, there: Path, tmp_path: Path) -> None:
    """An earlier version signed nothing; another installation has another key."""
    machine.forget()
    edit(there, signature=None)
    assert machine.trust() == "unsigned"
    edit(there, signature="x")
    assert machine.trust() == "foreign"
    other = Machine(tmp_path / "other", there)
    other.push("core-20261122-020000")
    assert machine.trust("core-20261122-020000") == "foreign"
    machine.key.file.write_bytes(other.key.file.read_bytes())
    assert machine.trust("core-20261122-020000") == "signed"


def test_a_set_that_somebody_removed_is_missed(machine: Machine, there: Path) -> None:
    """What we removed ourselves is not."""
    machine.push("core-20261122-020000")
    (there / "core" / NAME / INDEX).unlink()
    assert machine.port.lost(STORE) == (NAME,)
    machine.port.remove(STORE, "core-20261122-020000")
    assert machine.port.lost(STORE) == (NAME,)


def test_the_key_is_private_and_no_link_is_followed(tmp_path: Path) -> None:
    """Each thing that is no usable key is said, with what to do."""
    key = SigningKey(tmp_path / "keys/signing.key")
    key.make()
    first = key.file.read_text()
    key.make()
    assert key.file.read_text() == first
    assert (key.file.stat().st_mode & 0o777, key.file.parent.stat().st_mode & 0o777) == (
        0o600,
        0o700,
    )
    key.file.chmod(0o640)
    with pytest.raises(RequestError, match="can be read by other users"):
        key.sign({})
    key.file.chmod(0o600)
    key.file.write_text("no key")
    with pytest.raises(RequestError, match="is not valid"):
        key.sign({})
    key.file.unlink()
    key.file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="cannot be read"):
        key.sign({})
    key.make()
    assert not (tmp_path / "elsewhere").exists()


def test_an_encrypted_index_names_no_source(tmp_path: Path, there: Path) -> None:
    """Amounts are there for retention, under pseudonyms that only the key can make."""
    recipient = "age16sre0sdq9rp8d4d4duj73yrasp0vnlsgq4aykwyecdnnycx2f5jqy6wfls"
    machine = Machine(tmp_path / "here", there, Recipients(age=(recipient,)))
    machine.push()
    document = json.loads((there / "core" / NAME / INDEX).read_text())
    assert f"bytes {machine.key.pseudonym('the whole set')}" in document["amounts"]
    assert "rulesdb" not in json.dumps(document["amounts"])


# ---------------------------------------------------------------------------------- the one rule


@pytest.mark.parametrize(
    ("trust", "unsigned", "taken"),
    [
        ("signed", False, True),
        ("noted", False, True),
        ("unknown", False, True),
        ("unsigned", False, False),
        ("foreign", False, False),
        ("changed", False, False),
        ("unsigned", True, True),
        ("foreign", True, True),
        ("changed", True, False),
    ],
)
def test_which_sets_are_taken(
    machine: Machine,
    trust: Trust,
    unsigned: bool,
    taken: bool,
) -> None:
    """A flag takes what nobody can prove, never what is proven to be changed."""
    (found,) = machine.port.sets(STORE)
    if taken:
        offsite.require_trusted(found, machine.store, trust, unsigned=unsigned, unencrypted=False)
    else:
        with pytest.raises(RequestError):
            offsite.require_trusted(
                found, machine.store, trust, unsigned=unsigned, unencrypted=False
            )


def test_a_set_in_the_clear_is_refused_where_sets_are_encrypted(machine: Machine) -> None:
    """Even with a good signature: the flag is its own."""
    (found,) = machine.port.sets(STORE)
    store = replace(machine.store, recipients=Recipients(age=("age1x",)))
    with pytest.raises(RequestError, match="is not encrypted") as caught:
        offsite.require_trusted(found, store, "signed", unsigned=True, unencrypted=False)
    assert "--accept-unencrypted" in (caught.value.hint or "")
    offsite.require_trusted(found, store, "signed", unsigned=False, unencrypted=True)


def test_a_stranger_s_set_takes_nobody_s_place_in_the_store(machine: Machine) -> None:
    """Newer ones of somebody else push nothing out, and are not removed by the rules."""
    (found,) = machine.port.sets(STORE)
    others = [
        replace(found, name=f"core-2027010{n}-020000", created_at=NOW + timedelta(days=n))
        for n in (1, 2, 3)
    ]
    trust: dict[str, Trust] = {
        found.name: "noted",
        **dict.fromkeys((o.name for o in others), "foreign"),
    }
    sets = offsite.candidates([found, *others], (), STORE, trust, ())
    assert [entry.stranger for entry in sets] == [False, True, True, True]


def test_a_loss_is_seen_in_the_store_by_the_amounts_in_the_index(machine: Machine) -> None:
    """Also where the sets are not here any more; `accept` ends it."""
    (found,) = machine.port.sets(STORE)
    full = replace(found, amounts={"files photos": 200})
    poor = replace(
        found, name="core-20261122-020000", created_at=found.created_at + timedelta(days=1),
        amounts={"files photos": 0},
    )  # fmt: skip
    trust: dict[str, Trust] = {full.name: "noted", poor.name: "noted"}
    now = NOW + timedelta(days=10)
    (doubt,) = suspicions(offsite.candidates([full, poor], (), STORE, trust, ()), now)
    assert (doubt.name, doubt.before) == (poor.name, full.name)
    assert suspicions(offsite.candidates([full, poor], (), STORE, trust, (poor.name,)), now) == ()


def test_amounts_of_an_older_index_come_from_the_set_here(machine: Machine) -> None:
    """An earlier version wrote none."""
    (found,) = machine.port.sets(STORE)
    (backup,) = machine.backups.sets()
    (entry,) = offsite.candidates(
        [replace(found, amounts={})], [backup], STORE, {NAME: "unsigned"}, ()
    )
    assert entry.amounts == backup.amounts


@pytest.mark.parametrize("how", ["nobody's", "another's", "another set"])
def test_an_index_under_the_name_of_the_next_set_is_no_copy_of_it(
    machine: Machine, there: Path, tmp_path: Path, how: str
) -> None:
    """Names are easily guessed: the push says so, and does not take it for sent."""
    name = "core-20261122-020000"
    stranger = Machine(tmp_path / "stranger", there)
    if how == "another's":
        stranger.push(name)
    elif how == "nobody's":
        stranger.push(name)
        file = there / "core" / name / INDEX
        index = json.loads(file.read_text())
        for entry in index["objects"]:
            entry["sha256"] = "0" * 64
        del index["signature"]
        file.write_text(json.dumps(index))
    else:
        other = publish_a_set(stranger.backups, name)
        later = replace(other.manifest, created_at=NOW + timedelta(days=1))
        assert machine.port.push(STORE, replace(other, manifest=later), nothing)
    backup = publish_a_set(machine.backups, name)
    with pytest.raises(CheckFailed, match="was not pushed from here"):
        machine.port.push(STORE, backup, nothing)


@pytest.mark.parametrize(
    "change",
    [
        {"created_at": "2026-11-21T01:00:00"},
        {"objects": [{"file": "x", "object": "x", "bytes": 1, "sha256": "0"}] * 2},
    ],
    ids=["no zone", "a file twice"],
)
def test_an_index_that_would_stop_every_command_is_unreadable(
    machine: Machine, there: Path, change: dict[str, object]
) -> None:
    """The sets beside it are listed as ever."""
    machine.push("core-20261122-020000")
    file = there / "core" / NAME / INDEX
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert [entry.name for entry in machine.port.sets(STORE)] == ["core-20261122-020000"]
    ((name, _),) = machine.port.unreadable(STORE)
    assert name == NAME


def test_damage_is_noted_of_that_very_set(machine: Machine, there: Path) -> None:
    """Until it is found good, or sent again; and it does not make a set one of ours."""
    machine.port.note_damage(STORE, NAME, damaged=True)
    assert machine.port.damaged(STORE) == {NAME}
    machine.port.note_damage(STORE, NAME, damaged=False)
    assert machine.port.damaged(STORE) == frozenset()
    machine.port.note_damage(STORE, NAME, damaged=True)
    file = there / "core" / NAME / INDEX
    file.write_text(json.dumps({**json.loads(file.read_text()), "new": 1}))
    assert machine.port.damaged(STORE) == frozenset()
    machine.forget()
    machine.port.note_damage(STORE, NAME, damaged=True)
    assert machine.trust() == "changed"
    machine.port.remove(STORE, NAME)
    assert machine.port.damaged(STORE) == frozenset()


@pytest.mark.parametrize("what", ["a pipe", "a folder", "nothing in it"])
def test_what_is_no_key_file_is_refused_at_once(tmp_path: Path, what: str) -> None:
    """And not replaced: another key would make every set a stranger's."""
    key = SigningKey(tmp_path / "keys/signing.key")
    key.make()
    assert [path.name for path in key.file.parent.iterdir()] == ["signing.key"]
    key.file.unlink()
    if what == "a pipe":
        os.mkfifo(key.file, 0o600)
    elif what == "a folder":
        key.file.mkdir(mode=0o700)
    else:
        key.file.touch(mode=0o600)
    key.make()
    with pytest.raises(RequestError):
        key.sign({})
