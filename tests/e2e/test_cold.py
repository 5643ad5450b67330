"""Cold sets: whole servers, copied after a clean shutdown, and servers that start from them."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from quiesce.adapters.host import embedded_binaries, embedded_postgres
from quiesce.commands.backup import run_backup
from quiesce.commands.lifecycle import run_start, run_stop
from quiesce.commands.restore import run_restore
from quiesce.errors import RequestError, StepFailed
from quiesce.model import BackupSet
from quiesce.plan.backup import BackupRequest
from quiesce.plan.restore_request import RestoreRequest
from tests.support.byhand import paste
from tests.support.counting import Counting, unpack, wait_until

COLD = BackupRequest(mode="cold")


@pytest.fixture(scope="module")
def shared() -> Iterator[Counting]:
    """A stack on the host runtime."""
    yield from _counting(on_engine=False)


@pytest.fixture
def counting(shared: Counting) -> Counting:
    """It counts."""
    run_start(shared.session(), ())
    shared.wait_until_it_counts()
    return shared


@pytest.fixture
def on_engine(engine: str) -> Iterator[Counting]:
    """The same stack in containers."""
    yield from _counting(on_engine=True)


def _counting(*, on_engine: bool) -> Iterator[Counting]:
    with Counting.temporary(on_engine=on_engine) as made:
        made.begin()
        yield made


def _number_in(made: BackupSet, scratch: Path) -> int:
    scratch.mkdir()
    record = next(volume for volume in made.manifest.volumes if volume.key == "numbers")
    for level in record.levels:
        unpack(made.path / level, scratch)
    return int((scratch / "number").read_text())


def _there_and_back(counting: Counting, scratch: Path) -> None:
    made = run_backup(counting.session(), COLD)
    assert made is not None
    number = _number_in(made, scratch)
    counting.wait_until_it_counts()
    (cluster,) = made.manifest.clusters
    assert (cluster.state, cluster.open) == ("shut down", False)
    assert made.manifest.consistent
    assert made.manifest.databases == ()
    assert set(made.manifest.services_stopped) == {"db", "counter"}
    run_stop(counting.session(), ("counter",))
    assert counting.number() > number
    run_restore(counting.session(), made.name, RestoreRequest())
    # The counter was stopped and stays so: what the server says is what the set holds.
    for database in ("rulesdb", "memorydb"):
        assert counting.sql(database, "SELECT n FROM counted") == [(number,)]
    assert int((counting.volume("numbers") / "number").read_text()) == number
    identifier = counting.sql("rulesdb", "SELECT system_identifier FROM pg_control_system()")
    assert identifier == [(int(cluster.system_identifier),)]
    safety = counting.session().local_sets()[-1]
    assert safety.manifest.mode == "cold"
    run_restore(counting.session(), safety.name, RestoreRequest(safety=False))
    assert counting.number() > number
    run_start(counting.session(), ())
    counting.wait_until_it_counts()


def test_a_cold_set_restores_to_a_server_that_starts(counting: Counting, tmp_path: Path) -> None:
    """Databases and file show one number again; the safety set is cold, too, and leads back."""
    _there_and_back(counting, tmp_path / "set")


def test_a_cold_set_is_unpacked_by_hand(counting: Counting, tmp_path: Path) -> None:
    """Its page, pasted: every volume is there, byte for byte, the server's own too."""
    made = run_backup(counting.session(), COLD)
    assert made is not None
    folder = shutil.copytree(made.path, tmp_path / "set")
    paste(folder)
    number = _number_in(made, tmp_path / "one")
    assert int((folder / "restored" / "numbers" / "number").read_text()) == number
    server = folder / "restored" / "postgres-data"
    (record,) = [volume for volume in made.manifest.volumes if volume.key == "postgres-data"]
    found = [path for path in server.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in found) == record.bytes
    assert any(path.name == "pg_control" for path in found)


@pytest.mark.engine
def test_a_cold_set_of_containers_restores_to_a_server_that_starts(
    on_engine: Counting, tmp_path: Path
) -> None:
    """The same, on a real engine."""
    _there_and_back(on_engine, tmp_path / "set")


def test_a_server_that_was_killed_is_not_copied(counting: Counting) -> None:
    """Its control file says so. No set, exit 3; and what was down stays down."""
    data = counting.volume("postgres-data")
    sets = set(counting.folder.glob("backups/*/manifest.json"))
    run_stop(counting.session(), ("counter",))
    postmaster = embedded_postgres.read_postmaster(data)
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGKILL)
    wait_until(lambda: counting.is_down("db"), "the killed server to be gone")
    with pytest.raises(StepFailed) as failure:
        run_backup(counting.session(), COLD)
    assert failure.value.exit_code == 3
    assert "could be corrupt" in failure.value.fact
    assert set(counting.folder.glob("backups/*/manifest.json")) == sets
    assert list(counting.folder.glob("backups/.staging/*")) == []
    assert counting.is_down("db")
    # After a start and a clean stop it is copied, and nothing is started that was down.
    run_start(counting.session(), ("db",))
    run_stop(counting.session(), ("db",))
    made = run_backup(counting.session(), COLD)
    assert made is not None
    found = embedded_postgres.controldata(embedded_binaries.find_binaries(), data)
    (cluster,) = made.manifest.clusters
    assert cluster.system_identifier == found.system_identifier
    assert cluster.state == found.state
    assert counting.is_down("db")


def test_a_cold_set_of_another_major_is_refused(counting: Counting) -> None:
    """Before anything stops: its files could not be read by the server that is here."""
    made = run_backup(counting.session(), COLD)
    assert made is not None
    manifest = made.path / "manifest.json"
    version = f'"version": "{made.manifest.clusters[0].version}"'
    text = manifest.read_text()
    assert version in text
    manifest.write_text(text.replace(version, '"version": "9"'))
    sums = manifest.with_name("SHA256SUMS")
    lines = [line for line in sums.read_text().splitlines() if "manifest.json" not in line]
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    sums.write_text("\n".join([*lines, f"{digest}  manifest.json", ""]))
    before = counting.number()
    with pytest.raises(RequestError, match="PostgreSQL 9"):
        run_restore(counting.session(), made.name, RestoreRequest())
    assert counting.number() >= before


def test_a_cold_backup_of_one_database_is_refused(counting: Counting) -> None:
    """A server is copied whole or not at all."""
    with pytest.raises(RequestError, match="whole servers"):
        run_backup(counting.session(), BackupRequest(mode="cold", only=("rulesdb",)))
