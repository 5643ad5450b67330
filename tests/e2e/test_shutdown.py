"""A safe shutdown on the real stack: verified set first, then everything stops, in order."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.support.checkout import Checkout
from tests.support.terminal import inv_in_terminal

pytestmark = pytest.mark.engine
EVERYTHING = {"db", "redis", "backend", "frontend", "proxy"}


@pytest.mark.parametrize(
    ("trouble", "code"),
    [("a set cannot be opened", 3), ("something else has the folder's name", 2)],
)
def test_a_failed_backup_stops_nothing(core: Checkout, trouble: str, code: int) -> None:
    """What ran runs, and no set appears: a step that failed (3), or a refusal before any (2)."""
    staging = core.folder / "backups" / ".staging"
    if code == 3:
        staging.mkdir(exist_ok=True)
        subprocess.run(["chattr", "+i", staging], check=True)
    else:
        shutil.rmtree(staging, ignore_errors=True)
        staging.write_text(trouble)
    try:
        result = core.inv("shutdown")
        assert result.code == code, result.err
        assert "safe to power off" not in result.out
        core.wait_until_healthy(EVERYTHING)
        assert core.sets() == []
    finally:
        if code == 3:
            subprocess.run(["chattr", "-i", staging], check=True)
        else:
            staging.unlink()


def test_a_request_that_cannot_be_is_refused(core: Checkout) -> None:
    """A service cannot go on without what it needs; exit 2 and nothing stops."""
    before = core.started()
    result = core.inv("shutdown", "--keep-running", "backend")
    assert result.code == 2
    assert "--keep-running backend,db,redis" in result.err
    assert core.inv("shutdown", "--keep-running", "bakend").code == 2
    assert core.started() == before


def test_after_a_shutdown_it_is_safe_to_power_off(core: Checkout) -> None:
    """In a bare environment: a verified data set of every database, and nothing runs."""
    core.write("before")
    before = core.contents()
    result = core.succeed("shutdown")
    (made,) = core.sets()
    last = result.out.splitlines()[-1]
    assert "safe to power off" in last
    assert made.name in last
    assert core.running() == set()
    assert core.leftovers() == []
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["kind"] == "data"
    assert {d["name"] for d in manifest["databases"]} == {"rulesdb", "memorydb"}
    assert json.loads((core.folder / "backups/.state" / f"{made.name}.json").read_text())[
        "verified_good"
    ]
    stopped = [core.docker("inspect", "-f", "{{.State.ExitCode}}", c) for c in core.containers()]
    assert "137" not in stopped, "nobody had to be killed"
    core.succeed("start")
    assert core.contents() == before


def test_with_the_databases_down_it_says_how_to_bring_them_up(core: Checkout) -> None:
    """Exit 2; `--force` goes on without a backup, and says so."""
    core.succeed("stop", "--service", "db")
    assert core.running() == {"redis"}
    sets = core.sets()
    result = core.inv("shutdown")
    assert result.code == 2
    assert "inv up --service db" in result.err
    assert core.running() == {"redis"}
    forced = core.succeed("shutdown", "--force")
    assert "WITHOUT a new backup" in forced.out.splitlines()[-1]
    assert "NO backup" in forced.err
    assert core.running() == set()
    assert core.sets() == sets


def test_a_full_shutdown_in_a_terminal_keeps_what_was_asked(core: Checkout) -> None:
    """Volumes are in the set too, and the kept services are the same containers as before."""
    core.succeed("start")
    kept = [c for c in core.started() if any(c.startswith(i) for i in _ids(core, "db", "redis"))]
    assert len(kept) == 2
    code, shown = inv_in_terminal(core, ["shutdown", "--full", "--keep-running", "db,redis"])
    assert code == 0, shown
    assert "every service except db, redis is stopped" in shown
    assert core.running() == {"db", "redis"}
    assert [c for c in core.started() if c in kept] == kept
    manifest = json.loads((core.sets()[-1] / "manifest.json").read_text())
    assert manifest["kind"] == "full"
    assert manifest["volumes"]


def _ids(core: Checkout, *services: str) -> list[str]:
    inspected = [core.containers(f"label=com.docker.compose.service={name}") for name in services]
    return [core.docker("inspect", "-f", "{{.Id}}", *found) for found in inspected]
