"""The main job on a real Docker Engine, as a user does it, from a bare environment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import Checkout, kill_group, plan_sentences, wait_until

pytestmark = pytest.mark.engine
EVERYTHING = {"db", "redis", "backend", "frontend", "proxy"}


@pytest.mark.sample
def test_what_was_there_at_the_backup_is_back_after_the_restore(core: Checkout) -> None:
    """Rules, memories with vectors, files and redis; and everything that ran runs again."""
    core.wait_until_healthy(EVERYTHING)
    core.write("first")
    before = core.contents()
    core.succeed("backup", "--instance", "core")
    core.write("second")
    assert core.contents() != before
    core.succeed("restore", "--file", "latest", "--yes")
    assert core.contents() == before
    core.wait_until_healthy(EVERYTHING)
    assert core.leftovers() == []
    # The safety set is what the restore replaced, and it is the way back.
    core.succeed("undo-restore", "--yes")
    assert len(core.contents()["projects"]) == len(before["projects"]) + 1


def test_a_service_that_was_stopped_stays_stopped(core: Checkout) -> None:
    """What was down stays down, through a backup and through a restore."""
    core.succeed("stop", "--service", "frontend")
    running = core.running()
    assert running == {"db", "redis", "backend"}
    core.succeed("backup")
    assert core.running() == running
    core.succeed("restore", "--file", "latest", "--yes")
    assert core.running() == running
    core.succeed("start")
    core.wait_until_healthy(EVERYTHING)


def test_the_dry_run_is_the_run(core: Checkout) -> None:
    """The same steps in the same order as in the journal of the real run; nothing changes."""
    sets, running = core.sets(), core.containers()
    planned = core.succeed("backup", "--instance", "core", "--dry-run", "--json").document
    assert core.sets() == sets
    assert core.containers() == running
    core.succeed("backup")
    (newest, *_) = sorted(core.folder.glob("backups/.runs/core/*.jsonl"), reverse=True)
    events = [json.loads(line) for line in newest.read_text().splitlines()]
    plan = events[0]["plan"]
    steps = {at: node["step"] for at, node in _positions(plan["nodes"])}
    begun = [steps[event["position"]] for event in events if event["event"] == "begin"]
    assert begun == plan_sentences(planned["plan"])
    text = core.succeed("backup", "--dry-run").out
    assert text.index("stop proxy, frontend, backend, redis") < text.index("start redis")


def _positions(nodes: list[dict], at: str = "") -> Iterator[tuple[str, dict]]:
    for index, node in enumerate(nodes):
        position = f"{at}/{index}"
        yield position, node
        for part in ("enter", "body", "on_failure", "on_success", "always"):
            yield from _positions(node.get(part, []), f"{position}/{part}")


@pytest.mark.core
def test_no_password_is_in_any_file_of_a_backup(core: Checkout) -> None:
    """Neither in the set nor in the journal of the run that made it."""
    core.succeed("backup")
    for path in (core.folder / "backups").rglob("*"):
        if path.is_file():
            assert b"pass w%rd$1" not in path.read_bytes(), path


@pytest.mark.core
def test_a_killed_backup_is_put_back_by_its_guard(core: Checkout) -> None:
    """SIGKILL while services are down: they are back with nobody there, and no set appears."""
    sets = core.sets()
    process = core.start_inv("backup")
    wait_until(lambda: core.running() == {"db"}, "the services to be stopped")
    kill_group(process)
    core.wait_until_back(EVERYTHING)
    journal = max(core.folder.glob("backups/.runs/core/*.jsonl"))
    wait_until(lambda: b'"run-end"' in journal.read_bytes(), "the run to be settled")
    assert "nothing to recover" in core.succeed("recover").out
    assert core.sets() == sets
    assert core.leftovers() == []


@pytest.mark.core
def test_a_killed_backup_is_put_back_by_the_next_task(core: Checkout) -> None:
    """Without its guard: `recover` starts exactly what ran, and no set appears."""
    sets = core.sets()
    process = core.start_inv("backup", QUIESCE_GUARD="off")
    wait_until(lambda: core.running() == {"db"}, "the services to be stopped")
    kill_group(process)
    assert "interrupted" in core.inv("status").out
    recovered = core.succeed("recover")
    assert "full backup of core" in recovered.out
    core.wait_until_healthy(EVERYTHING)
    assert core.sets() == sets
    assert core.leftovers() == []
    assert "nothing to recover" in core.succeed("recover").out


@pytest.mark.core
def test_a_set_with_one_flipped_byte_is_refused_before_anything_stops(core: Checkout) -> None:
    """Exit 2, the member is named, and the same containers go on running."""
    core.succeed("backup")
    newest = core.sets()[-1]
    dump = newest / "databases" / "memorydb.dump"
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 1
    dump.write_bytes(data)
    before = core.started()
    result = core.inv("restore", "--file", newest.name, "--yes")
    assert result.code == 2
    assert "databases/memorydb.dump: its content has changed" in result.err
    assert core.started() == before
    verified = core.inv("verify", "--file", newest.name)
    assert verified.code == 7
    assert "memorydb.dump" in verified.err
    shutil.rmtree(newest)


REFUSALS = [
    (("backup", "--instance", "coer"), {}, 2, "coer", "core"),
    (
        ("restore", "--file", "core-20200101-000000", "--yes"),
        {},
        2,
        "core-20200101-000000",
        "core-",
    ),
    (("backup", "--only", "backend-medai"), {}, 2, "backend-medai", "backend-media"),
    (("up", "--service", "backedn"), {}, 2, "backedn", "backend"),
    (("backup", "--mode", "consistant"), {}, 2, "consistant", "consistent"),
    (("backup",), {"QUIESCE_STACK": "/nowhere/stack.yaml"}, 2, "/nowhere/stack.yaml", "--stack"),
    (("status",), {"DOCKER_HOST": "unix:///nowhere/docker.sock"}, 2, "nowhere", "start Docker"),
    (("restore", "--file", "latest"), {}, 6, "not confirmed", "--yes"),
]


@pytest.mark.parametrize(("arguments", "extra", "code", "fact", "hint"), REFUSALS)
def test_a_wrong_request_is_told_plainly_and_changes_nothing(
    core: Checkout,
    arguments: tuple[str, ...],
    extra: dict[str, str],
    code: int,
    fact: str,
    hint: str,
) -> None:
    """One line of fact, one HINT line, the contract's exit code, no traceback."""
    if not core.sets():
        core.succeed("backup")
    sets, containers = core.sets(), core.containers()
    result = core.inv(*arguments, **extra)
    assert result.code == code, result.err
    assert fact in result.err
    assert hint in result.err.split("HINT:")[1]
    assert "Traceback" not in result.err
    assert core.sets() == sets
    assert core.containers() == containers


def test_a_service_that_compose_does_not_know_is_an_error_of_check(core: Checkout) -> None:
    """Exit 7, and the nearest service is offered."""
    file = core.folder / "stack.yaml"
    text = file.read_text()
    try:
        file.write_text(text.replace("order: [db, redis,", "order: [db, rediss,"))
        assert file.read_text() != text
        result = core.inv("check")
        assert result.code == 7
        assert "did you mean 'redis'?" in result.out + result.err
        refused = core.inv("backup")
        assert refused.code == 2
        assert "rediss" in refused.err
    finally:
        file.write_text(text)
    core.succeed("check")


def test_a_missing_env_file_and_a_broken_stack_file_are_refused(core: Checkout) -> None:
    """Exit 2 with the place, before anything is contacted."""
    env_file = core.folder / "env/local/core.env"
    held = env_file.rename(env_file.with_suffix(".away"))
    try:
        result = core.inv("backup")
        assert result.code == 2
        assert "core.env" in result.err
    finally:
        held.rename(env_file)
    broken = core.folder / "broken.yaml"
    broken.write_text("version: 1\ninstances:\n  core: {runtime: composed\n")
    result = core.inv("backup", "--stack", str(broken))
    assert result.code == 2
    assert "broken.yaml:" in result.err


def test_with_the_database_down_a_backup_is_refused(core: Checkout) -> None:
    """It says how to bring the database up, and starts nothing by itself."""
    core.succeed("stop")
    assert core.running() == set()
    result = core.inv("backup")
    assert result.code == 2
    assert "inv up --service db" in result.err
    assert core.running() == set()


def test_with_only_the_database_up_nothing_else_is_started(core: Checkout) -> None:
    """A backup of a stack at rest leaves it at rest."""
    core.succeed("start", "--service", "db")
    core.succeed("backup")
    assert core.running() == {"db"}
    core.succeed("start")


def test_a_set_brings_back_an_empty_machine(core: Checkout) -> None:
    """Containers and volumes gone; a set, `up` of the database and `restore` are enough."""
    before = core.contents()
    core.succeed("backup")
    newest = core.sets()[-1].name
    core.succeed("down")
    for key in ("postgres-data", "redis-data", "backend-media", "backend-static"):
        core.docker("volume", "rm", f"{core.stack}-{key}")
    core.succeed("up", "--service", "db")
    core.succeed("restore", "--file", newest, "--yes")
    core.succeed("up")
    assert core.contents() == before
    core.wait_until_healthy(EVERYTHING)
    assert core.leftovers() == []


def test_two_backups_at_once_are_kept_apart(core: Checkout) -> None:
    """One runs, the other exits 5 and names it; with --wait both make a set."""
    sets = len(core.sets())
    first = core.start_inv("backup")
    wait_until(
        lambda: (
            any((core.folder / "backups/.runs/core").glob("lock"))
            and (core.folder / "backups/.runs/core/lock").read_text()
        ),
        "the first run to hold the lock",
    )
    second = core.inv("backup")
    assert second.code == 5
    assert f"backup (pid {first.pid}" in second.err
    third = core.inv("backup", "--wait", "120")
    assert third.code == 0, third.err
    first.communicate()
    assert first.returncode == 0
    assert len(core.sets()) == sets + 2


def test_a_set_says_what_it_holds(core: Checkout) -> None:
    """The manifest has what the contract promises; RESTORE.md has the commands."""
    core.succeed("backup", "--label", "before the release", "--keep")
    newest: Path = core.sets()[-1]
    manifest = json.loads((newest / "manifest.json").read_text())
    assert manifest["label"] == "before the release"
    assert manifest["pinned"] is True
    assert {d["name"] for d in manifest["databases"]} == {"rulesdb", "memorydb"}
    assert all(d["tables"] and d["revision"] for d in manifest["databases"])
    assert {v["key"] for v in manifest["volumes"]} == {
        "redis-data",
        "backend-media",
        "backend-static",
    }
    assert set(manifest["downtime_seconds"]["services"]) == EVERYTHING - {"db"}
    text = (newest / "RESTORE.md").read_text()
    assert "pg_restore" in text
    assert "tar -x" in text
    listed = core.succeed("backups", "--json").document
    assert newest.name in json.dumps(listed)
