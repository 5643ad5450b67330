"""Implements the port `DatabaseAdmin`: passes each call to the driver of the database's engine.

The table that maps engines to drivers is in `app/wiring.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from quiesce.errors import QuiesceError, RequestError
from quiesce.model import (
    Capability,
    Database,
    DatabaseRecord,
    DatabaseSwap,
    RowsRecord,
    SetKind,
    lacks,
)
from quiesce.observed import (
    Activity,
    DatabaseState,
    MissingRight,
    MissingRoles,
    Ties,
    WrittenBetween,
)
from quiesce.obstacles import Obstacle
from quiesce.ports import (
    DatabaseContents,
    DatabaseDriver,
    Drift,
    DumpReading,
    Globals,
    Handover,
    LoadedRows,
    Progress,
    Rows,
    Scripts,
    Shell,
    Tied,
)


class EngineDatabases:
    """The databases of a run. `drivers` makes the driver of each engine, once, when it is needed.

    `databases` are the databases of `stack.yaml`; services are looked up among them.
    """

    def __init__(
        self,
        drivers: Mapping[str, Callable[[], DatabaseDriver]],
        databases: Sequence[Database],
    ) -> None:
        self._drivers = drivers
        self._databases = tuple(databases)
        self._made: dict[str, DatabaseDriver] = {}
        # Databases are dumped by several threads.
        self._lock = threading.Lock()

    # --------------------------------------------------------------------------- of several

    def observe(self, databases: Sequence[Database]) -> tuple[DatabaseState, ...]:
        found = {
            id(database): replace(state, engine=database.engine)
            for driver, of_driver in self._by_driver(databases)
            for database, state in zip(of_driver, driver.observe(of_driver), strict=True)
        }
        return tuple(found[id(database)] for database in databases)

    def undeclared(self, databases: Sequence[Database]) -> tuple[str, ...]:
        groups = self._by_driver(databases)
        names = {name for driver, of in groups for name in driver.undeclared(of)}
        return tuple(sorted(names))

    def rehearse(self, databases: Sequence[Database]) -> tuple[str, ...]:
        groups = self._by_driver(databases)
        return tuple(problem for driver, of in groups for problem in driver.rehearse(of))

    def activity(self, databases: Sequence[Database]) -> Activity:
        parts = [driver.activity(of_driver) for driver, of_driver in self._by_driver(databases)]
        return Activity(
            tuple(session for part in parts for session in part.external_sessions),
            tuple(key for part in parts for key in part.moved),
            maintenance=any(part.maintenance for part in parts),
        )

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        groups = self._by_driver(self._databases)
        return tuple(ended for driver, _ in groups for ended in driver.remove_orphans(run))

    def close(self) -> None:
        for driver in self._made.values():
            driver.close()

    # ------------------------------------------------------------------- of every engine

    def await_answer(self, database: Database, seconds: float, still_up: Callable[[], None]) -> str:
        return self._of(database).await_answer(database, seconds, still_up)

    def obstacles(self, database: Database) -> tuple[Obstacle, ...]:
        return self._of(database).obstacles(database)

    def hold(self, database: Database, kind: SetKind = "full") -> None:
        self._of(database).hold(database, kind)

    def written_between(self, database: Database) -> WrittenBetween:
        return self._of(database).written_between(database)

    def release(self, database: Database) -> None:
        self._of(database).release(database)

    def dump(
        self, database: Database, kind: SetKind, directory: Path, file: str, progress: Progress
    ) -> DatabaseRecord:
        return self._of(database).dump(database, kind, directory, file, progress)

    def check_loadable(
        self, database: Database, record: DatabaseRecord, made: Collection[str] = ()
    ) -> tuple[str, ...]:
        return self._of(database).check_loadable(database, record, made)

    def missing_rights(self, database: Database) -> tuple[MissingRight, ...]:
        return self._of(database).missing_rights(database)

    def create(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        self._of(database).create(database, name, record)

    def load(
        self,
        database: Database,
        name: str,
        directory: Path,
        file: str,
        record: DatabaseRecord | None = None,
        *,
        not_valid: bool = False,
        skip_broken: bool = False,
    ) -> tuple[str, ...]:
        return self._of(database).load(
            database, name, directory, file, record, not_valid=not_valid, skip_broken=skip_broken
        )

    def contents(self, database: Database, name: str, algorithm: str) -> DatabaseContents:
        return self._of(database).contents(database, name, algorithm)

    def mark(self, database: Database, word: str) -> None:
        self._of(database).mark(database, word)

    def marks(self, database: Database) -> tuple[str, ...]:
        return self._of(database).marks(database)

    def unmark(self, database: Database) -> None:
        self._of(database).unmark(database)

    def ask(self, database: Database, query: str) -> object:
        return self._of(database).ask(database, query)

    def shell(self, database: Database, argv: Sequence[str], run: str) -> Shell:
        return self._of(database).shell(database, argv, run)

    def finish(
        self, database: Database, name: str, record: DatabaseRecord | None
    ) -> Handover | None:
        return self._of(database).finish(database, name, record)

    def block_connections(self, service: str, names: Sequence[str]) -> None:
        self._at(service).block_connections(service, names)

    def allow_connections(self, service: str, names: Sequence[str]) -> None:
        self._at(service).allow_connections(service, names)

    def swap(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        self._at(service).swap(service, swaps)

    def put_back(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        self._at(service).put_back(service, swaps)

    def unmark_made(self, database: Database, name: str) -> None:
        self._of(database).unmark_made(database, name)

    def drop(self, database: Database, name: str, suffix: str) -> None:
        self._of(database).drop(database, name, suffix)

    def size(self, database: Database, name: str) -> int | None:
        return self._of(database).size(database, name)

    def read_dump(
        self, record: DatabaseRecord, directory: Path, file: str, *, running: bool
    ) -> DumpReading:
        if record.engine not in self._drivers:
            return DumpReading(unread=f"because this version does not know {record.engine}")
        driver = self._driver(record.engine)
        return driver.read_dump(record, directory, file, running=running)

    # -------------------------------------------------------------------- of some engines

    def dump_globals(self, service: str, directory: Path, file: str) -> None:
        self._globals(service).dump_globals(service, directory, file)

    def missing_roles(
        self, database: Database, script: Path, wanted: Collection[str]
    ) -> MissingRoles:
        driver = self._of(database)
        return (
            driver.missing_roles(database, script, wanted)
            if isinstance(driver, Globals)
            else MissingRoles()
        )

    def create_roles(
        self, service: str, script: Path, names: Collection[str], *, whole: bool
    ) -> tuple[str, ...]:
        return self._globals(service).create_roles(service, script, names, whole=whole)

    def copy_schema(self, database: Database, name: str) -> None:
        self._rows(database).copy_schema(database, name)

    def drift(
        self, database: Database, name: str, record: RowsRecord, directory: Path, file: str
    ) -> Drift:
        return self._rows(database).drift(database, name, record, directory, file)

    def replace_rows(
        self,
        database: Database,
        name: str,
        record: RowsRecord,
        directory: Path,
        file: str,
        check: Callable[[DatabaseContents], None],
        *,
        not_valid: bool = False,
        skip_broken: bool = False,
    ) -> LoadedRows:
        return self._rows(database).replace_rows(
            database,
            name,
            record,
            directory,
            file,
            check,
            not_valid=not_valid,
            skip_broken=skip_broken,
        )

    def script(self, database: Database, kind: SetKind, progress: Progress) -> Path:
        return self._scripts(database).script(database, kind, progress)

    def write_out(self, database: Database, archive: Path) -> Path:
        return self._scripts(database).write_out(database, archive)

    def missing_for_script(self, database: Database, script: Path, name: str) -> tuple[str, ...]:
        return self._scripts(database).missing_for_script(database, script, name)

    def load_script(self, database: Database, name: str, script: Path) -> tuple[int, int]:
        return self._scripts(database).load_script(database, name, script)

    def login_for(self, database: Database, name: str) -> Database:
        return self._scripts(database).login_for(database, name)

    def ties(self, database: Database) -> Ties:
        driver = self._of(database)
        return driver.ties(database) if isinstance(driver, Tied) else Ties()

    # ------------------------------------------------------------------------------ in parts

    def _driver(self, engine: str) -> DatabaseDriver:
        with self._lock:
            if engine not in self._made:
                self._made[engine] = self._drivers[engine]()
            return self._made[engine]

    def _of(self, database: Database) -> DatabaseDriver:
        return self._driver(database.engine)

    def _at(self, service: str) -> DatabaseDriver:
        return self._of(self._first(service))

    def _globals(self, service: str) -> Globals:
        driver = self._at(service)
        if not isinstance(driver, Globals):
            raise _cannot(self._first(service), "globals")
        return driver

    def _rows(self, database: Database) -> Rows:
        driver = self._of(database)
        if not isinstance(driver, Rows):
            raise _cannot(database, "rows")
        return driver

    def _scripts(self, database: Database) -> Scripts:
        driver = self._of(database)
        if not isinstance(driver, Scripts):
            raise _cannot(database, "scripts")
        return driver

    def _first(self, service: str) -> Database:
        for database in self._databases:
            if database.service == service:
                return database
        raise QuiesceError(f"no database is declared for service {service}", "see stack.yaml")

    def _by_driver(
        self, databases: Iterable[Database]
    ) -> list[tuple[DatabaseDriver, tuple[Database, ...]]]:
        groups: dict[str, list[Database]] = {}
        for database in databases:
            groups.setdefault(database.engine, []).append(database)
        return [(self._driver(engine), tuple(of)) for engine, of in groups.items()]


def _cannot(database: Database, capability: Capability) -> RequestError:
    return RequestError(
        f"database {database.key}: {lacks(database.engine, capability)}",
        "see docs/databases.md for what each engine can do; nothing was changed",
    )
