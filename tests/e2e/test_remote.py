"""Another machine's engine: everything is streamed, and a lost connection leaves nothing down."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.commands.backup import run_backup
from quiesce.model import BackupSet
from quiesce.plan.backup import BackupRequest
from tests.engine.second import SecondEngine
from tests.support.counting import Counting, wait_until
from tests.support.far import far_engine
from tests.support.kills import (
    Tried,
    inv,
    is_settled,
    kill_and_look,
    let_go,
    manifests,
    mark,
    paused,
    positions,
    require_kept,
)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def far() -> Iterator[SecondEngine]:
    """An engine far away, the only one this module knows."""
    images = [os.environ[name] for name in ("POSTGRES_IMAGE", "PYTHON_IMAGE")]
    with far_engine(images, only=True) as engine:
        yield engine


@pytest.fixture(scope="module")
def counting(far: SecondEngine) -> Iterator[Counting]:
    """A stack there that counts. Not in pytest's own folder, which the engine must not see."""
    with Counting.temporary(on_engine=True, far=far) as made:
        made.begin()
        yield made


def back_up(counting: Counting) -> BackupSet:
    """Take a set and return it."""
    made = run_backup(counting.session(), BackupRequest())
    assert made is not None
    return made


def position(counting: Counting, kind: str, number: int = 0) -> str:
    """Where a backup's plan has its first, or another, step of a kind."""
    return [at for at, step in positions(counting, "backup").items() if step == kind][number]


def test_every_set_taken_from_afar_shows_one_number(counting: Counting, tmp_path: Path) -> None:
    """Two databases and a file agree, and their bytes came whole."""
    for round_ in range(3):
        counting.wait_until_it_counts()
        made = back_up(counting)
        numbers = counting.numbers_in(made, tmp_path / str(round_))
        assert len(set(numbers.values())) == 1, numbers
        assert made.manifest.consistent
    require_kept(counting, {})


def test_a_restore_from_here_to_there_is_one_number_too(counting: Counting, tmp_path: Path) -> None:
    """Archive and dumps are sent; what counts on from them agrees."""
    made = back_up(counting)
    then = counting.numbers_in(made, tmp_path / "then")["file"]
    wait_until(lambda: counting.number() > then + 500, "the number to grow")
    mark(counting, "newer than the set")
    ended = counting.inv("restore", "--file", made.name, "--yes")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    counting.wait_until_it_counts()
    assert counting.read_file("marked") == ""
    numbers = counting.numbers_in(back_up(counting), tmp_path / "again")
    assert len(set(numbers.values())) == 1, numbers
    require_kept(counting, {})


def test_a_set_is_proven_by_a_restore_over_there(counting: Counting) -> None:
    """In a copy of the stack on the same engine, which is gone afterwards."""
    back_up(counting)
    ended = counting.inv("verify", "--restore")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    listed = counting.docker("ps", "--all", "--format", "{{.Names}}").split()
    assert sorted(listed) == [f"{counting.project}-counter-1", f"{counting.project}-db-1"]
    require_kept(counting, {})


@pytest.mark.long
def test_a_drill_works_over_there(counting: Counting) -> None:
    """The isolated one, with everything it makes."""
    ended = counting.inv("drill", "--yes")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    require_kept(counting, {})


@pytest.mark.parametrize(
    ("task", "guard"),
    [
        ("backup", True),
        ("restore", False),
        pytest.param("backup", False, marks=pytest.mark.long),
        pytest.param("restore", True, marks=pytest.mark.long),
    ],
)
def test_a_run_killed_in_the_window_is_recovered_from_here(
    counting: Counting, task: str, guard: bool
) -> None:
    """As on this machine."""
    kinds = positions(counting, task)
    within = [at for at, kind in kinds.items() if kind in ("ArchiveVolume", "SwapVolume")][-1]
    kill_and_look(counting, Tried(), task, "after", within, guard=guard)


def test_a_connection_lost_in_the_window_is_finished_when_it_returns(
    counting: Counting, far: SecondEngine, tmp_path: Path
) -> None:
    """The run ends with 4 and leaves its guard, which waits for the engine."""
    counting.wait_until_it_counts()
    older = manifests(counting)
    process = paused(
        counting, position(counting, "ArchiveVolume", 1), tmp_path / "paused", impatient=True
    )
    assert counting.is_down("counter")
    far.cut()
    try:
        code, said = let_go(process, tmp_path / "paused")
        assert code == 4, said
        assert "the watchdog recovers the run when the engine answers again" in said
        assert not is_settled(counting)
    finally:
        far.mend()
    wait_until(lambda: is_settled(counting), "the guard to settle it")
    require_kept(counting, older)
    assert manifests(counting) == older
    assert inv(counting, "never", "-", "backup").returncode == 0


def test_a_connection_lost_before_anything_stopped_costs_nothing(
    counting: Counting, far: SecondEngine, tmp_path: Path
) -> None:
    """No set is listed, and the services never noticed."""
    counting.wait_until_it_counts()
    older = manifests(counting)
    begun = _begun(counting)
    process = paused(
        counting, position(counting, "ArchiveVolume"), tmp_path / "paused", impatient=True
    )
    far.cut()
    try:
        code, said = let_go(process, tmp_path / "paused")
        assert code in (3, 4), said
    finally:
        far.mend()
    assert inv(counting, "never", "-", "recover").returncode == 0
    require_kept(counting, older)
    assert manifests(counting) == older
    assert _begun(counting) == begun


def _begun(counting: Counting) -> str:
    """When each service was started the last time."""
    units = [f"{counting.project}-{name}-1" for name in ("db", "counter")]
    return counting.docker("inspect", "--format", "{{.State.StartedAt}}", *units)


def test_a_machine_that_reboots_in_the_window_has_everything_back(
    counting: Counting, far: SecondEngine, tmp_path: Path
) -> None:
    """The daemon ends with its containers; what was stopped stays so until it is recovered."""
    counting.wait_until_it_counts()
    older = manifests(counting)
    process = paused(
        counting, position(counting, "ArchiveVolume", 1), tmp_path / "paused", impatient=True
    )
    far.restart()
    code, said = let_go(process, tmp_path / "paused")
    assert code in (3, 4), said
    assert inv(counting, "never", "-", "recover", "--wait", "60").returncode == 0
    require_kept(counting, older)
    assert manifests(counting) == older


def test_a_reboot_in_the_middle_of_an_exchange_starts_nothing_on_it(
    counting: Counting, far: SecondEngine, tmp_path: Path
) -> None:
    """Not even what always restarts; after the recovery it does so again."""
    name = f"{counting.project}-counter-1"
    counting.docker("update", "--restart", "always", name)
    assert inv(counting, "never", "-", "backup").returncode == 0
    mark(counting, "live before")
    older = manifests(counting)
    kinds = positions(counting, "restore")
    swap = [at for at, kind in kinds.items() if kind == "SwapVolume"][-1]
    process = paused(counting, swap, tmp_path / "paused", "restore", impatient=True)
    process.kill()
    process.communicate()
    far.restart()
    recovered = inv(counting, "never", "-", "recover", "--yes", "--wait", "120")
    assert recovered.returncode == 0, recovered.stderr
    require_kept(counting, older)
    shape = "{{.HostConfig.RestartPolicy.Name}}"
    assert counting.docker("inspect", "--format", shape, name).strip() == "always"
    counting.docker("update", "--restart", "unless-stopped", name)


def test_it_is_cleaned_over_there(counting: Counting) -> None:
    """The last one: nothing of the stack is left on that engine, and the sets are here."""
    name = back_up(counting).name
    ended = counting.inv("clean-all", "--instance", "core", "--confirm", "DELETE EVERYTHING")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    chosen = f"label=com.docker.compose.project={counting.project}"
    for kind in ("ps", "volume ls", "network ls"):
        listing = [*kind.split(), "--quiet", "--filter", chosen]
        assert counting.docker(*listing, *(["--all"] if kind == "ps" else [])).split() == []
    assert name in manifests(counting)
