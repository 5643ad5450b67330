"""A real PostgreSQL with pgvector, and the example stack's own API as a process beside it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from quiesce.adapters.host import embedded_postgres
from quiesce.errors import RequestError
from tests.support.patience import DEADLINE

ROOT = Path(__file__).resolve().parents[2]
# everything that means something in a URL, in a shell, in an ini file or in an env file
PASSWORD = "p%40@w/o:rd$x#'y"


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of the condition; after a while fail, naming what was awaited."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    pytest.fail(f"waited {DEADLINE:.0f} s for {what}")


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Return status and document of an answer; what is not JSON is returned as bytes."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, content = error.code, error.read()
    try:
        return status, json.loads(content) if content else None
    except ValueError:
        return status, content


@dataclass
class Server:
    """A PostgreSQL server that tests may stop and start."""

    binaries: embedded_postgres.Binaries
    clients: embedded_postgres.Binaries
    data: Path
    port: int
    identity: embedded_postgres.Identity
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until a query is answered."""
        command = embedded_postgres.start_command(
            self.binaries, self.data, self.port, self.identity
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **command.popen_arguments(),
            )
        wait_until(self.answers, "PostgreSQL to answer")

    def stop(self) -> None:
        """Stop in order; clients are sent away."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(DEADLINE)
            self.process = None

    def answers(self) -> bool:
        """Whether a query is answered."""
        try:
            self.execute("postgres", "SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def execute(self, database: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own, or without one where it must be."""
        with closing(psycopg2.connect(**self.address(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []

    def address(self, database: str) -> dict[str, Any]:
        """Arguments for psycopg2."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "postgres",
            "password": PASSWORD,
            "dbname": database,
        }

    def describe_schema(self, database: str) -> str:
        """What pg_dump says of the schema, without what differs from run to run."""
        command = embedded_postgres.client_command(
            self.clients,
            "pg_dump",
            ["--schema-only"],
            {
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.port),
                "PGUSER": "postgres",
                "PGPASSWORD": PASSWORD,
                "PGDATABASE": database,
            },
        )
        dump = subprocess.run(
            command.argv, check=True, capture_output=True, text=True, **command.popen_arguments()
        ).stdout
        lines = dump.splitlines()
        return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestr")))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests of this folder."""
    try:
        installed = embedded_postgres.find_binaries()
    except RequestError as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no PostgreSQL under CI=true: {reason}", pytrace=False)
        pytest.skip(str(reason))
    identity = embedded_postgres.server_identity()
    with tempfile.TemporaryDirectory(prefix="stack-tests-") as folder:
        # run by root, the server is somebody else and has to get through here
        Path(folder).chmod(0o711)
        home = embedded_postgres.place_home(Path(folder, "home"), identity, Path(folder, "home"))
        binaries = embedded_postgres.prepare(installed, home, identity)
        embedded_postgres.initialise(binaries, home / "data", identity, PASSWORD)
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            port = holder.getsockname()[1]
        log = Path(folder, "server.log")
        server = Server(binaries, installed, home / "data", port, identity, log)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@dataclass(frozen=True)
class Databases:
    """A pair of databases, and the environment in which the stack's parts find them."""

    server: Server
    rulesdb: str
    memorydb: str
    environment: Mapping[str, str] = field(repr=False)

    def alembic(self, ini: str, *arguments: str, **changes: str) -> str:
        """Run the alembic command as people do, and return its standard output."""
        return subprocess.run(
            [sys.executable, "-m", "alembic", "-c", ini, *arguments],
            cwd=ROOT,
            env={**self.environment, **changes},
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def migrate(self) -> None:
        """Bring both databases to their newest revision."""
        self.alembic("alembic.ini", "upgrade", "head")
        self.alembic("alembic_memorydb.ini", "upgrade", "head")


@contextmanager
def make_databases(server: Server, template: Databases | None = None) -> Iterator[Databases]:
    """Two databases, empty or copied from a template, that are gone afterwards."""
    suffix = secrets.token_hex(4)
    names = f"rulesdb_{suffix}", f"memorydb_{suffix}"
    sources = (template.rulesdb, template.memorydb) if template else ("template1", "template1")
    for name, source in zip(names, sources, strict=True):
        server.execute("postgres", f"CREATE DATABASE {name} TEMPLATE {source}")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_PASSWORD": PASSWORD,
        "RULESDB_NAME": names[0],
        "MEMORYDB_NAME": names[1],
    }
    yield Databases(server, *names, environment)
    for name in names:
        server.execute("postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def databases(server: Server) -> Iterator[Databases]:
    """Two empty databases."""
    with make_databases(server) as databases:
        yield databases


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[Databases]:
    """Two databases at their newest revision, to copy from."""
    with make_databases(server) as databases:
        databases.migrate()
        yield databases


@pytest.fixture
def migrated(server: Server, template: Databases) -> Iterator[Databases]:
    """Two databases at their newest revision."""
    with make_databases(server, template) as databases:
        yield databases


@dataclass
class Api:
    """The backend as a local process."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and document; bytes as a body go as they are, all else as JSON."""
        return call(self.port, method, path, body)

    def answers(self) -> bool:
        """Whether anybody listens; fails when the process has ended."""
        if self.process.poll() is not None:
            pytest.fail(f"the backend ended with {self.process.returncode}: {self.read_log()}")
        try:
            self.call("GET", "/health")
        except OSError:
            return False
        return True

    def read_log(self) -> str:
        """Everything the process wrote."""
        return (self.folder / "output").read_text()

    def end(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.terminate()
        return self.process.wait(DEADLINE)


@contextmanager
def starting(databases: Databases, folder: Path) -> Iterator[Callable[..., Api]]:
    """A function that starts the backend, with changes to its environment; all end afterwards."""
    started: list[Api] = []

    def start(**changes: str) -> Api:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            port = holder.getsockname()[1]
        home = folder / f"api{len(started)}"
        home.mkdir()
        environment = {
            **databases.environment,
            "PYTHONPATH": str(ROOT / "services" / "backend"),
            "PORT": str(port),
            **changes,
        }
        with (home / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "rules_api"],
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        api = Api(port, home, process)
        started.append(api)
        wait_until(api.answers, "the backend to listen")
        return api

    yield start
    for api in started:
        if api.process.poll() is None:
            api.process.kill()
            api.process.wait()


@pytest.fixture
def start_api(migrated: Databases, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """A function that starts the backend over migrated databases, without redis."""
    with starting(migrated, tmp_path) as start:
        yield start


@pytest.fixture
def api(start_api: Callable[..., Api]) -> Api:
    """The backend over migrated databases, without redis."""
    return start_api()


@pytest.fixture(scope="module")
def unchanged_api(
    server: Server, template: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """One backend for all tests of a module that leave it as it is."""
    folder = tmp_path_factory.mktemp("unchanged")
    with make_databases(server, template) as databases, starting(databases, folder) as start:
        yield start()
