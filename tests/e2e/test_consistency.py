"""One instant: databases and files of a set taken under load show the same number."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from quiesce.commands import backup as backup_command
from quiesce.commands.backup import run_backup
from quiesce.errors import CheckFailed, StepFailed
from quiesce.execute.handlers import HANDLERS
from quiesce.model import BackupSet
from quiesce.plan.backup import BackupRequest
from quiesce.plan.steps import Bracket, CheckIdle, ExportSnapshot, Node, Plan
from tests.support.counting import Counting, wait_until

EVERYTHING = BackupRequest()


@pytest.fixture(scope="module")
def shared() -> Iterator[Counting]:
    """A stack on the host runtime that counts."""
    yield from _counting(on_engine=False)


@pytest.fixture(scope="module")
def on_engine(engine: str) -> Iterator[Counting]:
    """The same stack in containers."""
    yield from _counting(on_engine=True)


def _counting(*, on_engine: bool) -> Iterator[Counting]:
    with Counting.temporary(on_engine=on_engine) as made:
        made.begin()
        yield made


@pytest.fixture
def counting(shared: Counting) -> Iterator[Counting]:
    """It counts before the test, and has what it had in stack.yaml after it."""
    text = (shared.folder / "stack.yaml").read_text()
    shared.wait_until_it_counts()
    yield shared
    (shared.folder / "stack.yaml").write_text(text)


def _back_up(counting: Counting, request: BackupRequest = EVERYTHING) -> BackupSet:
    made = run_backup(counting.session(), request)
    assert made is not None
    return made


def _without_snapshots(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    kept: list[Node] = []
    for node in nodes:
        if isinstance(node, Bracket):
            kept.append(replace(node, body=_without_snapshots(node.body)))
        elif not isinstance(node, ExportSnapshot | CheckIdle):
            kept.append(node)
    return tuple(kept)


@pytest.mark.core
def test_every_set_taken_under_load_shows_one_number(counting: Counting, tmp_path: Path) -> None:
    """Two databases and a file agree, and the service went on counting afterwards."""
    last = 0
    for round_ in range(3):
        counting.wait_until_it_counts()
        made = _back_up(counting)
        numbers = counting.numbers_in(made, tmp_path / str(round_))
        assert len(set(numbers.values())) == 1, numbers
        assert numbers["file"] > last
        last = numbers["file"]
        assert made.manifest.consistent
    wait_until(lambda: counting.number() > last, "the counter to go on")


def test_without_the_held_snapshots_the_numbers_differ(
    counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above can fail: the plan without them dumps what was written after the stop."""

    def mutated(*arguments: Any) -> Plan:
        plan = original(*arguments)
        nodes = _without_snapshots(plan.nodes)
        assert nodes != plan.nodes
        return replace(plan, nodes=nodes)

    original = backup_command.plan_backup
    monkeypatch.setattr(backup_command, "plan_backup", mutated)
    numbers = counting.numbers_in(_back_up(counting), tmp_path / "set")
    assert len(set(numbers.values())) > 1, numbers


def test_a_live_set_says_that_it_is_none_of_one_instant(counting: Counting) -> None:
    """Nothing stops, and the manifest does not claim more than it holds."""
    made = _back_up(counting, BackupRequest(mode="live"))
    assert not made.manifest.consistent
    assert made.manifest.services_stopped == ()


@pytest.mark.core
@pytest.mark.engine
def test_a_set_taken_on_a_real_engine_shows_one_number(on_engine: Counting, tmp_path: Path) -> None:
    """The same, with containers and volumes."""
    numbers = on_engine.numbers_in(_back_up(on_engine), tmp_path / "set")
    assert len(set(numbers.values())) == 1, numbers


# ------------------------------------------------------------------------- somebody else writes


class Intruder:
    """A session that is no service of the stack and writes to both databases without pause."""

    def __init__(self, counting: Counting, application: str) -> None:
        self._cursors = []
        for name in ("rulesdb", "memorydb"):
            connection = counting.connect(name, application)
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE IF NOT EXISTS noted (n bigserial)")
            self._cursors.append(cursor)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        while not self._done.is_set():
            for cursor in self._cursors:
                cursor.execute("INSERT INTO noted DEFAULT VALUES")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        for cursor in self._cursors:
            cursor.connection.close()


def test_a_client_that_writes_while_services_rest_is_named(counting: Counting) -> None:
    """The set is published, says that it is not consistent and why, and the run ends with 7."""
    before = set(counting.folder.glob("backups/*/manifest.json"))
    with Intruder(counting, "nightly import"), pytest.raises(CheckFailed) as failure:
        run_backup(counting.session(), EVERYTHING)
    assert failure.value.exit_code == 7
    assert "nightly import" in failure.value.fact
    (new,) = set(counting.folder.glob("backups/*/manifest.json")) - before
    text = new.read_text()
    assert '"consistent": false' in text
    assert "nightly import" in text


def test_a_writer_that_is_known_is_ignored(counting: Counting) -> None:
    """`writers.ignore` names it, and nothing is said."""
    counting.declare("writers: {ignore: [nightly import]}")
    with Intruder(counting, "nightly import"):
        made = _back_up(counting)
    assert made.manifest.consistent


def test_a_client_that_only_reads_does_no_harm(counting: Counting) -> None:
    """It is named, and the set is consistent."""
    session = counting.connect("rulesdb", "report page")
    with session.cursor() as cursor:
        cursor.execute("SELECT n FROM counted")
        made = _back_up(counting)
    session.close()
    assert made.manifest.consistent
    assert "report page" in counting.said.getvalue()


@pytest.mark.engine
def test_a_container_that_comes_and_goes_in_the_window_is_named(
    on_engine: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody runs any more when somebody looks, and the engine remembers."""
    name = f"{on_engine.project}-passer"
    mount = f"{on_engine.project}-numbers:/data"
    image = os.environ["TINY_IMAGE"]

    def held(step: ExportSnapshot, run: Any) -> str:
        command = ["docker", "run", "--rm", "--name", name, "--volume", mount, image, "true"]
        subprocess.run(command, check=True, capture_output=True)
        return original(step, run)

    original = HANDLERS[ExportSnapshot]
    monkeypatch.setitem(HANDLERS, ExportSnapshot, held)
    with pytest.raises(CheckFailed, match=f"with write access: {name}"):
        run_backup(on_engine.session(), EVERYTHING)


# ------------------------------------------------------------------------------ max_downtime


def test_too_long_a_downtime_is_told_after_everything_is_put_back(counting: Counting) -> None:
    """Exit 7, the set is published, the service counts; the next plan warns with the figure."""
    _back_up(counting)
    counting.declare("max_downtime: 1ms")
    before = set(counting.folder.glob("backups/*/manifest.json"))
    ended = counting.inv("backup")
    assert ended.returncode == 7
    assert "more than max_downtime (0.001 s)" in ended.stderr
    assert "HINT:" in ended.stderr
    assert len(set(counting.folder.glob("backups/*/manifest.json")) - before) == 1
    counting.wait_until_it_counts()
    counting.said.truncate(0)
    run_backup(counting.session(dry_run=True), EVERYTHING)
    assert "this one may exceed the limit" in counting.said.getvalue()


def test_a_downtime_within_the_limit_is_no_failure(counting: Counting) -> None:
    """The limit is only a limit."""
    counting.declare("max_downtime: 10m")
    assert _back_up(counting).manifest.downtime_seconds.overall > 0


# ---------------------------------------------------------------------------- in somebody's way


def test_a_service_that_changes_tables_at_its_start_is_let_through(counting: Counting) -> None:
    """No set, exit 3 with the statement; the next backup dumps while services rest, and works."""
    flag = counting.volume("numbers") / "change-tables"
    flag.touch()
    for key in ("rulesdb", "memorydb"):
        padding = "INSERT INTO counted SELECT -1, repeat(md5(g::text), 30)"
        counting.sql(key, f"{padding} FROM generate_series(1, 1000) g")
    counting.declare("lock_patience: 500ms")
    before = set(counting.folder.glob("backups/*/manifest.json"))
    try:
        with pytest.raises(StepFailed) as failure:
            run_backup(counting.session(), EVERYTHING)
        assert failure.value.exit_code == 3
        assert "ALTER TABLE counted" in " ".join(failure.value.details)
        assert set(counting.folder.glob("backups/*/manifest.json")) == before
        counting.wait_until_it_counts()
        counting.said.truncate(0)
        run_backup(counting.session(dry_run=True), EVERYTHING)
        assert "ALTER TABLE counted" in counting.said.getvalue()
        made = _back_up(counting)
        assert made.manifest.consistent
    finally:
        flag.unlink()
        for remembered in counting.folder.glob("backups/.runs/core/dump-in-window"):
            remembered.unlink()
