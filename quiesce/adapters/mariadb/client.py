"""Runs mariadb-dump beside the server, in a thread, and tells when it has its snapshot.

The client writes what it does into a file, one line per stage. The line after `Starting
transaction` proves that the server has answered `START TRANSACTION WITH CONSISTENT SNAPSHOT`. On
an engine that shares no folder with this machine, the file arrives at the end: the dump is then
seen to have its snapshot when it is complete.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from quiesce.errors import QuiesceError
from quiesce.model import Database, SetKind
from quiesce.ports import DIRECTORY, Runtime

TRAILER = b"-- Dump completed"
STARTED = b"-- Starting transaction..."
LACKING = b"insufficient privileges"
_KINDS = {"full": (), "schema": ("--no-data",), "data": ("--no-create-info", "--skip-triggers")}


class Dumping:
    """A client that was started. Its script is `path` when `wait` returns."""

    def __init__(
        self, runtime: Runtime, database: Database, argv: Sequence[str], path: Path, run: str
    ) -> None:
        self.path = path
        self._log = path.with_suffix(".log")
        self._problem: BaseException | None = None
        self._key = database.key
        for file in (self.path, self._log):
            file.unlink(missing_ok=True)
        password = database.password.reveal() if database.password else ""

        def work() -> None:
            try:
                runtime.run_tool(
                    database.service,
                    argv,
                    environment={"MYSQL_PWD": password, "LC_ALL": "C"},
                    directory=path.parent,
                    writable=True,
                    label=run,
                )
            except BaseException as problem:  # noqa: BLE001 - raised in the thread that waits
                self._problem = problem

        # The kernel ties the client to the thread that started it, which therefore waits for it.
        self._thread = threading.Thread(target=work, name=f"dump {database.key}", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the client has ended, with or without success."""
        return not self._thread.is_alive()

    def has_snapshot(self) -> bool:
        """Whether it is proven that the server gave this client its snapshot. Raise the client's
        error if it failed."""
        if self.ended:
            self.wait()
            return True
        try:
            stages = self._log.read_bytes()
        except FileNotFoundError:
            return False
        return b"\n--" in stages.partition(STARTED)[2]

    def wait(self) -> None:
        """Wait until the script is complete, or raise what went wrong."""
        while self._thread.is_alive():
            self._thread.join(1.0)
        if isinstance(self._problem, QuiesceError):
            raise QuiesceError(
                f"the dump of database {self._key} failed: {self._reason()}",
                self._problem.hint,
                details=self._problem.details,
            ) from self._problem
        if self._problem is not None:
            raise self._problem
        if TRAILER not in end_of(self.path):
            raise QuiesceError(f"the dump of {self._key} is incomplete", "try again")

    def remove(self) -> None:
        """Remove its files."""
        for file in (self.path, self._log):
            file.unlink(missing_ok=True)

    def _reason(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        said = [*getattr(self._problem, "details", ()), *lines]
        wrong = [line for line in said if not line.startswith("--")]
        return wrong[-1] if wrong else str(self._problem)


def dump_arguments(
    database: Database,
    kind: SetKind,
    file: str,
    *,
    only: Sequence[str],
    without: Sequence[str],
    history: bool = False,
) -> list[str]:
    """Return the command that dumps a database to `file`: the tables `only`, if there are any, or
    everything but the tables `without`; with the `history` of versioned tables, which clients
    before 10.11 cannot write. It contains no secret."""
    code = ("--routines", "--events") if kind != "data" and not only else ()
    return [
        "mariadb-dump",
        "--no-defaults",
        "--protocol=TCP",
        "--host=127.0.0.1",
        f"--port={database.port}",
        f"--user={database.user}",
        "--single-transaction",
        "--quick",
        "--hex-blob",
        "--no-tablespaces",
        "--skip-add-locks",
        "--skip-disable-keys",
        "--skip-no-autocommit",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        "--verbose",
        f"--log-error={DIRECTORY}/{Path(file).with_suffix('.log').name}",
        f"--result-file={DIRECTORY}/{file}",
        *(("--dump-history",) if history and kind != "schema" else ()),
        *_KINDS[kind],
        *code,
        *(f"--ignore-table={database.name}.{table}" for table in without),
        "--",
        database.name,
        *only,
    ]


def end_of(path: Path, most: int = 400) -> bytes:
    """Return the last bytes of a file, none if it does not exist."""
    if not path.exists():
        return b""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - most))
        return stream.read()
