"""Sets are restored to know that they can be: a copy of the stack, and a drill of all of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import Checkout, wait_until

pytestmark = pytest.mark.engine
SMALL_STACK = True


@pytest.fixture(scope="module")
def made(core: Checkout) -> str:
    """A full set of the stack with something in it, and with roles that its image does not make."""
    core.write("first")
    (container,) = core.containers("label=com.docker.compose.service=db")
    for statement in (
        'CREATE ROLE "web\'s app" LOGIN',
        "CREATE ROLE keeper",
        'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "web\'s app"',
        "CREATE TABLE of_keeper (n int)",
        "ALTER TABLE of_keeper OWNER TO keeper",
    ):
        core.docker("exec", container, "psql", "-U", "postgres", "-d", "rulesdb", "-c", statement)
    name: str = core.succeed("backup", "--json").document["set"]["name"]
    return name


def copies(core: Checkout) -> list[str]:
    """Everything on the engine that belongs to a copy of this stack, and its folders."""
    found = []
    for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        argv = [*kind, "--quiet", "--filter", f"name={core.stack}-drill-"]
        found += core.docker(*argv).split()
    return found + [path.name for path in core.folder.glob("backups/.isolated/*")]


def untouched(core: Checkout) -> tuple[Any, ...]:
    """What must be the same before and after: containers, volumes, data, sets."""
    volumes = core.docker("volume", "ls", "--quiet", "--filter", f"name={core.stack}").split()
    return core.started(), sorted(volumes), core.contents(), core.sets()


def test_a_set_is_restored_to_verify_it(core: Checkout, made: str) -> None:
    """Into servers of its own; the level is kept with the set, and nothing stays."""
    before = untouched(core)
    core.succeed("verify", "--file", made, "--restore")
    assert untouched(core) == before
    assert copies(core) == []
    sets = {s["name"]: s for s in core.succeed("backups", "--json").document["sets"]}
    assert sets[made]["verified_level"] == "restore"
    assert sets[made]["checks"]["restore"]["good"] is True


def _forged(core: Checkout, made: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the set whose manifest says something else, with sums that agree."""
    forged = core.folder / "backups" / "core-20200101-000000"
    shutil.copytree(core.folder / "backups" / made, forged)
    manifest = json.loads((forged / "manifest.json").read_text())
    manifest["name"] = forged.name
    change(manifest["databases"][0])
    old = hashlib.sha256((forged / "manifest.json").read_bytes()).hexdigest()
    (forged / "manifest.json").write_text(json.dumps(manifest))
    new = hashlib.sha256((forged / "manifest.json").read_bytes()).hexdigest()
    sums = forged / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(old, new))
    return forged


@pytest.mark.long
def test_rows_that_are_not_what_was_recorded_are_found(core: Checkout, made: str) -> None:
    """A manifest that says different contents: every sum is right, and the restore is not."""

    def change(database: dict[str, Any]) -> None:
        database["tables"][0]["digest"] = "1"

    forged = _forged(core, made, change)
    try:
        result = core.inv("verify", "--file", forged.name, "--restore")
        assert result.code == 7
        assert "different contents" in result.err
        assert copies(core) == []
    finally:
        shutil.rmtree(forged)


def test_what_a_set_needs_and_the_image_lacks_is_not_called_damage(
    core: Checkout, made: str
) -> None:
    """An extension, a locale, a newer server: each is named, and the set stays good."""

    def change(database: dict[str, Any]) -> None:
        database["extensions"].append({"name": "nothere", "version": "1", "schema": "public"})
        database["server_version"] = "99.1"
        database["collate"] = "xx_XX.utf8"

    forged = _forged(core, made, change)
    try:
        result = core.inv("verify", "--file", forged.name, "--restore")
        assert result.code == 7
        assert "damaged" not in result.err
        for fact in ("no damage was found", "PostgreSQL 99.1", "extension nothere", "xx_XX"):
            assert fact in result.err
        assert copies(core) == []
        sets = {s["name"]: s for s in core.succeed("backups", "--json").document["sets"]}
        assert sets[forged.name]["verified_level"] == "sums"
    finally:
        shutil.rmtree(forged)


@pytest.mark.sample
def test_a_drill_proves_that_all_comes_back(core: Checkout, made: str) -> None:
    """From the set to a whole stack, marked, backed up, lost, restored, asked; the instance is
    untouched throughout, and the figures are in the report and the log."""
    before = untouched(core)
    document = core.succeed("drill", "--json", "--note", "rehearsal").document
    assert document["phase"] == "all"
    assert document["source"] == made
    assert document["recovery_seconds"] > 0
    assert document["probes"] == 2
    assert document["marks"] >= 6
    assert untouched(core) == before
    assert copies(core) == []
    (report,) = core.folder.glob("backups/.reports/core/*-drill.json")
    assert json.loads(report.read_text())["recovery_seconds"] == document["recovery_seconds"]
    log = (core.folder / "backups/.reports/core/restores.jsonl").read_text().splitlines()
    begun, ended = (json.loads(line) for line in log[-2:])
    assert (begun["task"], begun["source"], begun["note"]) == ("drill", made, "rehearsal")
    assert ended["ok"] is True
    assert "recovery took" in core.inv("report", "--html").out + _page(core)


def _page(core: Checkout) -> str:
    return (core.folder / "backups/.reports/core/report.html").read_text()


def test_a_killed_drill_leaves_nothing_after_the_next_run(core: Checkout, made: str) -> None:
    """SIGKILL while the copy comes up; the next recovery removes all of it."""
    before = untouched(core)
    running = core.start_inv("drill")
    container = ("ps", "--quiet", "--filter", f"name={core.stack}-drill-")
    wait_until(lambda: core.docker(*container).split(), "a container of the copy")
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    left = copies(core)
    assert left != []
    assert f"remove {core.stack}-drill-" in core.succeed("recover", "--dry-run").out
    assert copies(core) == left
    core.succeed("recover")
    assert copies(core) == []
    assert untouched(core) == before


@pytest.mark.long
def test_phases_are_calls_of_their_own(core: Checkout, made: str) -> None:
    """Setup leaves the copy, cycle uses it, verify removes it; the variable says which."""
    assert core.inv("drill", "--phase", "verify").code == 2
    core.succeed("drill", BACKUP_RESTORE_PHASE="setup")
    assert copies(core) != []
    core.succeed("drill", "--phase", "cycle")
    core.succeed("drill", BACKUP_RESTORE_PHASE="verify")
    assert copies(core) == []
    assert core.inv("drill", "--phase", "nothing").code == 2


@pytest.mark.long
def test_a_drill_on_the_instance_itself_takes_a_phrase(core: Checkout, made: str) -> None:
    """Its databases are really lost and restored; nothing of the drill stays in them."""
    before = core.contents()
    assert core.inv("drill", "--destructive").code == 6
    assert core.contents() == before
    core.succeed("drill", "--destructive", "--confirm", "DESTROY core")
    assert core.contents() == before
    assert core.sql("rulesdb", "SELECT to_regclass('quiesce_drill') IS NULL") == ["t"]
