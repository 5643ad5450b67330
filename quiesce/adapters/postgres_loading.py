"""Databases made and filled beside the live ones, or rows put into the live ones themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from quiesce.adapters import postgres_handover as handover
from quiesce.adapters import postgres_record as records
from quiesce.adapters import postgres_script as files
from quiesce.adapters import postgres_side as side
from quiesce.adapters import sql_script
from quiesce.adapters.postgres_archive import is_archive, read_archive
from quiesce.adapters.postgres_client import checked_file, linked
from quiesce.adapters.postgres_copy import Rows, rows_of, through_pipe
from quiesce.adapters.postgres_dump import (
    load_arguments,
    rows_arguments,
    schema_arguments,
    script_of_arguments,
)
from quiesce.adapters.postgres_needs import Needs
from quiesce.adapters.postgres_rows import find_drift, replace_rows
from quiesce.adapters.postgres_session import NoDatabase
from quiesce.model import Database, DatabaseRecord
from quiesce.ports import DatabaseContents, Drift, Handover, Runtime


class Loading(Needs):
    """The part of `DatabaseAdmin` that makes, fills and finishes databases."""

    def __init__(
        self, runtime: Runtime, databases: Sequence[Database], run: str, scratch: Path
    ) -> None:
        super().__init__(runtime, databases, run, scratch)
        #: Who loaded a file into the database of this name, and the owners the file names.
        self._loaders: dict[str, tuple[files.Loader, frozenset[str]]] = {}

    def create(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        with self._maintenance(database) as session:
            open_one = functools.partial(self._open, database)
            side.create(session, database, name, record, self._run, open_one)

    def load(self, database: Database, name: str, directory: Path, file: str) -> None:
        dump = checked_file(directory, file)
        with self._open(database, name) as session:
            side.require_empty(session, name)
            version = session.version
            rows = session.rows("SELECT spcname FROM pg_tablespace")
        # Where tables lie on disk is the server's own business; that they are there is not.
        needed = {entry.tablespace for entry in read_archive(dump).entries} - {""}
        tablespaces = needed <= {str(space) for (space,) in rows}
        self._client.run(
            database,
            load_arguments(file, side.load_jobs(), tablespaces=tablespaces),
            name=name,
            version=version,
            directory=directory,
            writable=False,
            what=f"loading of {Path(file).name} into database {name}",
            interrupted=lambda: self._end_clients(database, name),
        )

    def copy_schema(self, database: Database, name: str) -> None:
        with self._open(database, name) as session:
            side.require_empty(session, name)
            version = session.version
        file = f"{database.key}.schema"
        with self._client.writing(self._scratch, file) as partial:
            self._client.run(
                database,
                schema_arguments(partial.name),
                name=database.name,
                version=version,
                directory=self._scratch,
                writable=True,
                what=f"dump of the schema of {database.key}",
                interrupted=lambda: self._end_clients(database, database.name),
            )
            self.load(database, name, self._scratch, partial.name)

    def drift(
        self, database: Database, name: str, record: DatabaseRecord, directory: Path, file: str
    ) -> Drift:
        dump = checked_file(directory, file)
        with self._open(database, name) as session:
            return find_drift(session, _rows_in(dump), record)

    def replace_rows(
        self,
        database: Database,
        name: str,
        record: DatabaseRecord,
        directory: Path,
        file: str,
        check: Callable[[DatabaseContents], None],
    ) -> tuple[int, int]:
        dump = checked_file(directory, file)
        rows = _rows_in(dump)
        if not is_archive(dump):
            with self._open(database, name) as session, dump.open("rb", buffering=0) as script:
                # Read to its end before, and found complete.
                loaded = replace_rows(session, rows, record, script, lambda: None, check)
                session.run("ANALYZE")
            return loaded
        with self._open(database, name) as session, linked(dump, self._scratch) as here:
            pipe = here.with_suffix(".rows")

            def write() -> None:
                self._client.run(
                    database,
                    rows_arguments(here.name, pipe.name),
                    name=name,
                    version=session.version,
                    directory=self._scratch,
                    writable=True,
                    what=f"reading of {dump.name}",
                )

            with through_pipe(pipe, write) as (stream, complete):
                loaded = replace_rows(session, rows, record, stream, complete, check)
            session.run("ANALYZE")
        return loaded

    def write_out(self, database: Database, archive: Path) -> Path:
        read_archive(archive)
        with self._maintenance(database) as session:
            version = session.version
        script = self._scratch / f"{archive.name}.sql"
        script.unlink(missing_ok=True)
        with linked(archive, self._scratch) as here:
            self._client.run(
                database,
                script_of_arguments(here.name, script.name),
                name=database.name,
                version=version,
                directory=self._scratch,
                writable=True,
                what=f"reading of {archive.name}",
            )
        return script

    def missing_for_script(self, database: Database, script: Path, name: str) -> tuple[str, ...]:
        facts = sql_script.read_script(script, name)
        with self._maintenance(database) as session:
            lacks = files.missing(session, facts)
        with sql_script.opened(script) as view:
            return tuple(f"{fact} (line {sql_script.line_at(view, at)})" for fact, at in lacks)

    def load_script(self, database: Database, name: str, script: Path) -> tuple[int, int]:
        facts = sql_script.read_script(script, script.name)
        with self._open(database, name) as session:
            side.require_empty(session, name)
            self._loaders[name] = (
                files.load(
                    session,
                    lambda user: self._open(user, name),
                    database,
                    self._run,
                    script,
                    facts,
                ),
                frozenset(facts.owners),
            )
            session.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
            tables = records.digest_tables(session, records.DIGEST_ALGORITHM)
        return len(tables), sum(table.rows for table in tables)

    def working_as(self, database: Database, name: str) -> Database:
        loaded = self._loaders.get(name)
        return loaded[0].login if loaded else database

    def finish(
        self, database: Database, name: str, record: DatabaseRecord | None
    ) -> Handover | None:
        given = None
        with self._open(self.working_as(database, name), name) as session:
            session.run("ANALYZE")
        if name in self._loaders:
            given = self._hand_over(database, name)
        with self._maintenance(database) as session:
            side.finish(session, database, name, record, self._run)
        return given

    def _hand_over(self, database: Database, name: str) -> Handover:
        loader, owners = self._loaders[name]
        live_owner = ""
        try:
            with self._open(database, database.name) as live:
                owners |= frozenset(handover.owners_of(live))
                live_owner = str(records.locale_of(live, database.name)["owner"])
        except NoDatabase:
            pass  # nothing is live yet, so nobody owns it
        with self._open(database, name) as session:
            owner = handover.choose(session, database.name, live_owner, owners, database.user)
            invokers = files.hand_over(session, loader, owner)
        del self._loaders[name]
        return Handover(owner.name, owner.members, invokers)


def _rows_in(dump: Path) -> tuple[Rows, ...]:
    if is_archive(dump):
        return rows_of(read_archive(dump))
    return tuple(sql_script.read_script(dump, dump.name).rows)
