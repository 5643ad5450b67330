"""What Quiesce needs from the world, as Protocols whose docstrings are promises.

Every method either reaches its goal or raises a `QuiesceError` with a fact and a hint. Methods
state goals, so calling one twice is as good as once. Adapters implement these in `adapters/`;
the contract suites in `tests/contract/` hold the real ones and the fakes to them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from quiesce.exclusion import LeftOut
from quiesce.model import (
    BackupSet,
    ClusterRecord,
    Database,
    DatabaseRecord,
    DatabaseSwap,
    Manifest,
    Member,
    MemberKind,
    OffsiteSet,
    Recipients,
    SequenceRecord,
    SetKind,
    SetState,
    TableRecord,
    Trust,
    Volume,
    VolumeRecord,
)
from quiesce.observed import (
    AtRest,
    Belongings,
    CoveredFolder,
    DatabaseState,
    Engine,
    Meanwhile,
    MissingRight,
    MissingRoles,
    Service,
    Ties,
    Unit,
    VolumeState,
)
from quiesce.obstacles import Obstacle

#: In the argv of a tool: replaced by where the tool sees the folder it was given.
DIRECTORY = "{directory}"

Progress = Callable[[str, int], None]
"""Called with a short text and a number of bytes done, at most a few times a second."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a TCP port is reached from this machine."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class StopResult:
    """How a unit ended. 137 means it was killed after its time was up: what it wrote is suspect."""

    unit: Unit
    exit_code: int | None
    seconds: float


class Runtime(Protocol):
    """Where services run: Docker Compose, or processes of this machine."""

    def engine(self) -> Engine:
        """Which engine this is. Raise RequestError when it cannot be reached."""
        ...

    def services(self) -> tuple[Service, ...]:
        """Every declared service with the units that exist now, in declaration order.

        Raise RequestError when the declaration itself is wrong (bad Compose file).
        """
        ...

    def volumes(self, declared: Sequence[Volume]) -> tuple[VolumeState, ...]:
        """Every declared volume as the engine has it, then the ones of the Compose model that
        nobody declared. A declared volume that the model does not know raises RequestError."""
        ...

    def up(self, services: Sequence[str], *, build: bool) -> None:
        """Containers of these services exist and run; nothing else is started or recreated.

        One that cannot be started keeps nothing down that does not need it; raise ServiceFailed
        naming every one that was not started. Nothing at all is started where a container outside
        of the project has something mounted writably that one of these services writes to
        (`Service.foreign_mounts`).
        """
        ...

    def remove(self, services: Sequence[str]) -> None:
        """No container of these services exists, nor a network only they used. Volumes stay."""
        ...

    def stop(self, units: Sequence[Unit], timeout: float) -> tuple[StopResult, ...]:
        """Stop these units one after the other, in the order given.

        Each gets the longer of `timeout` and its own stop timeout before it is killed. A unit
        that does not run, or no longer exists, is already stopped. One that is paused goes on for
        the time that it takes to end in order.
        """
        ...

    def hold_restart(self, units: Sequence[Unit]) -> None:
        """Whatever happens, the engine starts none of these by itself. One that no longer exists
        is as good as held."""
        ...

    def free_restart(self, units: Sequence[Unit]) -> None:
        """The engine restarts these as it did when they were observed."""
        ...

    def start(self, units: Sequence[Unit]) -> None:
        """Start these units in the order given. One that was removed since is made again as its
        service; one that was paused when observed is paused again.

        Raise ServiceFailed, and start none of them, where a container outside of the project has
        something mounted writably that one of these units writes to."""
        ...

    def wait_healthy(
        self, units: Sequence[Unit], timeout: float, waiting: Callable[[str], None]
    ) -> Mapping[str, float]:
        """Wait until each unit is as well as it was when observed.

        Calls `waiting` with the name of the service waited for. Returns, per service, the seconds
        until it was. Raise ServiceFailed naming every service, with its last log lines as details,
        for which `timeout` seconds did not suffice or of which a unit ended; the others were
        waited for all the same. A unit that was being restarted again and again is as well as it
        was.
        """
        ...

    def endpoint(self, service: str, port: int) -> Endpoint:
        """Where this machine reaches that port of a running service; needs no published port."""
        ...

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
        """Run a program of the service's own image beside the running service.

        The program reaches the service's server on `127.0.0.1` and sees `directory` (where
        `DIRECTORY` stands in argv), read-only unless `writable`. Files it writes belong to the
        caller. `environment` reaches the program without being in any argv. `label` (the run)
        marks it so that it can be found and swept. Returns only when the program itself ended
        with 0; otherwise raises QuiesceError with its last lines of stderr as details. When this
        method raises or the caller dies, the program does not go on.
        """
        ...

    def logs(self, service: str, lines: int) -> str:
        """The last lines the service logged."""
        ...

    def description(self) -> Mapping[str, bytes]:
        """Files that describe the stack (file name → content): the resolved model with every
        secret replaced. Nothing in it is a literal value of an environment variable."""
        ...

    def images(self) -> Mapping[str, str]:
        """The image (with digest or id) each service runs from."""
        ...

    def watch_starts(self) -> None:
        """From now on, whoever is started is noticed, for `seen_starting`."""
        ...

    def seen_starting(self, services: Sequence[str], volumes: Sequence[str]) -> tuple[str, ...]:
        """Who was started since `watch_starts`, and may be gone again: these services, and
        whoever mounted one of these volumes writably. Nobody without `watch_starts`. Raise
        QuiesceError when it cannot be known."""
        ...

    def claim(self, folder: Path, run: str, earlier: Collection[str]) -> None:
        """Whoever shares this engine sees that `run` changes the instance from `folder`.

        Raise Busy naming another place from where it is being changed, unless one of the
        `earlier` runs of this folder did that: then the place was only called otherwise. Claiming
        twice is as good as once.
        """
        ...

    def disclaim(self, folder: Path, earlier: Collection[str]) -> None:
        """It is not being changed from `folder` any more. Another's claim stays."""
        ...

    def as_found(self) -> AbstractContextManager[None]:
        """Inside, what is declared is what exists: units and volumes that were made for this
        instance, no files read. For a recovery when somebody broke the files meanwhile."""
        ...

    def sweep(self, run: str) -> tuple[str, ...]:
        """Remove helpers that carry this run's label. Return what was removed."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A program that takes over this process's terminal: its arguments and its whole environment.

    Nothing secret is in `argv`.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    directory: Path


class Premises(Protocol):
    """What belongs to an instance on its engine besides what its services do, and the ways in."""

    def belongings(self) -> Belongings:
        """All that carries the project's label now."""
        ...

    def build(self, services: Sequence[str]) -> None:
        """Images of these services are built. Services that are not built are left alone."""
        ...

    def remove_project(self) -> None:
        """No container (running ones, strays and one-offs too) and no network of the project is
        left. Volumes stay."""
        ...

    def remove_volume(self, name: str) -> None:
        """No volume of this real name. Raise QuiesceError naming the containers that use it."""
        ...

    def covered_folders(self) -> tuple[CoveredFolder, ...]:
        """Bind mounts over folders that are not empty in their service's image. Starts nothing;
        an image that is not there hides nothing."""
        ...

    def outdated(self, services: Sequence[str]) -> Mapping[str, str]:
        """Those of these services of which something runs that `up` would make anew, and why."""
        ...

    def deaf_services(self) -> Mapping[str, str]:
        """Running services whose first process neither handles nor waits for its stop signal,
        with the signal's name: they can only be killed."""
        ...

    def bare_servers(self) -> Mapping[str, str]:
        """Services whose first process is a PostgreSQL server, which takes what an ended program
        leaves behind for a session that crashed. With what of their health check may do so, ""
        for nothing."""
        ...

    def tools(self) -> Mapping[str, str]:
        """The programs that this runtime needs on this machine, and their versions. Raise
        RequestError when one is missing."""
        ...

    def inside(
        self, service: str, argv: Sequence[str], environment: Mapping[str, str], *, terminal: bool
    ) -> CommandLine:
        """How to run `argv` in the running service with our own input and output.

        `environment` is added there without being in any argv. Raise QuiesceError when the
        service does not run.
        """
        ...

    def beside(
        self, service: str, argv: Sequence[str], environment: Mapping[str, str], *, terminal: bool
    ) -> CommandLine:
        """How to run a program of the service's own image in the running service's network, but
        not among its processes, with our own input and output; as `inside` in all else."""
        ...

    def carry_out(self, service: str, argv: Sequence[str], seconds: float) -> None:
        """Run `argv` in the running service to its end, with no input. Raise QuiesceError, with
        what it said last, when it fails or takes longer than `seconds`."""
        ...

    def following(self, services: Sequence[str], lines: int) -> CommandLine:
        """How to print the last lines of these services' logs, and then each new one."""
        ...


@dataclass(frozen=True, slots=True)
class DatabaseContents:
    """What a database holds, for comparing with a `DatabaseRecord`."""

    tables: tuple[TableRecord, ...]
    sequences: tuple[SequenceRecord, ...]
    revision: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """How a database differs from the one that rows were dumped from.

    `problems` keep them from being loaded; `lossy` are changes of types that may change values
    without a word, in the tables `changed`. `left` are tables that hold rows and that the dump
    does not have: they would stay as they are. `code` are tables that would call functions from a
    restored file while rows are loaded, with the rights of a superuser.
    """

    problems: tuple[str, ...] = ()
    lossy: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    left: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handover:
    """Who owns what a script made. `members` may use it as the owner does; `invokers` are the
    functions that ran with their owner's rights and now run with their caller's."""

    owner: str
    members: tuple[str, ...]
    invokers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """How many tables and rows were put into a database, and what is not as it was, in words."""

    tables: int
    rows: int
    eased: tuple[str, ...] = ()


class DatabaseAdmin(Protocol):
    """PostgreSQL: asking, dumping, loading, swapping. Sessions carry the run's name."""

    def observe(self, databases: Sequence[Database]) -> tuple[DatabaseState, ...]:
        """Each database's state. A server that cannot be asked is `reachable=False` with a
        `problem`, never an exception."""
        ...

    def undeclared(self, databases: Sequence[Database]) -> tuple[str, ...]:
        """Databases on these servers that are neither declared nor PostgreSQL's own."""
        ...

    def obstacles(self, database: Database) -> tuple[Obstacle, ...]:
        """What in the live database's catalogs would stand in the way of restoring a dump of it.
        Reads no rows."""
        ...

    def preparing(self, databases: Sequence[Database]) -> tuple[str, ...]:
        """Everything that would keep these databases from being held all at once, in words: room
        for their locks, sessions, rights. They are held for a moment to see; what a session of
        somebody locks just now does not count, for it may be one that is stopped. Empty when
        nothing would."""
        ...

    def hold(self, database: Database) -> None:
        """Lock every table in ACCESS SHARE mode, then export a snapshot, and keep the session."""
        ...

    def at_rest(self, databases: Sequence[Database]) -> AtRest:
        """Who else is connected to these held databases, and whose snapshot shows transactions
        that the first one of its server does not. Changes nothing."""
        ...

    def meanwhile(self, database: Database) -> Meanwhile:
        """What those transactions wrote into a database, known once it was dumped."""
        ...

    def release(self, database: Database) -> None:
        """End the session that holds a snapshot of this database, if there is one."""
        ...

    def dump(
        self, database: Database, kind: SetKind, directory: Path, file: str, progress: Progress
    ) -> DatabaseRecord:
        """Write the held snapshot to `directory/file` and return what it holds.

        Takes a snapshot of its own when none is held. `full` and `data` are custom-format
        archives, `schema` too. The file is complete and synced, or an error is raised.
        """
        ...

    def script(self, database: Database, kind: SetKind, progress: Progress) -> Path:
        """Write the held snapshot as a plain SQL script, complete to its last line, into the
        run's scratch folder, and return where it is."""
        ...

    def dump_globals(self, service: str, directory: Path, file: str) -> None:
        """Write the roles and tablespaces of the service's server, without passwords."""
        ...

    def check_loadable(
        self, database: Database, record: DatabaseRecord, made: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Everything that would keep the record's dump from loading: version, extensions, roles
        (those in `made` are there by then), locale, rights of the user. Empty when nothing would.
        Changes nothing."""
        ...

    def missing_roles(
        self, database: Database, script: Path, wanted: Collection[str]
    ) -> MissingRoles:
        """Which roles of a set's `globals.sql` the server lacks. Those of `wanted`, and what they
        are members of, are needed."""
        ...

    def create_roles(
        self, service: str, script: Path, names: Collection[str], *, whole: bool
    ) -> tuple[str, ...]:
        """The roles `names` exist, made as the set's `globals.sql` has them where they did not.

        Roles that exist are never changed, unless by new members when `whole`; without it, new
        ones get no rights over the whole server. Return what was left out, in words.
        """
        ...

    def ties(self, database: Database) -> Ties:
        """What binds the live database to others. Changes nothing."""
        ...

    def missing_rights(self, database: Database) -> tuple[MissingRight, ...]:
        """What the database's user may not do that bringing it back needs. Changes nothing."""
        ...

    def create(self, database: Database, name: str, record: DatabaseRecord | None) -> None:
        """An empty database `name` from template0, like the record or else like the live one."""
        ...

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
        """Load `directory/file` into the empty database `name`; return what is not as it was.

        Raise NotRestorable, naming everything, where something in the dump cannot come back. With
        `not_valid` constraints that rows break come back NOT VALID, with `skip_broken` other
        entries are left out; rows never are. Any other error is raised as well. `record` is what
        the set knows of the database.
        """
        ...

    def copy_schema(self, database: Database, name: str) -> None:
        """The empty database `name` has the live one's schema, and no rows."""
        ...

    def drift(
        self, database: Database, name: str, record: DatabaseRecord, directory: Path, file: str
    ) -> Drift:
        """How database `name` differs from what the rows in `directory/file` were dumped from."""
        ...

    def replace_rows(
        self,
        database: Database,
        name: str,
        record: DatabaseRecord,
        directory: Path,
        file: str,
        check: Callable[[DatabaseContents], None],
        *,
        not_valid: bool = False,
        skip_broken: bool = False,
    ) -> LoadedRows:
        """The rows of `directory/file` are all that the tables they belong to hold.

        One transaction: with `name` the live database, others see the old rows or the new ones.
        Alembic's version table stays as it is. `check` is called with what is there then, and
        what it raises undoes everything. Return what is not as it was, or as one would expect:
        foreign keys that rows broke when the set was made stay as the schema has them, checks
        come back NOT VALID. Others need `not_valid`; materialized views that cannot be refreshed
        need `skip_broken`.
        """
        ...

    def contents(self, database: Database, name: str, algorithm: str) -> DatabaseContents:
        """Rows and digests of database `name`, by the algorithm named in a record."""
        ...

    def write_out(self, database: Database, archive: Path) -> Path:
        """Write a custom-format archive as a plain SQL script into the run's scratch folder."""
        ...

    def missing_for_script(self, database: Database, script: Path, name: str) -> tuple[str, ...]:
        """What the server lacks for this script: roles, extensions. Reads it to its end; raise
        RequestError with the line for what is damaged or not loaded. `name` is for messages."""
        ...

    def load_script(self, database: Database, name: str, script: Path) -> tuple[int, int]:
        """Load a plain SQL script into the empty database `name` as a role that can do no harm,
        all of it or nothing; return how many tables and rows there are then. What it made belongs
        to that role until `finish`."""
        ...

    def working_as(self, database: Database, name: str) -> Database:
        """The database with the login that may run code in database `name`: after `load_script`
        and until `finish` that of the role without rights, otherwise its own."""
        ...

    def mark(self, database: Database, word: str) -> None:
        """A row with this word is in a table of ours in the live database."""
        ...

    def marks(self, database: Database) -> tuple[str, ...]:
        """The words in that table; none without it."""
        ...

    def unmark(self, database: Database) -> None:
        """No such table."""
        ...

    def ask(self, database: Database, query: str) -> object:
        """The first value of a query that may change nothing; None for no row."""
        ...

    def finish(
        self, database: Database, name: str, record: DatabaseRecord | None
    ) -> Handover | None:
        """Statistics gathered, and owner, settings and grants of the database object applied.

        What a script made goes to an owner who is no superuser, which is returned."""
        ...

    def fence(self, service: str, names: Sequence[str]) -> None:
        """No one is connected to these databases and no one can be."""
        ...

    def swap(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        """All renames in one transaction; what is live afterwards takes connections."""
        ...

    def put_back(self, service: str, swaps: Sequence[DatabaseSwap]) -> None:
        """What was live before `swap` is live and takes connections, however far it had got."""
        ...

    def unmark_made(self, database: Database, name: str) -> None:
        """Database `name` carries no mark of a run any more. Without such a database: nothing."""
        ...

    def drop(self, database: Database, name: str, suffix: str) -> None:
        """No database `name`. Refuses a name that, read back from the server, lacks `suffix`.

        Subscriptions and logical slots go with it. Raise CannotDrop when the server refuses.
        """
        ...

    def size(self, database: Database, name: str) -> int | None:
        """Bytes of database `name` on the server of `database`; None where there is none."""
        ...

    def sweep(self, run: str) -> tuple[str, ...]:
        """End sessions that dead run left in the servers. Return what was ended."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class VolumeSize:
    """Entries below the root, and apparent bytes of regular files."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class VolumeSurvey:
    """What patterns would leave out of a volume, and what would be `kept`. `unmatched` are the
    patterns that match nothing."""

    kept: VolumeSize
    left_out: tuple[LeftOut, ...]
    unmatched: tuple[str, ...]


class VolumeIO(Protocol):
    """The bytes of volumes, in and out. Nothing is held in memory."""

    def measure(self, volume: VolumeState) -> VolumeSize:
        """Entries and apparent bytes in the volume, without stopping anything."""
        ...

    def survey(self, volume: VolumeState, exclude: Sequence[str], path: str = "") -> VolumeSurvey:
        """What these patterns leave out of the volume as it is, or with `path` of that file or
        folder of it, without stopping anything."""
        ...

    def immutable(self, volume: VolumeState) -> tuple[str, ...]:
        """Entries (`./a/b`) that not even root may rename or remove. Bytes that are no UTF-8 are
        surrogates in them, as in every name that Python has from the file system."""
        ...

    def remarks(self, volume: VolumeState) -> tuple[str, ...]:
        """What people should know of the last `archive` of this volume."""
        ...

    def begin(self, volume: VolumeState) -> None:
        """Make ready for archiving this volume, so that `archive` needs nothing that stops:
        proves direct reading, or starts a helper that stays until `end`."""
        ...

    def archive(
        self,
        volume: VolumeState,
        level: int,
        directory: Path,
        stem: str,
        exclude: Sequence[str],
        progress: Progress,
    ) -> VolumeRecord:
        """Write `stem.<level>.tar.zst` (and for level 1 `stem.gone`) into `directory`.

        Level 1 holds what differs from this run's level 0 by the T0 rule (RELIABILITY 12); its
        record describes both levels together. A level 1 without level 0 is a level 0.
        """
        ...

    def end(self, volume: VolumeState) -> None:
        """Let go of what `begin` made."""
        ...

    def clusters(self, volume: VolumeState) -> tuple[ClusterRecord, ...]:
        """Every PostgreSQL data directory in the volume, as its control file describes it. Raise
        QuiesceError for one that cannot be understood."""
        ...

    def check(self, archives: Sequence[Path], most: VolumeSize | None = None) -> tuple[str, ...]:
        """Every member that must not be unpacked, with its reason. Reads to the end, but no
        further than to what is more than `most`, which is a reason too."""
        ...

    def create(self, volume: VolumeState) -> None:
        """The volume exists, as Compose itself would have made it."""
        ...

    def stage(
        self,
        volume: VolumeState,
        run: str,
        archives: Sequence[Path],
        gone: Path | None,
        most: VolumeSize | None = None,
    ) -> VolumeSize:
        """Unpack beside the live content, in `.quiesce-<run>` inside the volume. No file may
        become larger than `most`."""
        ...

    def pick(self, volume: VolumeState, run: str, path: str) -> VolumeSize:
        """Of what is staged, this file or folder alone is to be exchanged. Return its size,
        itself counted. Raise QuiesceError when there is none."""
        ...

    def swap(self, volume: VolumeState, run: str, path: str = "") -> None:
        """Exchange live and staged content by renames, also owner, mode and times of the root;
        with `path` only what was picked.
        Weaker than a transaction: readers must be stopped, and a death between two renames is
        finished by calling this again or `put_back`."""
        ...

    def put_back(self, volume: VolumeState, run: str, path: str = "") -> None:
        """Undo `swap`, with the same `path`, however far it had got."""
        ...

    def settle(self, volume: VolumeState, run: str) -> None:
        """Remove `.quiesce-<run>` from the volume with all it holds."""
        ...

    def unsettled(self, volume: VolumeState, run: str) -> VolumeSize:
        """What `settle` would remove: entries and bytes in `.quiesce-<run>`."""
        ...

    def empty(self, volume: VolumeState) -> None:
        """Nothing is in the volume but what a restore set aside; its root keeps owner and mode."""
        ...

    def empty_folder(self, base: Path, folder: Path) -> int:
        """Nothing is in `base/folder`; return how many entries went from it.

        Follows no symbolic link, not even in the way there below `base`. A folder that does not
        exist is empty.
        """
        ...

    def sweep(self, run: str) -> tuple[str, ...]:
        """Remove helpers that carry this run's label. Return what was removed."""
        ...

    def close(self) -> None: ...


class Migrator(Protocol):
    """Alembic, one history per database."""

    def heads(self, database: Database) -> tuple[str, ...]:
        """The newest revisions of the database's history; several only with branches."""
        ...

    def known(self, database: Database, revision: str) -> bool:
        """Whether the history has this revision."""
        ...

    def pending(self, database: Database, current: Sequence[str]) -> tuple[str, ...]:
        """Revisions between `current` and the heads, oldest first."""
        ...

    def current(self, database: Database, name: str) -> tuple[str, ...]:
        """The revisions stored in database `name` (which may be a side database)."""
        ...

    def upgrade(
        self, database: Database, name: str, revision: str, login: Database | None = None
    ) -> None:
        """Migrate database `name` up to `revision` (`head` and `heads` allowed), logged in as
        `login`, which is the database's own user unless it is given."""
        ...


class Offsite(Protocol):
    """Stores away from here, by the names they have in `stack.yaml`.

    A set exists in a store when its index does, which is written last and never over another.
    Everything that comes from a store is hostile until it was checked. Every method raises
    QuiesceError when the store cannot be reached or refuses; none of that holds a credential.
    """

    def sets(self, store: str) -> tuple[OffsiteSet, ...]:
        """The sets of this instance, oldest first."""
        ...

    def unreadable(self, store: str) -> tuple[tuple[str, str], ...]:
        """Names and reasons of what has an index that cannot be understood."""
        ...

    def trust(self, store: str, name: str) -> Trust:
        """Who sent the set, as far as can be proven here. Raise RequestError for a signing key
        that cannot be used."""
        ...

    def lost(self, store: str) -> tuple[str, ...]:
        """The sets that were sent from here, were not removed by us, and are not there any more;
        oldest first."""
        ...

    def accepted(self, store: str) -> frozenset[str]:
        """The sets sent from here of which `accept` said that they rightly hold so little."""
        ...

    def accept(self, store: str, name: str) -> None:
        """Remember that a set sent from here rightly holds so little."""
        ...

    def push(self, store: str, backup: BackupSet, progress: Progress) -> bool:
        """Bring a set there, unless it is, signed with this installation's key, which is made
        where there is none. What an earlier attempt left there is used when it is right. Every
        object is read back before the set exists. Whether anything was sent."""
        ...

    def verify(self, store: str, name: str, progress: Progress) -> tuple[str, ...]:
        """Read every object of the set to its end; return what is wrong, naming the member."""
        ...

    def pull(self, store: str, name: str, directory: Path, progress: Progress) -> Path:
        """Bring a set into a new folder below `directory`, decrypted and compared with its own
        sums, and return the folder. Raise CheckFailed naming each member that is wrong."""
        ...

    def remove(self, store: str, name: str) -> None:
        """No set of this name exists there. Its index goes first."""
        ...


class BackupStore(Protocol):
    """Sets on disk: staged, sealed, published at once, listed, checked, removed."""

    def sets(self) -> tuple[BackupSet, ...]:
        """Complete sets of the stack's `backups/`, oldest first by creation."""
        ...

    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """Folders that look like sets and are not readable ones: name and reason."""
        ...

    def open(self, run: str, name: str) -> Path:
        """Make (or find) the staging folder of a set and return it."""
        ...

    def names(self) -> frozenset[str]:
        """Every name that a new set must not take."""
        ...

    def scratch(self, run: str, name: str) -> Path:
        """Make (or find) a private folder for files of a run that may have no journal."""
        ...

    def hold(self, run: str) -> None:
        """Make (or find) the folder of a run, and mark it as in use until this process ends."""
        ...

    def abandoned(self, keep: Collection[str]) -> tuple[str, ...]:
        """The runs that died and left such a folder, without those in `keep`."""
        ...

    def read(self, path: Path) -> BackupSet:
        """Return the set in this folder, wherever it lies. Raise RequestError for any other."""
        ...

    def measure(self, run: str, name: str, file: str, kind: MemberKind, source: str) -> Member:
        """Sync a finished file of a staged set, read it back for its sum, and make it a member."""
        ...

    def members(self, run: str, name: str) -> tuple[Member, ...]:
        """What `measure` made members of this staged set so far."""
        ...

    def encrypt(self, run: str, name: str, member: Member, recipients: Recipients) -> None:
        """This member of a staged set is encrypted, synced, and nowhere in the clear."""
        ...

    def decrypted(
        self, run: str, backup: BackupSet, identity: Path | None, progress: Progress
    ) -> BackupSet:
        """The set with its members in the clear, in a folder of this run; as it is where it is
        not encrypted. Raise RequestError where there is no key for it."""
        ...

    def seal(self, run: str, manifest: Manifest, documents: Mapping[str, bytes]) -> BackupSet:
        """Write documents, sums and manifest, sync everything, publish with one rename that
        never replaces. Already published by this run: return it."""
        ...

    def verify(self, backup: BackupSet, progress: Progress) -> tuple[str, ...]:
        """Everything wrong with the set, each naming the member. Empty when good."""
        ...

    def adopt(self, path: Path) -> BackupSet:
        """List a whole set that lies in a folder of a run, by one rename that never replaces."""
        ...

    def publish_file(
        self, staged: Path, name: str, *, compress: bool, recipients: Recipients
    ) -> Path:
        """Make a finished file `name` of the folder, compressed with zstd if asked and encrypted
        if it is for somebody: private, synced, named last, never in place of another one. Return
        where it is."""
        ...

    def remember(self, name: str, state: SetState) -> None:
        """Keep the set's mutable facts."""
        ...

    def remove(self, name: str) -> None:
        """No set of this name: invisible first, then removed."""
        ...

    def half_removed(self) -> tuple[str, ...]:
        """Names of sets whose removal was interrupted: invisible already, not yet gone."""
        ...

    def discard(self, run: str) -> None:
        """No staging folder of this run."""
        ...


class EventSink(Protocol):
    """Who is told what happens. Never raises, never blocks a run."""

    def step_begins(self, position: str, sentence: str, why: str, depth: int) -> None: ...

    def step_ends(self, position: str, sentence: str, seconds: float, result: str) -> None: ...

    def step_fails(self, position: str, sentence: str, reason: str) -> None: ...

    def progress(self, text: str, done: int) -> None: ...

    def note(self, text: str) -> None:
        """Something a person should know that is not a step."""
        ...

    def warn(self, text: str) -> None: ...


class Clock(Protocol):
    """Time as an argument."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        ...

    def monotonic(self) -> float: ...
