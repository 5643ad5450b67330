"""Stacks with the service of `counter.py`: on the host runtime, and on a real engine."""

from __future__ import annotations

import base64
import io
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

from quiesce.adapters.host import embedded_binaries
from quiesce.adapters.sets.local import LocalStore
from quiesce.app import Options, Session, open_app
from quiesce.app.wiring import end_host_processes
from quiesce.commands.lifecycle import run_up
from quiesce.model import BackupSet
from quiesce.report import make_reporter
from tests.engine.second import SecondEngine
from tests.support import preloaded
from tests.support.patience import DEADLINE

DATABASES = ("rulesdb", "memorydb")
ROOT = Path(__file__).resolve().parents[2]
_COUNTER = Path(__file__).parent / "counter.py"

_COMMON = """\
version: 1
timezone: UTC
instances:
  core: {INSTANCE, env_file: core.env, retention: few}
databases:
  rulesdb: {service: db, port: "${DB_PORT}", password: "${POSTGRES_PASSWORD}"}
  memorydb: {service: db, port: "${DB_PORT}", password: "${POSTGRES_PASSWORD}"}
volumes:
  postgres-data: {purpose: PostgreSQL data, priority: critical, backup: by-dump}
  numbers: {purpose: The number, priority: critical}
retention:
  few: {keep_last: 3}
"""
_HOST = """\
services:
  db:
    postgres: embedded
    password: ${POSTGRES_PASSWORD}
    port: ${DB_PORT}
    volumes: {postgres-data: PGDATA}
  counter:
    command: [PYTHON, counter.py]
    environment: {PGHOST: 127.0.0.1, PGPORT: "${DB_PORT}", PGPASSWORD: "${POSTGRES_PASSWORD}"}
    volumes: {numbers: COUNT_DIR}
    health: [sh, -c, test -e "$$COUNT_DIR/well"]
    depends_on: [db]
"""
#: On another machine our file cannot be mounted.
_FAR = (
    (', "./counter.py:/counter.py:ro"]', "]"),
    ("/counter.py]", """-c, "import base64, os; exec(base64.b64decode(os.environ['COUNTER']))"]"""),
    ("COUNT_DIR: /numbers}", 'COUNT_DIR: /numbers, COUNTER: "${COUNTER}"}'),
    (
        "    healthcheck: {test: [CMD, pg",
        '    ports: ["5432:5432"]\n    healthcheck: {test: [CMD, pg',
    ),
)
_COMPOSE = """\
services:
  db:
    image: ${POSTGRES_IMAGE}
    restart: unless-stopped
    environment: {POSTGRES_PASSWORD: "${POSTGRES_PASSWORD}"}
    volumes: [postgres-data:/var/lib/postgresql/data]
    healthcheck: {test: [CMD, pg_isready, -U, postgres, -h, 127.0.0.1], interval: 4s, retries: 60}
  counter:
    image: ${PYTHON_IMAGE}
    command: [python3, /counter.py]
    restart: unless-stopped
    init: true
    environment:
      {PGHOST: db, PGPORT: "5432", PGPASSWORD: "${POSTGRES_PASSWORD}", COUNT_DIR: /numbers}
    volumes: ["numbers:/numbers", "./counter.py:/counter.py:ro"]
    healthcheck: {test: test -e /numbers/well, interval: 4s, retries: 60}
    depends_on: {db: {condition: service_healthy}}
volumes:
  postgres-data: {name: "${STACK}-postgres-data"}
  numbers: {name: "${STACK}-numbers"}
"""


@dataclass
class Counting:
    """A stack in a folder, with its service at work after `begin`. `said` is all it was told."""

    folder: Path
    port: int
    project: str
    on_engine: bool
    far: SecondEngine | None = None
    said: io.StringIO = field(default_factory=io.StringIO)
    password: str = "counted"

    @classmethod
    def make(
        cls, folder: Path, *, on_engine: bool = False, far: SecondEngine | None = None
    ) -> Counting:
        """Write everything a user would write. `far` is another machine's engine to live on."""
        folder.mkdir(parents=True, exist_ok=True)
        with closing(socket.socket()) as holder:
            holder.bind(("127.0.0.1", 0))
            port = 5432 if on_engine else int(holder.getsockname()[1])
        made = cls(folder, port, f"qcount{secrets.token_hex(3)}", on_engine, far)
        shutil.copy2(_COUNTER, folder / "counter.py")
        (folder / "counter.py").chmod(0o644)
        project = f"runtime: compose, project: {made.project}, files: [compose.yml]"
        text = _COMMON.replace("INSTANCE", project if on_engine else "runtime: host")
        if on_engine:
            compose = _COMPOSE
            for near, instead in _FAR if far else ():
                assert near in compose
                compose = compose.replace(near, instead)
            (folder / "compose.yml").write_text(compose)
        else:
            text += _HOST.replace("PYTHON", sys.executable)
        (folder / "stack.yaml").write_text(text)
        images = {n: os.environ[n] for n in ("POSTGRES_IMAGE", "PYTHON_IMAGE") if on_engine}
        lines = {
            "DB_PORT": str(port),
            "POSTGRES_PASSWORD": made.password,
            "STACK": made.project,
            **images,
        }
        if far:
            lines["COUNTER"] = base64.b64encode(_COUNTER.read_bytes()).decode()
        env_file = folder / "core.env"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        env_file.chmod(0o600)
        return made

    @classmethod
    @contextmanager
    def temporary(
        cls, *, on_engine: bool = False, far: SecondEngine | None = None
    ) -> Iterator[Counting]:
        """A stack in a folder of its own, and an end of both."""
        # Not pytest's own folder: the embedded server of root runs as another user, who has to get
        # in, and an engine far away must not see the folder.
        folder = Path(tempfile.mkdtemp(prefix="qcounting-"))
        folder.chmod(0o755)
        made = cls.make(folder / "app", on_engine=on_engine, far=far)
        try:
            yield made
        finally:
            made.destroy()
            shutil.rmtree(folder)

    def declare(self, line: str) -> None:
        """Add a line to stack.yaml."""
        with (self.folder / "stack.yaml").open("a") as file:
            file.write(f"{line}\n")

    def session(self, *, dry_run: bool = False) -> Session:
        """The application, as the tasks open it; what it says is added to `said`."""
        reporter = make_reporter(
            task="test",
            json=False,
            stdout=self.said,
            stderr=self.said,
            stdin=io.StringIO(),
            environ={},
            background=False,
        )
        return open_app(self.folder, None, None, reporter, Options(dry_run=dry_run, yes=True))

    def inv(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `inv` as a person does."""
        argv = [sys.executable, "-m", "invoke", *arguments]
        return preloaded.run(
            [*argv, "--stack", str(self.folder / "stack.yaml")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    def begin(self) -> None:
        """Everything runs and counts."""
        run_up(self.session(), ())
        self.wait_until_it_counts()

    def wait_until_it_counts(self) -> None:
        """Return when the number has grown twice."""
        first = self.number()
        wait_until(lambda: self.number() > first + 1, "the number to grow")

    def number(self) -> int:
        """What the counter has got to, by the second database; -1 while nobody answers."""
        try:
            return int(self.sql("memorydb", "SELECT n FROM counted")[0][0])
        except psycopg2.Error:
            return -1

    def sql(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Ask the live server."""
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []

    def connect(self, database: str, application: str = "test") -> Any:
        """A session of somebody who is no service of the stack."""
        connection = psycopg2.connect(
            host=self.address(),
            port=self.port,
            user="postgres",
            password=self.password,
            dbname=database,
            application_name=application,
            connect_timeout=5,
        )
        connection.autocommit = True
        return connection

    def is_down(self, service: str) -> bool:
        """Whether no unit of the service runs."""
        from quiesce.app.wiring import connect, disconnect

        app = self.session()
        ports = connect(app.stack, "looking", app.reporter)
        try:
            return not any(s.running for s in ports.runtime.services() if s.name == service)
        finally:
            disconnect(ports, "looking")

    def address(self) -> str:
        """Where the server listens."""
        if not self.on_engine:
            return "127.0.0.1"
        if self.far:
            return self.far.address
        shape = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return self.docker("inspect", "--format", shape, f"{self.project}-db-1").strip()

    def volume(self, key: str) -> Path:
        """The folder of a volume."""
        if not self.on_engine:
            return self.folder / ".quiesce" / "core" / "volumes" / key
        shape = "{{.Mountpoint}}"
        name = f"{self.project}-{key}"
        return Path(self.docker("volume", "inspect", "--format", shape, name).strip())

    def write_file(self, name: str, text: str) -> None:
        """Put a file beside the number, in the running service where it is a container's."""
        if not self.on_engine:
            (self.volume("numbers") / name).write_text(text)
        else:
            self._inside(f"printf %s '{text}' >/numbers/{name}")

    def read_file(self, name: str) -> str:
        """The file beside the number; empty when there is none."""
        if not self.on_engine:
            path = self.volume("numbers") / name
            return path.read_text() if path.exists() else ""
        return self._inside(f"cat /numbers/{name} 2>/dev/null || true")

    def files(self) -> list[str]:
        """All that is beside the number."""
        if not self.on_engine:
            return [path.name for path in self.volume("numbers").iterdir()]
        return self._inside("ls -A /numbers").split()

    def helpers(self) -> list[str]:
        """The helper containers of this stack, and its mark of being changed."""
        if not self.on_engine:
            return []
        ours = f"label=quiesce.project={self.project}"
        found = self.docker("ps", "--all", "--quiet", "--filter", ours).split()
        return found + self.docker("volume", "ls", "--quiet", "--filter", ours).split()

    def _inside(self, script: str) -> str:
        return self.docker("exec", f"{self.project}-counter-1", "sh", "-c", script)

    # ------------------------------------------------------------------------- sets, by hand

    def sets(self) -> tuple[BackupSet, ...]:
        """The sets that are listed, the oldest first."""
        return LocalStore(self.folder / "backups").sets()

    def numbers_in(self, made: BackupSet, scratch: Path) -> Mapping[str, int]:
        """The number in each database and in the file of a set, by `pg_restore` and `tar`."""
        found = {}
        for key in DATABASES:
            text = self._as_sql(made.path / "databases" / f"{key}.dump")
            (line,) = re.findall(r"^COPY public\.counted .*\n(\d+)\t", text, re.MULTILINE)
            found[key] = int(line)
        scratch.mkdir()
        (record,) = made.manifest.volumes
        if record.gone:
            unpack(made.path / record.levels[0], scratch)
            names = (made.path / record.gone).read_bytes().split(b"\0")
            for name in filter(None, names):
                path = scratch / os.fsdecode(name)
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for level in record.levels[1 if record.gone else 0 :]:
            unpack(made.path / level, scratch)
        found["file"] = int((scratch / "number").read_text())
        return found

    def _as_sql(self, dump: Path) -> str:
        if self.on_engine:
            container = f"{self.project}-db-1"
            argv = [*self._docker(), "exec", "-i", container, "pg_restore", "-f", "-"]
        else:
            argv = [str(embedded_binaries.find_binaries().tool("pg_restore")), "-f", "-"]
        with dump.open("rb") as file:
            ended = subprocess.run(argv, stdin=file, capture_output=True, text=True, check=True)
        return ended.stdout

    # ------------------------------------------------------------------------------- at the end

    def docker(self, *arguments: str) -> str:
        """Run the docker command."""
        argv = [*self._docker(), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def _docker(self) -> list[str]:
        return ["docker", *(("--host", self.far.host) if self.far else ())]

    def destroy(self) -> None:
        """End and remove everything of this stack, by its name."""
        if not self.on_engine:
            end_host_processes(self.folder)
            return
        chosen = f"label=com.docker.compose.project={self.project}"
        listings: Sequence[tuple[str, Sequence[str]]] = (
            ("rm --force --volumes", ("ps", "--all")),
            ("volume rm", ("volume", "ls")),
            ("network rm", ("network", "ls")),
        )
        for remove, listing in listings:
            if found := self.docker(*listing, "--quiet", "--filter", chosen).split():
                self.docker(*remove.split(), *found)


def unpack(archive: Path, into: Path) -> None:
    """Extract an archive of a set with the programs RESTORE.md names."""
    subprocess.run(
        ["tar", "-x", "--numeric-owner", "-C", str(into), "-I", "zstd", "-f", str(archive)],
        check=True,
        capture_output=True,
    )


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of the condition; raise naming what was awaited."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {DEADLINE:.0f} s for {what}")
