"""DatabaseAdmin and Migrator in memory: servers are dicts, dumps are JSON, failures on demand."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from quiesce.errors import QuiesceError, RequestError
from quiesce.model import (
    Database,
    DatabaseRecord,
    DatabaseSwap,
    RowsRecord,
    SetKind,
    TableRecord,
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
from quiesce.ports import DatabaseContents, Drift, DumpReading, LoadedRows, Progress, Shell

ALGORITHM = "fake/1"


@dataclass
class FakeDatabase:
    """One database: rows by table, and what belongs to the database object."""

    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    revision: tuple[str, ...] = ()
    owner: str = "postgres"
    settings: tuple[str, ...] = ()
    is_open: bool = True
    made_by: str = ""

    def records(self) -> tuple[TableRecord, ...]:
        """Rows and digest of every table."""
        return tuple(
            TableRecord("public", name, len(rows), str(zlib.crc32(repr(sorted(rows)).encode())))
            for name, rows in sorted(self.tables.items())
        )


class FakeDatabases:
    """Implements `DatabaseAdmin` in memory.

    `servers[service][name]` is what there is. `calls` lists every effect as `verb:subject`
    (`hold:rulesdb`, `create:rulesdb__new_ab12`, `swap:db`); `fail_on[call] = n` lets the next n
    such calls fail before they do anything (-1: always), `fail_after` after they did it.
    `on_call` is told of every call before it happens and may raise (a crash). `down` services
    cannot be reached; `starting[service] = n` answers after n attempts, `refusals[user]` says
    why it does not let a user in; `problems` is what `check_loadable` finds, `unready` what
    `rehearse` does.
    """

    def __init__(
        self, servers: Mapping[str, Mapping[str, FakeDatabase]] | None = None, run: str = "r-fake"
    ) -> None:
        self.servers = {service: dict(there) for service, there in (servers or {}).items()}
        self.run = run
        self.calls: list[str] = []
        self.fail_on: dict[str, int] = {}
        self.fail_after: dict[str, int] = {}
        self.on_call: Callable[[str], None] | None = None
        self.down: set[str] = set()
        self.problems: tuple[str, ...] = ()
        self.unready: tuple[str, ...] = ()
        self.starting: dict[str, int] = {}
        self.refusals: dict[str, str] = {}
        self.held: dict[str, FakeDatabase] = {}
        self.sessions: dict[str, list[str]] = {}
        self.closed = False
        self.roles_missing = MissingRoles()
        self.tied = Ties()
        self.rest = Activity((), (), maintenance=False)
        self.written: dict[str, WrittenBetween] = {}

    # ------------------------------------------------------------------------------- asking

    def observe(self, databases: Sequence[Database]) -> tuple[DatabaseState, ...]:
        states = []
        for database in databases:
            key, name = database.key, database.name
            if database.service in self.down:
                problem = f"PostgreSQL of service {database.service} does not answer"
                states.append(DatabaseState(key, name, False, False, "", (), 0, problem))
                continue
            there = self._server(database.service).get(name)
            revision = there.revision if there else ()
            size = sum(len(row) for rows in there.tables.values() for row in rows) if there else 0
            states.append(DatabaseState(key, name, True, there is not None, "0.0", revision, size))
        return tuple(states)

    def await_answer(self, database: Database, seconds: float, still_up: Callable[[], None]) -> str:
        with self._call(f"answer:{database.service}"):
            while (left := self.starting.get(database.service, 0)) > 0:
                self.starting[database.service] = left - 1
                still_up()
            self._server(database.service)
            return self.refusals.get(database.user, "")

    def undeclared(self, databases: Sequence[Database]) -> tuple[str, ...]:
        declared = {(database.service, database.name) for database in databases}
        services = {database.service for database in databases}
        return tuple(
            sorted(
                name
                for service in services
                for name in self._server(service)
                if (service, name) not in declared
            )
        )

    def contents(self, database: Database, name: str, algorithm: str) -> DatabaseContents:
        there = self._get(database, name)
        if algorithm != ALGORITHM:
            raise QuiesceError(f"digests of kind {algorithm} are not known", "use a newer version")
        return DatabaseContents(there.records(), (), there.revision)

    def check_loadable(
        self, database: Database, record: DatabaseRecord, made: Collection[str] = ()
    ) -> tuple[str, ...]:
        self._server(database.service)
        return self.problems

    def missing_roles(
        self, database: Database, script: Path, wanted: Collection[str]
    ) -> MissingRoles:
        return self.roles_missing

    def create_roles(
        self, service: str, script: Path, names: Collection[str], *, whole: bool
    ) -> tuple[str, ...]:
        with self._call(f"create_roles:{service}"):
            return ()

    def ties(self, database: Database) -> Ties:
        return self.tied

    def missing_rights(self, database: Database) -> tuple[MissingRight, ...]:
        return ()

    # ------------------------------------------------------------------------------ dumping

    def obstacles(self, database: Database) -> tuple[Obstacle, ...]:
        return ()

    def rehearse(self, databases: Sequence[Database]) -> tuple[str, ...]:
        return self.unready

    def hold(self, database: Database, kind: SetKind = "full") -> None:
        with self._call(f"hold:{database.key}"):
            if database.key not in self.held:
                there = self._get(database, database.name)
                self.held[database.key] = replace(there, tables=dict(there.tables))

    def activity(self, databases: Sequence[Database]) -> Activity:
        with self._call("at_rest"):
            return self.rest

    def written_between(self, database: Database) -> WrittenBetween:
        return self.written.get(database.key, WrittenBetween())

    def release(self, database: Database) -> None:
        with self._call(f"release:{database.key}"):
            self.held.pop(database.key, None)

    def dump(
        self, database: Database, kind: SetKind, directory: Path, file: str, progress: Progress
    ) -> DatabaseRecord:
        with self._call(f"dump:{database.key}"):
            held = self.held.get(database.key) or self._get(database, database.name)
            tables = held.tables if kind != "schema" else dict.fromkeys(held.tables, ())
            archive = {"tables": tables, "revision": held.revision if kind != "schema" else ()}
            path = directory / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(archive))
            progress(f"dumping {database.key}", path.stat().st_size)
            dumped = replace(held, tables=tables)
        return DatabaseRecord(
            database.key, database.name, database.service, "0.0", "0.0", held.revision, None,
            "fake-snapshot", "0/0", "UTF8", "C", "C", "libc", None, held.owner, ALGORITHM,
            dumped.records(), (), (), (held.owner,), held.settings, 0, engine=database.engine,
        )  # fmt: skip

    def read_dump(
        self, record: DatabaseRecord, directory: Path, file: str, *, running: bool
    ) -> DumpReading:
        if not running:
            return DumpReading(unread=f"because {record.service} is not running")
        try:
            json.loads((directory / file).read_text())
        except ValueError as problem:
            return DumpReading(wrong=str(problem))
        return DumpReading()

    def script(self, database: Database, kind: SetKind, progress: Progress) -> Path:
        with self._call(f"script:{database.key}"):
            held = self.held.get(database.key) or self._get(database, database.name)
            folder = Path(tempfile.mkdtemp(prefix="quiesce-fake-"))
            path = folder / f"{database.key}.sql"
            path.write_text(json.dumps({name: list(rows) for name, rows in held.tables.items()}))
            return path

    def dump_globals(self, service: str, directory: Path, file: str) -> None:
        with self._call(f"globals:{service}"):
            self._server(service)
            path = directory / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("CREATE ROLE postgres;\n")

    # ------------------------------------------------------------------------------ loading

    def create(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        with self._call(f"create:{name}"):
            server = self._server(database.service)
            if name in server and (server[name].made_by != self.run or name == database.name):
                raise RequestError(
                    f"database {name} already exists and was not created by this run",
                    "run 'inv recover'",
                )
            server[name] = FakeDatabase(made_by=self.run)

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
        with self._call(f"load:{name}"):
            there = self._get(database, name)
            if there.tables:
                raise RequestError(f"database {name} is not empty", "load into a new one")
            try:
                archive = json.loads((directory / file).read_text())
            except (OSError, ValueError) as problem:
                raise QuiesceError(f"loading {file} failed", "use another set") from problem
            there.tables = {table: tuple(rows) for table, rows in archive["tables"].items()}
            there.revision = tuple(archive["revision"])
            return ()

    def copy_schema(self, database: Database, name: str) -> None:
        with self._call(f"copy_schema:{name}"):
            there, live = self._get(database, name), self._get(database, database.name)
            if there.tables:
                raise RequestError(f"database {name} is not empty", "load into a new one")
            there.tables = dict.fromkeys(live.tables, ())

    def drift(
        self, database: Database, name: str, record: RowsRecord, directory: Path, file: str
    ) -> Drift:
        there = self._get(database, name)
        dumped = json.loads((directory / file).read_text())["tables"]
        return Drift(
            tuple(f"table public.{table} is not there" for table in dumped.keys() - there.tables),
            left=tuple(f"public.{t}" for t in there.tables.keys() - dumped if there.tables[t]),
        )

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
        with self._call(f"replace_rows:{name}"):
            there = self._get(database, name)
            dumped = json.loads((directory / file).read_text())["tables"]
            new = {**there.tables, **{table: tuple(rows) for table, rows in dumped.items()}}
            records = replace(there, tables=new).records()
            check(DatabaseContents(records, (), there.revision))
            there.tables = new
            return LoadedRows(len(dumped), sum(map(len, dumped.values())))

    def mark(self, database: Database, word: str) -> None:
        there = self._get(database, database.name)
        there.tables["quiesce_drill"] = (*there.tables.get("quiesce_drill", ()), word)

    def marks(self, database: Database) -> tuple[str, ...]:
        return self._get(database, database.name).tables.get("quiesce_drill", ())

    def unmark(self, database: Database) -> None:
        self._get(database, database.name).tables.pop("quiesce_drill", None)

    def ask(self, database: Database, query: str) -> object:
        return bool(self._get(database, database.name).tables)

    def shell(self, database: Database, argv: Sequence[str], run: str) -> Shell:
        return Shell(("sql", *argv), {"RUN": run}, typed=not argv)

    def write_out(self, database: Database, archive: Path) -> Path:
        with self._call(f"write_out:{archive.name}"):
            return archive

    def missing_for_script(self, database: Database, script: Path, name: str) -> tuple[str, ...]:
        self._server(database.service)
        return self.problems

    def load_script(self, database: Database, name: str, script: Path) -> tuple[int, int]:
        with self._call(f"load_script:{name}"):
            there = self._get(database, name)
            if there.tables:
                raise RequestError(f"database {name} is not empty", "load into a new one")
            there.tables = {t: tuple(r) for t, r in json.loads(script.read_text()).items()}
            return len(there.tables), sum(map(len, there.tables.values()))

    def login_for(self, database: Database, name: str) -> Database:
        return database

    def finish(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        with self._call(f"finish:{name}"):
            there = self._get(database, name)
            like = record or self._server(database.service).get(database.name)
            if like is not None:
                there.owner, there.settings = like.owner, like.settings

    # --------------------------------------------------------------------------- exchanging

    def block_connections(self, service: str, names: Sequence[str]) -> None:
        with self._call(f"fence:{service}"):
            server = self._server(service)
            for name in names:
                if name in server:
                    server[name].is_open = False

    def allow_connections(self, service: str, names: Sequence[str]) -> None:
        with self._call(f"open:{service}"):
            server = self._server(service)
            for name in names:
                if name in server:
                    server[name].is_open = True

    def swap(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        with self._call(f"swap:{service}"):
            server = dict(self._server(service))
            for one in swaps:
                done = one.live in server and (
                    one.aside in server if one.aside else server[one.live].made_by == self.run
                )
                if one.side not in server and not done:
                    raise QuiesceError(f"database {one.side} does not exist", "restore again")
                if one.side in server:
                    if one.live in server:
                        if not one.aside or one.aside in server:
                            raise QuiesceError(f"database {one.live} is in the way", "look at it")
                        server[one.aside] = server.pop(one.live)
                        server[one.aside].is_open = False
                    server[one.live] = server.pop(one.side)
                server[one.live].is_open = True
            self.servers[service] = server

    def put_back(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        with self._call(f"put_back:{service}"):
            server = self._server(service)
            for one in swaps:
                made_here = one.live in server and server[one.live].made_by == self.run
                swapped = one.aside in server if one.aside else made_here
                if swapped and one.side not in server and one.live in server:
                    server[one.side] = server.pop(one.live)
                    server[one.side].is_open = False
                if one.aside and one.aside in server:
                    server[one.live] = server.pop(one.aside)
                if one.live in server:
                    server[one.live].is_open = True

    def unmark_made(self, database: Database, name: str) -> None:
        with self._call(f"unmark:{name}"):
            server = self._server(database.service)
            if name in server:
                server[name].made_by = ""

    def drop(self, database: Database, name: str, suffix: str) -> None:
        with self._call(f"drop:{name}"):
            server = self._server(database.service)
            if name in server and (not name.endswith(suffix) or name == database.name):
                raise QuiesceError(f"database {name} was not created by this run", "it stays")
            server.pop(name, None)

    def size(self, database: Database, name: str) -> int | None:
        found = self._server(database.service).get(name)
        return None if found is None else len(found.tables)

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        with self._call(f"sweep:{run}"):
            return tuple(self.sessions.pop(run, ()))

    def close(self) -> None:
        self.held.clear()
        self.closed = True

    # ------------------------------------------------------------------------------ in parts

    def _server(self, service: str) -> dict[str, FakeDatabase]:
        if service in self.down:
            raise QuiesceError(
                f"PostgreSQL of service {service} does not answer", f"inv up --service {service}"
            )
        return self.servers.setdefault(service, {})

    def _get(self, database: Database, name: str) -> FakeDatabase:
        there = self._server(database.service).get(name)
        if there is None:
            raise QuiesceError(f"service {database.service} has no database {name}", "create it")
        if not there.is_open:
            raise QuiesceError(f"database {name} is closed to connections", "run 'inv recover'")
        return there

    def _call(self, call: str) -> _Call:
        return _Call(self, call)


class _Call:
    """Notes a call; fails it before or after, as the test asked for."""

    def __init__(self, fake: FakeDatabases, call: str) -> None:
        self.fake = fake
        self.call = call

    def __enter__(self) -> None:
        self.fake.calls.append(self.call)
        if self.fake.on_call:
            self.fake.on_call(self.call)
        self._fail(self.fake.fail_on)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._fail(self.fake.fail_after)

    def _fail(self, planned: dict[str, int]) -> None:
        if left := planned.get(self.call, 0):
            planned[self.call] = left - 1 if left > 0 else left
            raise QuiesceError(f"{self.call} was told to fail", "this is a test")


class FakeMigrator:
    """Implements `Migrator`: `histories[key]` are the revisions of one line, oldest first."""

    def __init__(self, databases: FakeDatabases, histories: Mapping[str, Sequence[str]]) -> None:
        self.databases = databases
        self.histories = {key: tuple(revisions) for key, revisions in histories.items()}

    def heads(self, database: Database) -> tuple[str, ...]:
        return self._history(database)[-1:]

    def known(self, database: Database, revision: str) -> bool:
        return revision in self._history(database)

    def pending(self, database: Database, current: Sequence[str]) -> tuple[str, ...]:
        history = self._history(database)
        done = max((self._position(database, revision) + 1 for revision in current), default=0)
        return history[done:]

    def upgrade(
        self, database: Database, name: str, revision: str, login: Database | None = None
    ) -> None:
        with self.databases._call(f"upgrade:{name}"):
            history = self._history(database)
            there = self.databases._get(database, name)
            target = len(history) - 1
            if revision not in ("head", "heads"):
                target = self._position(database, revision)
            now = max((self._position(database, one) for one in there.revision), default=-1)
            there.revision = (history[max(now, target)],)

    def _history(self, database: Database) -> tuple[str, ...]:
        if database.key not in self.histories:
            raise RequestError(f"database {database.key} has no migrations", "name them")
        return self.histories[database.key]

    def _position(self, database: Database, revision: str) -> int:
        history = self._history(database)
        if revision not in history:
            raise RequestError(
                f"database {database.key}: revision {revision} is unknown", "check out its code"
            )
        return history.index(revision)
