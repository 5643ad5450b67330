"""Creates and fills staging databases, or replaces rows in the live ones."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from quiesce.adapters.postgres import catalog, ownership, sql_load, sql_reader
from quiesce.adapters.postgres import create as side
from quiesce.adapters.postgres.client import checked_file, linked
from quiesce.adapters.postgres.client_args import (
    load_arguments,
    load_rows_arguments,
    refused_by_server,
    rows_arguments,
    schema_arguments,
    script_of_arguments,
    section_arguments,
)
from quiesce.adapters.postgres.copy_stream import Rows, rows_of, through_pipe
from quiesce.adapters.postgres.data_only import find_drift, replace_rows
from quiesce.adapters.postgres.dump_toc import Archive, is_archive, read_archive
from quiesce.adapters.postgres.load_by_statement import (
    Deviations,
    StatementLoad,
    analyze,
    unrestorable,
)
from quiesce.adapters.postgres.read_dump import read_dump
from quiesce.adapters.postgres.requirements import Needs
from quiesce.adapters.postgres.search_path import TemporaryPaths
from quiesce.adapters.postgres.session import NoDatabase
from quiesce.adapters.postgres.shell import shell
from quiesce.errors import QuiesceError
from quiesce.model import Database, DatabaseRecord, RowsRecord
from quiesce.ports import DatabaseContents, Drift, DumpReading, Handover, LoadedRows, Runtime, Shell


class Loading(Needs):
    """The part of `DatabaseAdmin` that creates, fills and completes databases."""

    def __init__(
        self, runtime: Runtime, databases: Sequence[Database], run: str, scratch: Path
    ) -> None:
        super().__init__(runtime, databases, run, scratch)
        #: The role that loaded a file into the database of this name, and the owners that the file
        #: names.
        self._loaders: dict[str, tuple[sql_load.Loader, frozenset[str]]] = {}

    def read_dump(
        self, record: DatabaseRecord, directory: Path, file: str, *, running: bool
    ) -> DumpReading:
        return read_dump(self._runtime, record, directory, file, running=running, label=self._run)

    def shell(self, database: Database, argv: Sequence[str], run: str) -> Shell:
        return shell(database, argv, run)

    def create(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        with self._maintenance(database) as session:
            open_one = functools.partial(self._open, database)
            side.create(session, database, name, record, self._run, open_one)

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
        dump = checked_file(directory, file)
        with self._open(database, name) as session:
            side.require_empty(session, name)
            version = session.version
            rows = session.rows("SELECT spcname FROM pg_tablespace")
        # The dump's tablespaces are used only if the server has them.
        needed = {entry.tablespace for entry in read_archive(dump).entries} - {""}
        tablespaces = needed <= {str(space) for (space,) in rows}
        if not (record is not None and record.obstacles):
            try:
                self._load_at_once(
                    database, name, directory, file, version, tablespaces=tablespaces
                )
            except QuiesceError as problem:
                if not refused_by_server(problem.details):
                    raise
                # pg_restore failed at part of the dump: try again, statement by statement.
                with self._maintenance(database) as session:
                    side.recreate(session, name, self._run, functools.partial(self._open, database))
            else:
                return ()
        path = record.search_path if record is not None else ()
        deviations = Deviations(not_valid, skip_broken)
        self._load_by_statement(
            database, name, dump, version, path, deviations, tablespaces=tablespaces
        )
        deviations.require(f"the dump of {database.key}")
        return tuple(deviations.done)

    def _load_at_once(
        self,
        database: Database,
        name: str,
        directory: Path,
        file: str,
        version: int,
        *,
        tablespaces: bool,
    ) -> None:
        self._client.run(
            database,
            load_arguments(file, side.load_jobs(), tablespaces=tablespaces),
            name=name,
            version=version,
            directory=directory,
            writable=False,
            what=f"loading {Path(file).name} into database {name}",
            interrupted=lambda: self._end_clients(database, name),
        )

    def _load_by_statement(
        self,
        database: Database,
        name: str,
        dump: Path,
        version: int,
        path: Sequence[str],
        deviations: Deviations,
        *,
        tablespaces: bool,
    ) -> None:
        archive = read_archive(dump)
        with (
            linked(dump, self._scratch) as here,
            _removing(here, "pre-data", "post-data", "first", "last"),
            self._open(database, name) as script,
            self._open(database, name) as looker,
        ):

            def client(argv: Sequence[str], what: str, *, writable: bool) -> None:
                self._client.run(
                    database,
                    argv,
                    name=name,
                    version=version,
                    directory=self._scratch,
                    writable=writable,
                    what=f"{what} of {dump.name}",
                    interrupted=lambda: self._end_clients(database, name, (script.pid, looker.pid)),
                )

            def written(section: str) -> Path:
                into = here.with_name(f"{here.name}.{section}")
                argv = section_arguments(here.name, into.name, section, tablespaces=tablespaces)
                client(argv, f"reading {section}", writable=True)
                return into

            loader = StatementLoad(script, looker, TemporaryPaths(looker, path), deviations)
            late = loader.before_rows(written("pre-data"))
            for entries in _rows_in_order(archive, late, here):
                argv = load_rows_arguments(here.name, side.load_jobs(), entries)
                try:
                    client(argv, "loading the rows", writable=False)
                except QuiesceError as problem:
                    if not refused_by_server(problem.details):
                        raise
                    what = f"the dump of {database.key}"
                    raise unrestorable(what, [problem.fact, *deviations.problems], set()) from None
            loader.after_rows(written("post-data"))

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
                what=f"the dump of the schema of {database.key}",
                interrupted=lambda: self._end_clients(database, database.name),
            )
            self.load(database, name, self._scratch, partial.name)

    def drift(
        self, database: Database, name: str, record: RowsRecord, directory: Path, file: str
    ) -> Drift:
        dump = checked_file(directory, file)
        with self._open(database, name) as session:
            return find_drift(session, _rows_in(dump), record)

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
        deviations = Deviations(not_valid, skip_broken)
        dump = checked_file(directory, file)
        rows = _rows_in(dump)
        if not is_archive(dump):
            with self._open(database, name) as session, dump.open("rb", buffering=0) as script:
                # It was read to its end before, and is complete.
                loaded = replace_rows(
                    session, rows, record, script, lambda: None, check, deviations, self._spool
                )
                analyze(session)
            return LoadedRows(*loaded, tuple(deviations.done))
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
                    what=f"reading {dump.name}",
                )

            with through_pipe(pipe, write) as (stream, complete):
                loaded = replace_rows(
                    session, rows, record, stream, complete, check, deviations, self._spool
                )
            analyze(session)
        return LoadedRows(*loaded, tuple(deviations.done))

    def _spool(self) -> BinaryIO:
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Without a name, so that nothing remains.
        return cast(BinaryIO, tempfile.TemporaryFile(dir=self._scratch))

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
                what=f"reading {archive.name}",
            )
        return script

    def missing_for_script(self, database: Database, script: Path, name: str) -> tuple[str, ...]:
        facts = sql_reader.read_script(script, name)
        with self._maintenance(database) as session:
            lacks = sql_load.missing(session, facts)
        with sql_reader.opened(script) as view:
            return tuple(f"{fact} (line {sql_reader.line_at(view, at)})" for fact, at in lacks)

    def load_script(self, database: Database, name: str, script: Path) -> tuple[int, int]:
        facts = sql_reader.read_script(script, script.name)
        with self._open(database, name) as session:
            side.require_empty(session, name)
            self._loaders[name] = (
                sql_load.load(
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
            tables = catalog.digest_tables(session, catalog.DIGEST_ALGORITHM)
        return len(tables), sum(table.rows for table in tables)

    def login_for(self, database: Database, name: str) -> Database:
        loaded = self._loaders.get(name)
        return loaded[0].login if loaded else database

    def finish(
        self, database: Database, name: str, record: DatabaseRecord | None
    ) -> Handover | None:
        given = None
        with self._open(self.login_for(database, name), name) as session:
            analyze(session)
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
                owners |= frozenset(ownership.owners_of(live))
                live_owner = str(catalog.locale_of(live, database.name)["owner"])
        except NoDatabase:
            pass  # there is no live database yet
        with self._open(database, name) as session:
            owner = ownership.choose(session, database.name, live_owner, owners, database.user)
            invokers = sql_load.hand_over(session, loader, owner)
        del self._loaders[name]
        return Handover(owner.name, owner.members, invokers)


@contextlib.contextmanager
def _removing(here: Path, *suffixes: str) -> Iterator[None]:
    """Remove the files beside this one at the end."""
    try:
        yield
    finally:
        for suffix in suffixes:
            here.with_name(f"{here.name}.{suffix}").unlink(missing_ok=True)


def _rows_in_order(archive: Archive, late: frozenset[tuple[str, str]], here: Path) -> Iterator[str]:
    """Yield the list of the rows to load first, then the list of the others; an empty name for all
    at once."""
    last = [
        e.number for e in archive.entries if e.kind == "TABLE DATA" and (e.schema, e.name) in late
    ]
    if not last:
        yield ""
        return
    first = [e.number for e in archive.entries if e.number not in set(last)]
    for which, numbers in (("first", first), ("last", last)):
        entries = here.with_name(f"{here.name}.{which}")
        entries.write_text("".join(f"{number};\n" for number in numbers))
        yield entries.name


def _rows_in(dump: Path) -> tuple[Rows, ...]:
    if is_archive(dump):
        return rows_of(read_archive(dump))
    return tuple(sql_reader.read_script(dump, dump.name).rows)
