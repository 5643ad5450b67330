"""Kept, proven, on time, on a real engine: pruning after a backup, deep verification, reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import Checkout

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def core(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The example stack with its database server alone, keeping two sets."""
    checkout = Checkout.make(tmp_path_factory.mktemp("kept") / "app")
    file = checkout.folder / "stack.yaml"
    text = file.read_text().replace("{keep_within: 7d, keep_last: 3}", "{keep_last: 2}")
    file.write_text(f"{text}\nschedule: [daily 02:00 data, 0 0 29 2 * full]\n")
    try:
        checkout.succeed("up", "--service", "db", "--build")
        checkout.succeed("migrate")
        yield checkout
    finally:
        checkout.destroy()


def _backup(core: Checkout) -> str:
    document = core.succeed("backup", "--only", "rulesdb", "--json").document
    name: str = document["set"]["name"]
    return name


def _report(core: Checkout, task: str) -> Any:
    found = core.folder.glob(f"backups/.reports/core/*-{task}.json")
    # Names of one second sort by chance.
    newest = max(found, key=lambda path: path.stat().st_mtime_ns)
    assert newest.stat().st_mode & 0o777 == 0o600
    return json.loads(newest.read_text())


def test_a_backup_prunes_once_its_set_is_verified(core: Checkout) -> None:
    """The dry run says so, in that order."""
    first, second = _backup(core), _backup(core)
    plan = core.succeed("backup", "--only", "rulesdb", "--dry-run").out
    assert plan.index("verify set") < plan.index(f"remove {first}, unless")
    third = _backup(core)
    assert [path.name for path in core.sets()] == [second, third]
    report = _report(core, "backup")
    assert report["ok"] is True
    assert [entry["name"] for entry in report["sets"]] == [third]


@pytest.mark.long
def test_an_emptied_database_holds_pruning_back(core: Checkout) -> None:
    """Whatever the rules say, until somebody accepts it."""
    core.sql("rulesdb", "INSERT INTO projects (name) SELECT 'p' || n FROM generate_series(1,500) n")
    before = [_backup(core), _backup(core)]
    core.sql("rulesdb", "TRUNCATE projects CASCADE")
    emptied = core.succeed("backup", "--only", "rulesdb")
    assert "nothing was pruned" in emptied.out + emptied.err
    names = [path.name for path in core.sets()]
    assert names[:2] == before
    held = core.succeed("prune", "--yes")
    assert "held back" in held.out + held.err
    assert len(core.sets()) == 3
    core.succeed("prune", "--yes", "--force")
    assert [path.name for path in core.sets()] == names[1:]


def test_only_a_deep_look_sees_a_dump_that_cannot_be_decoded(core: Checkout) -> None:
    """Its sums are right: whoever damaged it, or a faulty disk before the sum was taken."""
    name = _backup(core)
    good = core.succeed("verify", "--deep", "--json").document
    assert good["sets"] == [name]
    shown = {entry["name"]: entry for entry in core.succeed("backups", "--json").document["sets"]}
    assert shown[name]["verified_level"] == "deep"
    assert set(shown[name]["checks"]) == {"sums", "deep"}
    _damage(core.folder / "backups" / name, "databases/rulesdb.dump")
    core.succeed("verify", "--file", name)
    damaged = core.inv("verify", "--file", name, "--deep")
    assert damaged.code == 7
    assert f"{name}/databases/rulesdb.dump" in damaged.err
    assert "DAMAGED" in core.succeed("backups").out
    assert _report(core, "verify")["exit_code"] == 7
    # A look that is less deep does not make it good again.
    core.succeed("verify", "--file", name)
    shown = {entry["name"]: entry for entry in core.succeed("backups", "--json").document["sets"]}
    assert shown[name]["verified_good"] is False


def _damage(folder: Path, file: str) -> None:
    """Change bytes in the middle of a member, and every sum that speaks of it."""
    path = folder / file
    content = bytearray(path.read_bytes())
    before = hashlib.sha256(content).hexdigest()
    for at in range(len(content) - 900, len(content) - 600):
        content[at] ^= 0xFF
    path.write_bytes(content)
    after = hashlib.sha256(content).hexdigest()
    manifest, sums = folder / "manifest.json", folder / "SHA256SUMS"
    old = hashlib.sha256(manifest.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(before, after))
    new = hashlib.sha256(manifest.read_bytes()).hexdigest()
    sums.write_text(sums.read_text().replace(before, after).replace(old, new))


def test_the_log_of_restores_says_who_and_why(core: Checkout) -> None:
    """One line when it begins and one when it ends, for good and for bad."""
    name = _backup(core)
    core.succeed("restore", "--file", name, "--yes", "--note", "asked for by Ada", SUDO_USER="ada")
    log = core.folder / "backups" / ".reports" / "core" / "restores.jsonl"
    assert log.stat().st_mode & 0o777 == 0o600
    begun, ended = (json.loads(line) for line in log.read_text().splitlines())
    assert (begun["event"], ended["event"]) == ("begun", "ended")
    for line in (begun, ended):
        assert (line["source"], line["note"]) == (name, "asked for by Ada")
        assert line["operator"].startswith("ada@")
    assert (ended["ok"], ended["exit_code"]) == (True, 0)
    assert _report(core, "restore")["compared"]["rulesdb"]["tables"] > 0
    text = max(log.parent.glob("*-restore.txt")).read_text()
    assert "note     asked for by Ada" in text
    # What was refused before anything was replaced is in no log of restores.
    assert core.inv("restore", "--file", name).code == 6
    assert core.inv("restore", "--file", name, "--yes", "--note", "a\nb").code == 2
    assert len(log.read_text().splitlines()) == 2


def test_a_missed_backup_is_overdue(core: Checkout) -> None:
    """A set of one database is no set of all data; what is due in no year is not missed."""
    status = core.succeed("status", "--json")
    entries = {entry["entry"]: entry for entry in status.document["schedule"]}
    assert entries["daily 02:00 data"]["overdue"] is True
    assert "OVERDUE: 'daily 02:00 data'" in core.succeed("status").err
    core.succeed("backup", "--data-only")
    status = core.succeed("status", "--json")
    entries = {entry["entry"]: entry for entry in status.document["schedule"]}
    assert entries["daily 02:00 data"]["overdue"] is False
    assert "OVERDUE: 'daily" not in core.succeed("status").err
