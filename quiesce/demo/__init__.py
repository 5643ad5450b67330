"""`inv demo`: backs up, destroys and restores a throwaway stack, without Docker.

up → migrate → fill → backup → destroy → restore → compare, with the verbs that a real stack uses,
on the host runtime. It writes only to one temporary folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quiesce.app import Options, Session
from quiesce.app.wiring import connect, disconnect, end_host_processes, require_embedded
from quiesce.commands.backup import run_backup
from quiesce.commands.lifecycle import run_down, run_up
from quiesce.commands.migrate import run_migrate
from quiesce.commands.restore import run_restore
from quiesce.config import load_stack
from quiesce.demo import fingerprint, seed
from quiesce.demo.place import throwaway
from quiesce.demo.stack import write_stack
from quiesce.errors import CheckFailed, QuiesceError
from quiesce.execute.interrupts import Interrupts
from quiesce.execute.run import Ports
from quiesce.model import Stack
from quiesce.plan.backup import BackupRequest
from quiesce.plan.restore_request import RestoreRequest
from quiesce.ports import DIRECTORY
from quiesce.report import Reporter

_CHAPTERS = 7


@dataclass(slots=True)
class Demo:
    """One run of the demo. `seconds` is the duration of each chapter."""

    reporter: Reporter
    stack: Stack
    amounts: seed.Amounts
    chapter: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> Mapping[str, object]:
        """Run the demo, and return the facts for the report.

        Raise CheckFailed listing the differences, if any.
        """
        session = Session(self.stack, self.reporter, Options(yes=True))
        self._announce("start an empty PostgreSQL server and the API, migrate two databases")
        run_up(session, ())
        run_migrate(session, (), "head")
        self._announce(
            f"add data: {self.amounts.rules} rules, {self.amounts.memories} vectors, files"
        )
        self._fill()
        self._announce("back up: one consistent set of databases and files")
        began = session.clock.monotonic()
        made = run_backup(session, BackupRequest(label="demo"))
        self.seconds["backup"] = session.clock.monotonic() - began
        if made is None:
            raise QuiesceError("the demo made no backup", "this is a bug: please report it")
        before = self._fingerprint(made.manifest.databases[0].digest_algorithm)
        self._announce("destroy everything: remove the services, delete every volume")
        run_down(session, ())
        self._destroy()
        self._announce("start again with empty volumes, and restore")
        run_up(session, ("db",))
        began = session.clock.monotonic()
        run_restore(session, "latest", RestoreRequest(safety=False))
        self.seconds["restore"] = session.clock.monotonic() - began
        run_up(session, ())
        self._announce("compare all tables and files")
        after = self._fingerprint(made.manifest.databases[0].digest_algorithm)
        different = fingerprint.differences(before, after)
        if different:
            raise CheckFailed(
                f"{len(different)} tables or files differ after the restore",
                "this is a bug in Quiesce: please report it",
                details=different,
            )
        self._announce("clean up")
        return {
            "identical": True,
            "tables": len(before.tables),
            "rows": before.rows,
            "files": len(before.files),
            "bytes": before.bytes,
            "set_bytes": made.bytes,
            "backup_seconds": round(self.seconds["backup"], 3),
            "downtime_seconds": made.manifest.downtime_seconds.overall,
            "restore_seconds": round(self.seconds["restore"], 3),
            "runtime": self.stack.instance.runtime,
        }

    def _announce(self, what: str) -> None:
        self.chapter += 1
        self.reporter.note(f"[{self.chapter}/{_CHAPTERS}] {what}")

    def _connected(self) -> Ports:
        return connect(self.stack, "demo", self.reporter)

    def _fill(self) -> None:
        ports = self._connected()
        folder = self.stack.directory / "seed"
        folder.mkdir(mode=0o700)
        try:
            self._load(ports, folder, "rulesdb", seed.rules_sql(self.amounts))
            self._load(ports, folder, "memorydb", seed.memories_sql(self.amounts))
            for volume in ports.runtime.volumes(self.stack.volumes):
                if volume.key == "backend-media" and volume.mountpoint is not None:
                    seed.write_uploads(volume.mountpoint, self.amounts)
        finally:
            disconnect(ports, "demo")

    def _load(self, ports: Ports, folder: Path, key: str, lines: Iterable[str]) -> None:
        database = self.stack.database(key)
        with (folder / f"{key}.sql").open("w") as file:
            file.writelines(lines)
        password = database.password.reveal() if database.password else ""
        ports.runtime.run_tool(
            database.service,
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", f"{DIRECTORY}/{key}.sql"],
            environment={
                "PGHOST": "127.0.0.1",
                "PGPORT": str(database.port),
                "PGUSER": database.user,
                "PGPASSWORD": password,
                "PGDATABASE": database.name,
            },
            directory=folder,
            writable=False,
            label="demo",
        )

    def _fingerprint(self, algorithm: str) -> fingerprint.Fingerprint:
        ports = self._connected()
        try:
            return fingerprint.take(self.stack, ports, algorithm)
        finally:
            disconnect(ports, "demo")

    def _destroy(self) -> None:
        ports = self._connected()
        try:
            for volume in ports.runtime.volumes(self.stack.volumes):
                if volume.mountpoint is not None:
                    shutil.rmtree(volume.mountpoint)
        finally:
            disconnect(ports, "demo")


def run_demo(reporter: Reporter, environ: Mapping[str, str]) -> None:
    """Run the demo and report it. Cleans up after itself and after killed demos.

    Raise RequestError, before anything is created, if the embedded PostgreSQL cannot run.
    """
    require_embedded()
    example = Path(__file__).resolve().parents[2]
    interrupts = Interrupts()

    def end_processes(folder: Path) -> None:
        with interrupts.shield():
            end_host_processes(folder)

    with interrupts.installed():
        with throwaway(end_processes) as folder:
            stack = load_stack(write_stack(example, folder), None, environ)
            facts = Demo(reporter, stack, seed.Amounts()).run()
        interrupts.check()
    reporter.done(
        f"identical: {facts['tables']} tables with {facts['rows']} rows and {facts['files']} "
        "files were restored unchanged",
        facts,
    )
