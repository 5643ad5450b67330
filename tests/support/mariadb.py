"""A real MariaDB for tests: its own server on a free port, started once, gone at the end.

`LocalRuntime` is the little of the port `Runtime` that the database adapter needs, over local
processes and the server's own clients.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
import pymysql.constants.CLIENT

from quiesce.adapters.process import program
from quiesce.errors import QuiesceError, RequestError
from quiesce.model import Database, Secret
from quiesce.ports import DIRECTORY, Endpoint
from tests.engine.machine import find_program
from tests.support.programs import require_programs

PACKAGES = ("mariadb-server", "mariadb-client")
PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump")
PASSWORD = "p%40s's \\word"
START_SECONDS = 30.0

CONFIGURATION = """
[mariadbd]
bind-address = 127.0.0.1
innodb-flush-log-at-trx-commit = 0
innodb-buffer-pool-size = 64M
innodb-log-file-size = 16M
innodb-flush-method = nosync
skip-log-bin
skip-name-resolve
sync-frm = 0
aria-sync-log-dir = NEVER
event-scheduler = ON
log-bin-trust-function-creators = ON
"""


class MariaDbServer:
    """One running server, with a user `root` who may do everything."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="quiesce-maria-", dir="/tmp"))
        self.data = self.home / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)
        self._initialise()
        self.start()

    def database(self, name: str, key: str = "", **changes: object) -> Database:
        """A declared database on this server; its service is called `db`."""
        values: dict[str, object] = {
            "key": key or name,
            "name": name,
            "service": "db",
            "user": "root",
            "password": Secret(PASSWORD),
            "port": self.port,
            "migrations": None,
            "engine": "mariadb",
        }
        return Database(**{**values, **changes})  # type: ignore[arg-type]

    def connect(self, name: str | None = None, user: str = "root") -> pymysql.Connection[Any]:
        """A plain connection in autocommit that takes several statements at once."""
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=user, password=PASSWORD, database=name,
            charset="utf8mb4", autocommit=True,
            client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
        )  # fmt: skip

    def run(self, statements: str, name: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements in a database and return the rows of the last one."""
        with self.connect(name) as connection, connection.cursor() as cursor:
            cursor.execute(statements)
            rows = list(cursor.fetchall())
            while cursor.nextset():
                rows = list(cursor.fetchall())
            return rows

    def client(self, script: str, name: str) -> None:
        """Run a script with the server's own client, which knows DELIMITER."""
        subprocess.run(
            [_program("mariadb"), "--no-defaults", "--host=127.0.0.1", f"--port={self.port}",
             "--user=root", "--default-character-set=utf8mb4", "--binary-mode", name],
            input=script.encode(), check=True, env={"MYSQL_PWD": PASSWORD, "PATH": os.defpath},
        )  # fmt: skip

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = (self.home / "log").open("ab")
        self._process = subprocess.Popen(
            [_program("mariadbd"), f"--defaults-file={self.home / 'my.cnf'}",
             f"--datadir={self.data}", f"--port={self.port}", f"--socket={self.home / 'socket'}",
             f"--pid-file={self.home / 'pid'}"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            cwd=self.home, env={"LC_ALL": "C", "PATH": os.defpath}, **_as_whom(),
            preexec_fn=_die_with_the_tests,  # noqa: PLW1509 - it takes no lock
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
            except pymysql.MySQLError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.home / "log").read_text()[-2000:]) from None
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """Stop the server at once: as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(START_SECONDS)
            self._process = None

    def remove(self) -> None:
        """Stop the server and remove its files."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        atexit.unregister(self.remove)

    def _initialise(self) -> None:
        (self.home / "my.cnf").write_text(CONFIGURATION)
        if whom := _as_whom():
            for path in (self.home, self.home / "my.cnf"):
                os.chown(path, int(whom["user"]), int(whom["group"]))
        whom_argument = ["--user=nobody"] if os.geteuid() == 0 else []
        subprocess.run(
            [_program("mariadb-install-db"), f"--defaults-file={self.home / 'my.cnf'}",
             f"--datadir={self.data}", "--auth-root-authentication-method=normal",
             "--skip-test-db", "--skip-name-resolve", *whom_argument],
            check=True, capture_output=True, cwd=self.home,
            env={"LC_ALL": "C", "PATH": f"{os.defpath}:/usr/sbin:/sbin"},
        )  # fmt: skip
        escaped = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        init = self.home / "init.sql"
        init.write_text(
            f"ALTER USER root@localhost IDENTIFIED BY '{escaped}';\n"
            f"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '{escaped}';\n"
            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        init.chmod(0o644)
        with (self.home / "my.cnf").open("a") as stream:
            stream.write(f"init-file = {init}\n")


def _program(name: str) -> str:
    found = find_program(name)
    assert found is not None, name
    return str(found)


def _die_with_the_tests() -> None:
    """Killed tests leave no server: the kernel ends it as a crash would (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _as_whom() -> dict[str, int]:
    """MariaDB refuses to run as root unless told so."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


@dataclass
class LocalRuntime:
    """`endpoint` and `run_tool` over local processes. `calls` is what was run, for asking."""

    server: MariaDbServer
    running: bool = True
    calls: list[tuple[str, ...]] = field(default_factory=list)

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
        command = [part.replace(DIRECTORY, str(directory)) for part in argv]
        command[0] = _program(command[0])
        completed = program.run(
            command, environment={"PATH": os.defpath, **environment}, accept=range(256)
        )
        if completed.exit_code != 0:
            raise QuiesceError(f"{argv[0]} failed", "see details", details=completed.stderr)


@functools.cache
def shared_server() -> MariaDbServer:
    """The one server of this test session.

    Its programs are installed as root under CI=true; elsewhere the test is skipped without them.
    """
    require_programs(PACKAGES, PROGRAMS)
    return MariaDbServer()


@contextlib.contextmanager
def new_database(server: MariaDbServer, name: str, script: str = "") -> Iterator[Database]:
    """A database that this test has for itself; it and all that begin like it are dropped after."""
    server.run(f"CREATE DATABASE {quoted(name)} CHARACTER SET utf8mb4")
    try:
        if script:
            server.client(script, name)
        yield server.database(name)
    finally:
        for (there,) in server.run("SELECT schema_name FROM information_schema.schemata"):
            if str(there).startswith(name[:40]):
                server.run(f"SET lock_wait_timeout = 10; DROP DATABASE IF EXISTS {quoted(there)}")


def quoted(name: str) -> str:
    """A name, quoted for SQL."""
    return "`" + name.replace("`", "``") + "`"
