"""The port `DatabaseAdmin` for real PostgreSQL servers: query, dump, load and exchange databases.

Sessions use psycopg2, through `runtime.endpoint`; clients such as pg_dump are the server's own, run
beside it through `runtime.run_tool`. Every session of a run has the application name
`quiesce:<run>`, so that the sessions of a dead run can be found and ended (`remove_orphans`).

The parts: `session` connects, `snapshot` exports snapshots, `catalog` reads databases,
`client_args` builds client commands, `dump_toc` reads archives, `create` creates databases,
`data_only` replaces rows, `rename` exchanges databases.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from quiesce.adapters.growth import report_growth
from quiesce.adapters.lock_watch import LockWatch
from quiesce.adapters.postgres import catalog, probe, rename
from quiesce.adapters.postgres.activity import between, combine_activity, observe_activity
from quiesce.adapters.postgres.background import run_beside
from quiesce.adapters.postgres.client import end_of, publish
from quiesce.adapters.postgres.client_args import (
    decode_arguments,
    globals_arguments,
    script_arguments,
)
from quiesce.adapters.postgres.drop import drop
from quiesce.adapters.postgres.dump_toc import read_archive
from quiesce.adapters.postgres.load import Loading
from quiesce.adapters.postgres.lock_monitor import watch_locks
from quiesce.adapters.postgres.obstacles import short_names
from quiesce.adapters.postgres.read_record import read_snapshot
from quiesce.adapters.postgres.rehearsal import rehearse
from quiesce.adapters.postgres.servers import MAINTENANCE
from quiesce.adapters.postgres.session import (
    Session,
    SessionError,
    end_sessions,
    version_text,
)
from quiesce.adapters.postgres.snapshot import ExportedSnapshot, export_snapshot
from quiesce.adapters.postgres.sql_load import drop_role, loader_name
from quiesce.adapters.servers import one_per_server, require_undeclared, server_of
from quiesce.errors import QuiesceError
from quiesce.model import Database, DatabaseRecord, DatabaseSwap, SetKind
from quiesce.observed import Activity, DatabaseState, WrittenBetween
from quiesce.obstacles import Obstacle
from quiesce.ports import DatabaseContents, Progress, Runtime

MARKS = probe.MARKS
_MARK = "INSERT INTO public.quiesce_drill VALUES (%s) ON CONFLICT DO NOTHING"
_MARKED = "SELECT word FROM public.quiesce_drill"
SCRIPT_TRAILER = b"-- PostgreSQL database dump complete"
GLOBALS_TRAILER = b"-- PostgreSQL database cluster dump complete"


class PostgresAdmin(Loading):
    """The servers of these databases. `run` is the id of the current run.

    Several databases may be dumped at once by several threads, each database by one thread. When
    exported snapshots block another session for longer than `lock_patience` seconds (None: no
    limit), they are released, and the dump raises `BlockedAnotherSession`. `scratch` is a folder of
    the run, created when needed and removed by the caller.
    """

    def __init__(
        self,
        runtime: Runtime,
        databases: Sequence[Database],
        run: str,
        lock_patience: float | None = None,
        scratch: Path = Path("/nowhere"),
    ) -> None:
        super().__init__(runtime, databases, run, scratch)
        self._patience = lock_patience
        self._held: dict[str, ExportedSnapshot] = {}
        self._watches: dict[str, LockWatch[Session]] = {}
        self._between: dict[str, tuple[int, ...]] = {}
        self._written_between: dict[str, WrittenBetween] = {}

    # ------------------------------------------------------------------------------- asking

    def observe(self, databases: Sequence[Database]) -> tuple[DatabaseState, ...]:
        return tuple(self._observe(database) for database in databases)

    def undeclared(self, databases: Sequence[Database]) -> tuple[str, ...]:
        names: set[str] = set()
        for first in one_per_server(databases):
            declared = {d.name for d in databases if server_of(d) == server_of(first)}
            with self._maintenance(first) as session:
                found = session.rows("SELECT datname FROM pg_database WHERE NOT datistemplate")
            names |= {name for (name,) in found} - declared - {"postgres"}
            if "postgres" not in declared and self._holds_tables(first, "postgres"):
                names.add("postgres")  # created by initdb, but it may be in use
        return tuple(sorted(names))

    def contents(self, database: Database, name: str, algorithm: str) -> DatabaseContents:
        with self._open(database, name) as session:
            session.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
            return DatabaseContents(
                catalog.digest_tables(session, algorithm),
                catalog.read_sequences(session),
                catalog.read_revision(session),
            )

    def mark(self, database: Database, word: str) -> None:
        with self._open(database, database.name) as session:
            if not probe.owns_marks(session):
                session.run(f"CREATE TABLE {MARKS} (word text PRIMARY KEY)")
            session.run(_MARK, [word])

    def marks(self, database: Database) -> tuple[str, ...]:
        with self._open(database, database.name) as session:
            if not probe.owns_marks(session):
                return ()
            return tuple(word for (word,) in session.rows(_MARKED))

    def unmark(self, database: Database) -> None:
        with self._open(database, database.name) as session:
            if probe.owns_marks(session):
                session.run(f"DROP TABLE {MARKS}")

    def ask(self, database: Database, query: str) -> object:
        with self._open(database, database.name) as session:
            return probe.ask(
                session, self._run, query, lambda login: self._open(login, database.name), database
            )

    # ------------------------------------------------------------------------------ dumping

    def obstacles(self, database: Database) -> tuple[Obstacle, ...]:
        with self._open(database, database.name) as session:
            return short_names(session)

    def rehearse(self, databases: Sequence[Database]) -> tuple[str, ...]:
        return rehearse(
            [(d.key, partial(self._open, d, d.name)) for d in databases if d.key not in self._held]
        )

    def hold(self, database: Database, kind: SetKind = "full") -> None:
        del kind  # a dump of any kind can be made from an exported snapshot
        if database.key in self._held:
            return
        open_one = partial(self._open, database, database.name)
        self._held[database.key] = export_snapshot(open_one)
        if self._patience is not None:
            self._watches[database.key] = watch_locks(
                open_one(), self._application, database.key, self._patience
            )

    def activity(self, databases: Sequence[Database]) -> Activity:
        parts = []
        for one in one_per_server(databases):
            here = {d.key: d for d in databases if server_of(d) == server_of(one)}
            # In the order in which they were exported.
            held = {key: held for key, held in self._held.items() if key in here}
            first = next(iter(held.values()), None)
            for key, later in held.items():
                self._between[key] = between(first.instant if first else "", later.instant)
            names = [d.name for d in here.values()]
            with self._maintenance(one) as session:
                since = first.since if first else None
                parts.append(observe_activity(session, names, self._application, since))
        return combine_activity(parts, {d.key: self._between.get(d.key, ()) for d in databases})

    def written_between(self, database: Database) -> WrittenBetween:
        return self._written_between.get(database.key, WrittenBetween())

    def release(self, database: Database) -> None:
        if watch := self._watches.pop(database.key, None):
            watch.stop()
        if held := self._held.pop(database.key, None):
            held.session.close()

    def dump(
        self, database: Database, kind: SetKind, directory: Path, file: str, progress: Progress
    ) -> DatabaseRecord:
        own = database.key not in self._held
        self.hold(database)
        watch = self._watches.get(database.key)
        try:
            return self._dump(database, self._held[database.key], kind, directory, file, progress)
        except QuiesceError as problem:
            if watch is not None and watch.problem is not None:
                raise watch.problem from problem
            raise
        finally:
            if own:
                self.release(database)

    def script(self, database: Database, kind: SetKind, progress: Progress) -> Path:
        own = database.key not in self._held
        self.hold(database)
        held = self._held[database.key]
        name = f"{database.key}.sql"
        path = self._scratch / name
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            with report_growth(lambda: [path], f"dumping {database.key}", progress):
                self._client.run(
                    database,
                    script_arguments(kind, name, held.snapshot),
                    name=database.name,
                    version=held.session.version,
                    directory=self._scratch,
                    writable=True,
                    what=f"the dump of database {database.key}",
                    interrupted=lambda: self._end_clients(
                        database, database.name, (held.session.pid,)
                    ),
                )
        finally:
            if own:
                self.release(database)
        if SCRIPT_TRAILER not in end_of(path):
            raise QuiesceError(f"the dump of {database.key} is incomplete", "try again")
        return path

    def dump_globals(self, service: str, directory: Path, file: str) -> None:
        database = self._of(service)
        with self._maintenance(database) as session:
            version = session.version
        with self._client.writing(directory, file) as partial:
            self._client.run(
                database,
                globals_arguments(
                    partial.relative_to(directory).as_posix(),
                    with_passwords=any(
                        d.role_passwords for d in self._databases if d.service == service
                    ),
                ),
                name=MAINTENANCE[0],
                version=version,
                directory=directory,
                writable=True,
                what=f"the dump of the roles of {service}",
            )
            if GLOBALS_TRAILER not in partial.read_bytes()[-200:]:
                raise QuiesceError(f"the dump of the roles of {service} is incomplete", "try again")
            publish(partial, directory / file)

    # --------------------------------------------------------------------------- exchanging

    def block_connections(self, service: str, names: Sequence[str]) -> None:
        with self._maintenance(self._of(service)) as session:
            rename.block_connections(session, names)

    def allow_connections(self, service: str, names: Sequence[str]) -> None:
        with self._maintenance(self._of(service)) as session:
            rename.allow_connections(session, names)

    def swap(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        with self._maintenance(self._of(service)) as session:
            rename.swap(session, swaps, self._run)

    def put_back(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        with self._maintenance(self._of(service)) as session:
            rename.put_back(session, swaps, self._run)

    def unmark_made(self, database: Database, name: str) -> None:
        with self._maintenance(database) as session:
            rename.remove_mark(session, name)

    def drop(self, database: Database, name: str, suffix: str) -> None:
        require_undeclared(database, name, self._databases)
        with self._maintenance(database) as session:
            drop(session, name, suffix, lambda inside: self._open(database, inside))
            # If a run died while loading a file, its role owned the database that was just dropped.
            drop_role(session, loader_name(self._run), database.user)

    def size(self, database: Database, name: str) -> int | None:
        with self._maintenance(database) as session:
            found = session.rows(
                "SELECT pg_database_size(oid) FROM pg_database WHERE datname = %s", [name]
            )
        return int(found[0][0]) if found else None

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        ended: list[str] = []
        for database in one_per_server(self._databases):
            try:
                session = self._maintenance(database)
            except QuiesceError:
                continue  # a server that is down has no sessions
            with session:
                ended += [
                    f"session {pid} in database {name} of {database.service}"
                    for application in (f"quiesce:{run}", f"db-shell:{run}")
                    for pid, name in end_sessions(session, application)
                ]
            self._drop_reader(database, run)
        return tuple(ended)

    def close(self) -> None:
        for watch in self._watches.values():
            watch.stop()
        for held in self._held.values():
            held.session.close()
        self._watches.clear()
        self._held.clear()

    # ------------------------------------------------------------------------------ in parts

    def _drop_reader(self, database: Database, run: str) -> None:
        with contextlib.suppress(QuiesceError), self._open(database, database.name) as session:
            probe.drop_reader(session, probe.reader_name(run))

    def _holds_tables(self, database: Database, name: str) -> bool:
        try:
            with self._open(database, name) as session:
                return bool(catalog.read_tables(session))
        except SessionError:
            return False

    def _observe(self, database: Database) -> DatabaseState:
        version, exists, size = "", False, 0
        try:
            with self._maintenance(database) as session:
                version = version_text(session.version)
                found = session.rows(
                    "SELECT pg_database_size(oid) FROM pg_database WHERE datname = %s",
                    [database.name],
                )
            exists, size = bool(found), found[0][0] if found else 0
            revision: tuple[str, ...] = ()
            if exists:
                with self._open(database, database.name) as session:
                    revision = catalog.read_revision(session)
        except QuiesceError as problem:
            return DatabaseState(
                database.key, database.name, bool(version), exists, version, (), size, problem.fact
            )
        return DatabaseState(database.key, database.name, True, exists, version, revision, size)

    def _dump(
        self,
        database: Database,
        held: ExportedSnapshot,
        kind: SetKind,
        directory: Path,
        file: str,
        progress: Progress,
    ) -> DatabaseRecord:
        # The exporting session stays idle and another session reads, so that no failure loses the
        # snapshot.
        with (
            self._open(database, database.name) as reader,
            run_beside(
                reader,
                lambda: read_snapshot(
                    reader, held.snapshot, database.name, kind, self._between.get(database.key, ())
                ),
            ) as reading,
            self._client.writing(directory, file) as partial,
        ):
            with report_growth(lambda: [partial], f"dumping {database.key}", progress):
                self._client.dump(
                    database,
                    held,
                    kind,
                    directory,
                    partial,
                    lambda: self._end_clients(database, database.name, (held.session.pid,)),
                    lambda text: progress(f"{database.key}: {text}", 0),
                )
            archive = read_archive(partial)
            self._client.run(
                database,
                decode_arguments(partial.relative_to(directory).as_posix()),
                name=database.name,
                version=reader.version,
                directory=directory,
                writable=False,
                what=f"reading back the dump of {database.key}",
            )
            tables, sequences, facts, self._written_between[database.key] = reading()
            publish(partial, directory / file)
        return DatabaseRecord(
            key=database.key,
            name=database.name,
            service=database.service,
            engine=database.engine,
            server_version=version_text(reader.version),
            client_version=archive.client_version,
            snapshot=held.snapshot,
            wal_position=held.wal_position,
            tables=tables,
            sequences=sequences
            if kind == "schema"
            else catalog.with_owners(archive.sequences(), sequences),
            **facts,
        )
