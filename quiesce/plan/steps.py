"""The steps of plans: one frozen dataclass per effect, each a goal with a reason.

Every step is idempotent, so a recovery may repeat it. Fields are plain values: keys of
`stack.yaml`, names, paths as text; never a client, a password or a function. A new step needs a
class with a sentence here, and a handler in `execute/handlers`; an architecture test checks that
both exist.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from quiesce.codec import SPARSE
from quiesce.exclusion import LeftOut, replaced_copy
from quiesce.model import DatabaseSwap, Mode, Noun, SetKind, Undeclared, UndeclaredKind
from quiesce.observed import Unit
from quiesce.plan.outlook import UNKNOWN, Outlook


class Step:
    """One effect of a plan: a goal, and the reason for it in `why`.

    A subclass is a frozen dataclass with a `sentence`. Journals refer to it by its name. The
    handler registered for it (`@handles` in `execute/handlers`) carries it out.
    """

    __slots__ = ()
    #: Every kind of step by its name, as used in journals.
    kinds: ClassVar[dict[str, type[Step]]] = {}
    #: Its name in journals of earlier versions.
    former: ClassVar[str] = ""
    why: str

    def __init_subclass__(cls) -> None:
        # A dataclass with slots is created twice; the second class is the one in use.
        Step.kinds[cls.__name__] = cls
        if cls.former:
            Step.kinds[cls.former] = cls

    def sentence(self) -> str:
        """Return what the step does, without its reason."""
        raise NotImplementedError


# ------------------------------------------------------------------------------------- services


@dataclass(frozen=True, slots=True)
class UpServices(Step):
    """Containers of these services exist and run; Compose creates missing ones."""

    services: tuple[str, ...]
    build: bool
    why: str

    def sentence(self) -> str:
        return f"bring up {_listed(self.services, 'every service')}" + (
            ", building images" if self.build else ""
        )


@dataclass(frozen=True, slots=True)
class StopServices(Step):
    """These units, in stop order, are stopped; each gets at least `timeout` seconds to exit.

    `groups`: services that are stopped at the same time. All others are stopped one after another.
    """

    units: tuple[Unit, ...]
    timeout: float
    groups: tuple[tuple[str, ...], ...] = field(default=(), kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"stop {grouped_names(self.units, self.groups)}"


@dataclass(frozen=True, slots=True)
class HoldRestart(Step):
    """The engine does not start these units by itself, not even after a reboot."""

    units: tuple[Unit, ...]
    why: str

    def sentence(self) -> str:
        return f"keep the engine from restarting {names(self.units)}"


@dataclass(frozen=True, slots=True)
class FreeRestart(Step):
    """These units have the restart policy that they had when observed."""

    units: tuple[Unit, ...]
    why: str

    def sentence(self) -> str:
        return f"let the engine restart {names(self.units)} again"


@dataclass(frozen=True, slots=True)
class RunCommand(Step):
    """The command ran in the service and exited with 0 within `timeout` seconds."""

    service: str
    argv: tuple[str, ...]
    timeout: float
    why: str

    def sentence(self) -> str:
        return f"run {shlex.join(self.argv)} in {self.service}"


@dataclass(frozen=True, slots=True)
class StartServices(Step):
    """These units, in start order, run as they did before.

    If one cannot be started, the others still start. With `keep_going`, services that need it are
    left out, and `CheckStarted` reports the failure at the end of the plan. `groups` is as in
    `StopServices`.
    """

    units: tuple[Unit, ...]
    timeout: float
    keep_going: bool = field(default=False, kw_only=True)
    groups: tuple[tuple[str, ...], ...] = field(default=(), kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"start {grouped_names(self.units, self.groups)}"


@dataclass(frozen=True, slots=True)
class WaitHealthy(Step):
    """Every unit is as healthy as when observed: healthy if it was, otherwise running. Servers of
    declared databases answer SQL."""

    units: tuple[Unit, ...]
    timeout: float
    why: str

    def sentence(self) -> str:
        return f"wait for {names(self.units)}"


@dataclass(frozen=True, slots=True)
class WaitServices(Step):
    """Every named service runs and, if it has a health check, is healthy. Servers of declared
    databases answer SQL.

    `keep_going`: `CheckStarted` reports at the end of the plan which ones failed.
    """

    services: tuple[str, ...]
    timeout: float
    keep_going: bool = field(default=False, kw_only=True)
    #: Those of them without a health check: servers of declared databases, and others.
    answering: tuple[str, ...] = field(default=(), kw_only=True)
    running: tuple[str, ...] = field(default=(), kw_only=True)
    why: str

    def sentence(self) -> str:
        others = (*self.answering, *self.running)
        rest = tuple(name for name in self.services if name not in others)
        parts = [f"healthy: {_listed(rest, 'every service')}"] if rest or not self.services else []
        parts += [f"answering SQL: {', '.join(self.answering)}"] if self.answering else []
        parts += [f"running: {', '.join(self.running)}"] if self.running else []
        return f"wait until {'; '.join(parts)}"


@dataclass(frozen=True, slots=True)
class CheckStarted(Step):
    """No service failed to start. Fails with the failures that earlier steps recorded."""

    why: str

    def sentence(self) -> str:
        return "check that all services started"


@dataclass(frozen=True, slots=True)
class RemoveServices(Step):
    """No container and no network of these services exists. Volumes are kept."""

    services: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return f"remove containers of {_listed(self.services, 'every service')}"


@dataclass(frozen=True, slots=True)
class BuildServices(Step):
    """The images of these services are built from the current contents of their folders."""

    services: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return f"build images of {_listed(self.services, 'every service')}"


@dataclass(frozen=True, slots=True)
class RemoveProject(Step):
    """No container and no network has the project's label. Volumes are kept."""

    why: str

    def sentence(self) -> str:
        return "remove all containers and networks of the project"


# -------------------------------------------------------------------------------------- cleaning


@dataclass(frozen=True, slots=True)
class EmptyVolume(Step):
    """The volume is empty. Its root keeps owner and mode."""

    volume: str
    noun: Noun = field(default="volume", kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"empty {self.noun} {self.volume}"


@dataclass(frozen=True, slots=True)
class EmptyPath(Step):
    """This folder is empty: below the stack's folder, or with an absolute path. The folder itself
    is kept."""

    path: str
    why: str

    def sentence(self) -> str:
        return f"empty folder {self.path}"


@dataclass(frozen=True, slots=True)
class RemoveVolume(Step):
    """No volume of this real name exists. One that a container still uses is an error."""

    name: str
    why: str

    def sentence(self) -> str:
        return f"remove volume {self.name}"


# ----------------------------------------------------------------------------------- backup sets


@dataclass(frozen=True, slots=True)
class OpenSet(Step):
    """A staging folder for this set exists and its final name is reserved."""

    set: str
    kind: SetKind
    mode: Mode
    label: str
    pinned: bool
    services_running: tuple[str, ...]
    services_stopped: tuple[str, ...]
    safety: bool = field(default=False, kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"open set {self.set} ({self.kind}, {self.mode})"


@dataclass(frozen=True, slots=True)
class ExportSnapshot(Step):
    """A snapshot is exported, from which a dump of this kind will be made, and tables are locked
    against rewrites."""

    former: ClassVar[str] = "HoldSnapshot"

    database: str
    kind: SetKind = field(default="full", kw_only=True, metadata=SPARSE)
    why: str

    def sentence(self) -> str:
        return f"export a snapshot of database {self.database}"


@dataclass(frozen=True, slots=True)
class CheckIdle(Step):
    """Other sessions in these databases are reported; if one wrote, the set records it.

    `ignored` are application and user names that are permitted. In a restore `set` is "": there
    the step records the sessions that the exchange will terminate.
    """

    former: ClassVar[str] = "CheckRest"

    set: str
    databases: tuple[str, ...]
    ignored: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return f"check that no other client writes to {_listed(self.databases, 'no database')}"


@dataclass(frozen=True, slots=True)
class WatchStarts(Step):
    """Containers that are started from now on are recorded for `CheckStopped`, even if they end
    earlier."""

    why: str

    def sentence(self) -> str:
        return "watch for containers that are started from now on"


@dataclass(frozen=True, slots=True)
class CheckStopped(Step):
    """No writer of these volumes or databases is running, or was started since `WatchStarts`;
    otherwise the set records it.

    `services` are the stack's writers, found before the window. Other containers with write access
    to one of `volumes` count too, in the stack and outside of it. `ignored` are services,
    containers and clients that are permitted.
    """

    set: str
    services: tuple[str, ...]
    volumes: tuple[str, ...]
    ignored: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return (
            f"check that no writer of {_listed(self.volumes, 'these databases')} is running, or "
            "was started"
        )


@dataclass(frozen=True, slots=True)
class CheckAddresses(Step):
    """Reports which of `units` have another IP address after their restart, and which of
    `bystanders`, which kept running in the same networks, may still use the old one."""

    units: tuple[Unit, ...]
    bystanders: tuple[Unit, ...]
    why: str

    def sentence(self) -> str:
        return f"check whether {names(self.bystanders)} may still use an old IP address"


@dataclass(frozen=True, slots=True)
class CheckShutdown(Step):
    """PostgreSQL in `service` shut down cleanly, according to its data directory in `volume`. `set`
    records it, unless it is "".

    `copy`: the data directory is in this folder of the volume's root, where an exchange left it."""

    set: str
    service: str
    volume: str
    noun: Noun = field(default="volume", kw_only=True)
    copy: str = field(default="", kw_only=True, metadata=SPARSE)
    why: str

    def sentence(self) -> str:
        return f"check that {self.service} shut down cleanly in {self.noun} {self.volume}"


@dataclass(frozen=True, slots=True)
class ReleaseSnapshot(Step):
    """No session of this run holds a snapshot of this database."""

    database: str
    why: str

    def sentence(self) -> str:
        return f"release the snapshot of database {self.database}"


@dataclass(frozen=True, slots=True)
class DumpDatabase(Step):
    """The exported snapshot of this database is dumped to `file` of the set, with its record.

    `copy`: the database of this name, which an exchange left, is dumped in its place.
    """

    set: str
    database: str
    kind: SetKind
    file: str
    copy: str = field(default="", kw_only=True, metadata=SPARSE)
    why: str

    def sentence(self) -> str:
        if self.copy:
            return f"dump {self.copy} as database {self.database} ({self.kind})"
        return f"dump database {self.database} ({self.kind})"


@dataclass(frozen=True, slots=True)
class WriteScript(Step):
    """The exported snapshot of this database is written to `backups/` as SQL script `file`."""

    database: str
    kind: SetKind
    file: str
    compress: bool
    why: str

    def sentence(self) -> str:
        return f"write database {self.database} ({self.kind}) to {self.file}"


@dataclass(frozen=True, slots=True)
class DumpGlobals(Step):
    """What belongs to this service's server, such as roles, is in `file` of the set."""

    set: str
    service: str
    file: str
    why: str

    def sentence(self) -> str:
        return f"dump roles of the server in {self.service}"


@dataclass(frozen=True, slots=True)
class ArchiveVolume(Step):
    """Level 0: the whole volume. Level 1: what changed or was deleted since level 0.

    `left_out` is what patterns excluded when the plan was made. `copy`: the content of this folder
    of the volume's root, where an exchange left it, is archived in place of the volume's content.
    """

    set: str
    volume: str
    level: int
    file: str
    left_out: tuple[LeftOut, ...] = field(default=(), kw_only=True)
    noun: Noun = field(default="volume", kw_only=True)
    copy: str = field(default="", kw_only=True, metadata=SPARSE)
    why: str

    def sentence(self) -> str:
        if self.copy:
            return f"archive the copy of {self.noun} {self.volume} in {self.copy}"
        what = "everything" if self.level == 0 else "changes"
        if self.left_out:
            what = f"everything except {_patterns(self.left_out)}"
        return f"archive {self.noun} {self.volume}, level {self.level} ({what})"


@dataclass(frozen=True, slots=True)
class CopySqlite(Step):
    """The set has a copy, made by SQLite while services write, of every SQLite database in the
    archives of these volumes; or the run's draft says why not."""

    set: str
    volumes: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return "copy the archived SQLite databases with SQLite's online backup"


@dataclass(frozen=True, slots=True)
class CheckSqlite(Step):
    """The set records every SQLite database in the archives of these volumes, with what a check of
    a copy found."""

    set: str
    volumes: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return "check the archived SQLite databases"


@dataclass(frozen=True, slots=True)
class RequireSqlite(Step):
    """The SQLite databases in the published set are good."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"check that the SQLite databases in {self.set} are good"


@dataclass(frozen=True, slots=True)
class RecordStack(Step):
    """`stack.yaml`, the Compose model without secrets and the image digests are in the set."""

    set: str
    why: str

    def sentence(self) -> str:
        return "record stack.yaml, the Compose model and image digests"


@dataclass(frozen=True, slots=True)
class FindUndeclared(Step):
    """The set records data of these kinds that stack.yaml neither names nor excludes: what was
    found `before`, while services ran, and what is there now. `ignored` are databases that an
    earlier run could not drop."""

    set: str
    data: tuple[UndeclaredKind, ...]
    before: tuple[Undeclared, ...]
    ignored: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return "look for data that stack.yaml does not mention"


@dataclass(frozen=True, slots=True)
class EncryptSet(Step):
    """Every member of the set is encrypted with public keys, and the plaintext is deleted."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"encrypt the members of {self.set}"


@dataclass(frozen=True, slots=True)
class SealSet(Step):
    """The set is complete, synced to disk and published under its final name."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"publish set {self.set}"


@dataclass(frozen=True, slots=True)
class VerifySet(Step):
    """The published set was read completely and matches its manifest."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"verify set {self.set}"


@dataclass(frozen=True, slots=True)
class CheckConsistent(Step):
    """The published set is consistent."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"check that set {self.set} is consistent"


@dataclass(frozen=True, slots=True)
class CheckUndeclared(Step):
    """The published set lacks nothing that stack.yaml neither names nor excludes."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"check that set {self.set} is complete"


@dataclass(frozen=True, slots=True)
class CheckDowntime(Step):
    """Services were down for `limit` seconds at most. The set is published either way."""

    set: str
    limit: float
    why: str

    def sentence(self) -> str:
        return f"check that services were down for at most {self.limit:g} s"


@dataclass(frozen=True, slots=True)
class RemoveSet(Step):
    """No set of this name exists."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"remove set {self.set}"


@dataclass(frozen=True, slots=True)
class RemoveExpired(Step):
    """No set of these names exists. But if `new` contains suspiciously less than `before`, all of
    them are kept, with a warning. `before` is "" for a first set."""

    sets: tuple[str, ...]
    new: str
    before: str
    why: str

    def sentence(self) -> str:
        return f"remove {_listed(self.sets, 'no set')}" + (
            f", unless {self.new} contains far less than {self.before}" if self.before else ""
        )


@dataclass(frozen=True, slots=True)
class PushSet(Step):
    """The store contains the complete set: every member, verified there, and last its index."""

    set: str
    store: str
    why: str

    def sentence(self) -> str:
        return f"push set {self.set} to {self.store} and verify it there"


@dataclass(frozen=True, slots=True)
class PullSet(Step):
    """The set from the store is published locally.

    `unsigned` accepts a set whose origin cannot be confirmed, `unencrypted` one that is not
    encrypted although sets are encrypted here.
    """

    set: str
    store: str
    unsigned: bool = field(default=False, kw_only=True)
    unencrypted: bool = field(default=False, kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"pull set {self.set} from {self.store}"


@dataclass(frozen=True, slots=True)
class PruneStore(Step):
    """The store contains only sets of this instance that a rule of the store keeps.

    `force`: sets with suspiciously little content are accepted, and sets of unconfirmed origin
    count like the others.
    """

    store: str
    force: bool = field(default=False, kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"remove expired sets from {self.store}"


@dataclass(frozen=True, slots=True)
class PinSet(Step):
    """Retention never removes this set while it is pinned."""

    set: str
    pinned: bool
    why: str

    def sentence(self) -> str:
        return f"{'pin' if self.pinned else 'unpin'} set {self.set}"


@dataclass(frozen=True, slots=True)
class AcceptSet(Step):
    """The user's confirmation is recorded that this set may contain much less than the previous
    one."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"accept that set {self.set} contains less than the previous set"


@dataclass(frozen=True, slots=True)
class DiscardStaging(Step):
    """No staging folder of this run exists."""

    why: str

    def sentence(self) -> str:
        return "discard this run's staging folder"


# ------------------------------------------------------------------------- restoring databases


@dataclass(frozen=True, slots=True)
class CreateRoles(Step):
    """These roles exist on the service's server, as defined in `file` of the set.

    `whole`: with all their rights, including server-wide ones.
    """

    set: str
    service: str
    file: str
    roles: tuple[str, ...]
    whole: bool
    why: str

    def sentence(self) -> str:
        noun = "roles" if len(self.roles) > 1 else "role"
        return f"create {noun} {', '.join(self.roles)} on the server in {self.service}"


@dataclass(frozen=True, slots=True)
class UnmarkDatabase(Step):
    """Database `name` no longer has the marker of the run that created it."""

    database: str
    name: str
    why: str

    def sentence(self) -> str:
        return f"remove this run's marker from database {self.name}"


@dataclass(frozen=True, slots=True)
class CreateDatabase(Step):
    """An empty database `name` exists beside the live one, with the set's encoding and locale, or,
    without a set, those of the live database.
    """

    set: str
    database: str
    name: str
    why: str

    def sentence(self) -> str:
        return f"create empty database {self.name}"


@dataclass(frozen=True, slots=True)
class LoadDump(Step):
    """The dump `file` of the set is loaded into database `name`.

    `not_valid`: constraints that rows violate may be restored as NOT VALID. `skip_broken`: entries
    that cannot be restored may be left out, but no rows.
    """

    set: str
    database: str
    name: str
    file: str
    not_valid: bool = field(default=False, kw_only=True)
    skip_broken: bool = field(default=False, kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"load {self.file} of {self.set} into {self.name}{_allowances(self)}"


@dataclass(frozen=True, slots=True)
class CheckDatabase(Step):
    """Database `name` matches the set's record, table by table."""

    set: str
    database: str
    name: str
    why: str

    def sentence(self) -> str:
        return f"compare {self.name} with the record of {self.set}"


@dataclass(frozen=True, slots=True)
class MigrateDatabase(Step):
    """Database `name` is at `revision` of its Alembic history."""

    database: str
    name: str
    revision: str
    why: str

    def sentence(self) -> str:
        return f"migrate {self.name} to {self.revision}"


@dataclass(frozen=True, slots=True)
class LoadScript(Step):
    """The plain SQL script `file` of the source is loaded into database `name`."""

    set: str
    database: str
    name: str
    file: str
    why: str

    def sentence(self) -> str:
        return f"load {self.file} into {self.name}"


@dataclass(frozen=True, slots=True)
class CopySchema(Step):
    """The empty database `name` has the schema of the live one, without rows."""

    database: str
    name: str
    why: str

    def sentence(self) -> str:
        return f"copy the live schema of {self.database} to {self.name}"


@dataclass(frozen=True, slots=True)
class ReplaceRows(Step):
    """The tables of `file` in database `name` contain exactly the rows of `file`.

    Done in one transaction. Tables in `counted` are compared by their number of rows only, because
    the user accepted that their types differ. `force`: other tables may keep their rows.
    `not_valid` and `skip_broken` as in `LoadDump`.
    """

    set: str
    database: str
    name: str
    file: str
    counted: tuple[str, ...]
    force: bool
    not_valid: bool = field(default=False, kw_only=True)
    skip_broken: bool = field(default=False, kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"replace the rows of {self.name} with {self.file} of {self.set}{_allowances(self)}"


@dataclass(frozen=True, slots=True)
class FinishDatabase(Step):
    """Database `name` has statistics, and the owner, settings and grants of the set or, without a
    set, of the live database.
    """

    set: str
    database: str
    name: str
    why: str

    def sentence(self) -> str:
        return f"analyze {self.name}, apply owner, settings and grants"


@dataclass(frozen=True, slots=True)
class BlockConnections(Step):
    """No session is connected to these databases of the service's server, and none can connect.

    Without `closing`, the server has no means against new connections.
    """

    former: ClassVar[str] = "FenceDatabases"

    service: str
    names: tuple[str, ...]
    closing: bool = field(default=True, kw_only=True, metadata=SPARSE)
    why: str

    def sentence(self) -> str:
        names = _listed(self.names, "no database")
        if not self.closing:
            return f"terminate sessions in {names}"
        return f"terminate sessions and block connections to {names}"


@dataclass(frozen=True, slots=True)
class SwapDatabases(Step):
    """All these databases of one server are exchanged, or none of them."""

    service: str
    swaps: tuple[DatabaseSwap, ...]
    why: str

    def sentence(self) -> str:
        pairs = ", ".join(f"{swap.side} becomes {swap.live}" for swap in self.swaps)
        return f"exchange databases of {self.service}: {pairs}"


@dataclass(frozen=True, slots=True)
class PutBackDatabases(Step):
    """The databases that were live before these swaps are live and accept connections."""

    service: str
    swaps: tuple[DatabaseSwap, ...]
    why: str

    def sentence(self) -> str:
        return "put back " + _listed(tuple(swap.live for swap in self.swaps), "no database")


@dataclass(frozen=True, slots=True)
class DropDatabase(Step):
    """No database `name` exists. Only a name with `suffix` may be dropped.

    The step fails as long as the safety set `kept_in` has not been made.
    """

    database: str
    name: str
    suffix: str
    kept_in: str = field(default="", kw_only=True, metadata=SPARSE)
    why: str

    def sentence(self) -> str:
        return f"drop database {self.name}"


# ----------------------------------------------------------------------------- restoring volumes


@dataclass(frozen=True, slots=True)
class CreateVolume(Step):
    """The volume exists, with the labels that Compose itself would set."""

    volume: str
    noun: Noun = field(default="volume", kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"create {self.noun} {self.volume}"


@dataclass(frozen=True, slots=True)
class StageVolume(Step):
    """The set's content of the volume is unpacked and checked beside the live content; with
    `path`, only that file or folder."""

    set: str
    volume: str
    path: str = field(default="", kw_only=True)
    noun: Noun = field(default="volume", kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"stage {_content(self)} from {self.set}"


@dataclass(frozen=True, slots=True)
class SwapVolume(Step):
    """The staged content is live; the previous content is kept beside it.

    `lost` is content of the volume that is in no set and will be deleted. `run` is the run that
    staged the content, "" for this one.
    """

    volume: str
    path: str = field(default="", kw_only=True)
    noun: Noun = field(default="volume", kw_only=True)
    run: str = field(default="", kw_only=True, metadata=SPARSE)
    lost: tuple[LeftOut, ...] = field(default=(), kw_only=True)
    why: str

    def sentence(self) -> str:
        lost = f", deleting what is in no set ({_patterns(self.lost)})" if self.lost else ""
        return f"exchange {_content(self)}{lost}"


@dataclass(frozen=True, slots=True)
class PutBackVolume(Step):
    """The content that was live before this run's swap, or before that of `run`, is live again."""

    volume: str
    path: str = field(default="", kw_only=True)
    noun: Noun = field(default="volume", kw_only=True)
    run: str = field(default="", kw_only=True, metadata=SPARSE)
    why: str

    def sentence(self) -> str:
        return f"put back {_content(self)}"


@dataclass(frozen=True, slots=True)
class FinishSwap(Step):
    """The volume contains no staged content and no previous copy of this run, or of `run` if given.

    The step fails as long as the safety set `kept_in` has not been made.
    """

    former: ClassVar[str] = "SettleVolume"

    volume: str
    noun: Noun = field(default="volume", kw_only=True)
    run: str = field(default="", kw_only=True, metadata=SPARSE)
    kept_in: str = field(default="", kw_only=True, metadata=SPARSE)
    why: str

    def sentence(self) -> str:
        return f"remove staged and previous content from {self.noun} {self.volume}"


#: The steps with which an exchange of live data, or the undoing of one, begins.
EXCHANGING = (BlockConnections, SwapDatabases, PutBackDatabases, SwapVolume, PutBackVolume)


@dataclass(frozen=True, slots=True)
class MakeSafetySet(Step):
    """The safety set is published and was verified. It contains the data that an exchange
    replaced, made of the copies beside the live data, and shows the instant of that exchange.

    `steps` make it, in order; if one fails, the set's unfinished files are removed.
    `run` is the run of the exchange: `swaps` and `volumes` are what it exchanged.
    """

    set: str
    run: str
    swaps: tuple[DatabaseSwap, ...]
    volumes: tuple[str, ...]
    steps: tuple[Node, ...]
    why: str

    @property
    def is_of_undo(self) -> bool:
        """Whether it contains what was live until an exchange was undone, and not what the exchange
        replaced."""
        names = {swap.side for swap in self.swaps} | {replaced_copy(self.run)}
        return any(getattr(part, "copy", "") in names for part in with_parts(self.steps))

    def sentence(self) -> str:
        return f"make safety set {self.set} of the previous data"


@dataclass(frozen=True, slots=True)
class ForgetPending(Step):
    """No work of `run` is pending any more: its exchange was undone."""

    run: str
    why: str

    def sentence(self) -> str:
        return f"forget the pending safety set of run {self.run}"


# -------------------------------------------------------------------------------------- structure


@dataclass(frozen=True, slots=True)
class Bracket:
    """Steps with clean-up steps, like try/except/else/finally.

    `enter` then `body` run in order. `on_failure` runs if either did not complete, `on_success`
    if both did, `always` in any case. The journal records all of them as pending before `enter`
    begins.

    From node number `forward_from` of the body on, the new state may be in use: a recovery then
    finishes the body instead of undoing it.
    """

    why: str
    enter: tuple[Node, ...]
    body: tuple[Node, ...]
    on_failure: tuple[Node, ...] = ()
    on_success: tuple[Node, ...] = ()
    always: tuple[Node, ...] = ()
    forward_from: int | None = None


Node = Step | Bracket


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do, in order. The same value is printed and executed.

    `request` describes what was requested; `engine` is the engine for which the plan was made,
    which a recovery compares with its own. `running` is everything that ran at that time, in start
    order: after a reboot all of it is started again. `outlook` is for people. Plans of earlier
    versions have neither.
    """

    run: str
    verb: str
    instance: str
    request: str
    stack_digest: str
    engine: str
    nodes: tuple[Node, ...]
    running: tuple[Unit, ...] = ()
    outlook: Outlook = UNKNOWN


PARTS = ("enter", "body", "on_failure", "on_success", "always")


def walk(nodes: tuple[Node, ...], at: str = "") -> Iterator[tuple[str, Node]]:
    """Yield every node with its position, brackets before their contents.

    Positions read like paths: `/2` is the third node, `/2/body/0` the first of its body.
    """
    for index, node in enumerate(nodes):
        position = f"{at}/{index}"
        yield position, node
        if isinstance(node, Bracket):
            for part in PARTS:
                yield from walk(getattr(node, part), f"{position}/{part}")


def steps_of(nodes: tuple[Node, ...]) -> Iterator[tuple[str, Step]]:
    """Yield only the steps of `walk`, with their positions."""
    for position, node in walk(nodes):
        if not isinstance(node, Bracket):
            yield position, node


def with_parts(nodes: tuple[Node, ...]) -> Iterator[Step]:
    """Yield the steps of `walk`, and after each `MakeSafetySet` the steps that make its set."""
    for _, step in steps_of(nodes):
        yield step
        if isinstance(step, MakeSafetySet):
            yield from with_parts(step.steps)


def names(units: tuple[Unit, ...]) -> str:
    """Return the units' services in their order, with a count for replicas."""
    counts: dict[str, int] = {}
    for unit in units:
        counts[unit.service] = counts.get(unit.service, 0) + 1
    return ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in counts.items())


def grouped(
    units: tuple[Unit, ...], groups: tuple[tuple[str, ...], ...]
) -> tuple[tuple[Unit, ...], ...]:
    """Return the units in their order; those of one group of services are together."""
    of = {name: number for number, group in enumerate(groups) for name in group}
    found: list[list[Unit]] = []
    for unit in units:
        group = of.get(unit.service)
        if found and group is not None and group == of.get(found[-1][0].service):
            found[-1].append(unit)
        else:
            found.append([unit])
    return tuple(map(tuple, found))


def grouped_names(units: tuple[Unit, ...], groups: tuple[tuple[str, ...], ...]) -> str:
    """Return the units' services in their order; those of one group are joined by `+`."""
    parts = [names(group) for group in grouped(units, groups)]
    if len(parts) == len(units):
        return names(units)
    return ", ".join(part.replace(", ", " + ") for part in parts)


def _listed(values: tuple[str, ...], otherwise: str) -> str:
    return ", ".join(values) or otherwise


def _content(step: StageVolume | SwapVolume | PutBackVolume) -> str:
    whole = f"{step.noun} {step.volume}"
    return f"{step.path} of {whole}" if step.path else whole


def _patterns(parts: tuple[LeftOut, ...]) -> str:
    return "; ".join(f"{p.pattern}: {p.files} entries, {p.bytes} bytes" for p in parts)


def _allowances(step: LoadDump | ReplaceRows) -> str:
    allowed = [
        *(("broken constraints NOT VALID",) if step.not_valid else ()),
        *(("broken entries left out",) if step.skip_broken else ()),
    ]
    return f", {' and '.join(allowed)}" if allowed else ""
