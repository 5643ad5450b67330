"""The vocabulary of plans: one frozen dataclass per effect, each a goal with a reason.

Every step is idempotent (running it on a world that already shows its goal changes nothing), so
a recovery may repeat it. Fields are plain values: keys of `stack.yaml`, names, paths as text;
never a client, a password or a function. A new step is two things: its class here, with its
sentence, and its handler in `execute/handlers`; an architecture test compares them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from quiesce.exclusion import LeftOut
from quiesce.model import DatabaseSwap, Mode, SetKind
from quiesce.observed import Unit


class Step:
    """One effect of a plan: a goal, and `why` it is wanted.

    A subclass is a frozen dataclass with a `sentence`; it is known to journals by its name, and
    carried out by the handler that names it (`@handles` in `execute/handlers`).
    """

    __slots__ = ()
    #: Every kind of step by its name; what a journal can hold.
    kinds: ClassVar[dict[str, type[Step]]] = {}
    #: What journals of earlier versions call this kind of step.
    former: ClassVar[str] = ""
    why: str

    def __init_subclass__(cls) -> None:
        # A dataclass with slots is made twice; the second is the one that is used.
        Step.kinds[cls.__name__] = cls
        if cls.former:
            Step.kinds[cls.former] = cls

    def sentence(self) -> str:
        """Return what the step does, without its reason."""
        raise NotImplementedError


# ------------------------------------------------------------------------------------- services


@dataclass(frozen=True, slots=True)
class UpServices(Step):
    """Containers of these services exist and run (made by Compose where missing)."""

    services: tuple[str, ...]
    build: bool
    why: str

    def sentence(self) -> str:
        return f"bring up {_listed(self.services, 'every service')}" + (
            ", building images" if self.build else ""
        )


@dataclass(frozen=True, slots=True)
class StopServices(Step):
    """These units do not run. In stop order; each gets at least `timeout` seconds to end."""

    units: tuple[Unit, ...]
    timeout: float
    why: str

    def sentence(self) -> str:
        return f"stop {names(self.units)}"


@dataclass(frozen=True, slots=True)
class HoldRestart(Step):
    """The engine starts none of these units by itself, not even when the machine boots."""

    units: tuple[Unit, ...]
    why: str

    def sentence(self) -> str:
        return f"keep the engine from restarting {names(self.units)}"


@dataclass(frozen=True, slots=True)
class FreeRestart(Step):
    """The engine restarts these units as it did when they were observed."""

    units: tuple[Unit, ...]
    why: str

    def sentence(self) -> str:
        return f"let the engine restart {names(self.units)} again"


@dataclass(frozen=True, slots=True)
class RunCommand(Step):
    """The command ran in the service and ended well within `timeout` seconds."""

    service: str
    argv: tuple[str, ...]
    timeout: float
    why: str

    def sentence(self) -> str:
        return f"run {shlex.join(self.argv)} in {self.service}"


@dataclass(frozen=True, slots=True)
class StartServices(Step):
    """These units run again as they ran before. In start order.

    One that cannot be started keeps none of the others down. With `keep_going`, what needs it is
    left out, and `CheckStarted` says so at the end of the plan.
    """

    units: tuple[Unit, ...]
    timeout: float
    keep_going: bool = field(default=False, kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"start {names(self.units)}"


@dataclass(frozen=True, slots=True)
class WaitHealthy(Step):
    """Every unit is as well as it was when observed: healthy if it was, running otherwise."""

    units: tuple[Unit, ...]
    timeout: float
    why: str

    def sentence(self) -> str:
        return f"wait for {names(self.units)}"


@dataclass(frozen=True, slots=True)
class WaitServices(Step):
    """Every named service runs and, where it has a health check, is healthy.

    `keep_going`: `CheckStarted` says at the end of the plan which ones do not.
    """

    services: tuple[str, ...]
    timeout: float
    keep_going: bool = field(default=False, kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"wait until healthy: {_listed(self.services, 'every service')}"


@dataclass(frozen=True, slots=True)
class CheckStarted(Step):
    """Nothing failed of what was to be started."""

    why: str

    def sentence(self) -> str:
        return "see that all of it came up"


@dataclass(frozen=True, slots=True)
class RemoveServices(Step):
    """No container and no network of these services exists. Volumes stay, always."""

    services: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return f"remove containers of {_listed(self.services, 'every service')}"


@dataclass(frozen=True, slots=True)
class BuildServices(Step):
    """The images of these services are built from what is in their folders now."""

    services: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return f"build images of {_listed(self.services, 'every service')}"


@dataclass(frozen=True, slots=True)
class RemoveProject(Step):
    """No container and no network carries the project's label. Volumes stay."""

    why: str

    def sentence(self) -> str:
        return "remove all containers and networks of the project"


# -------------------------------------------------------------------------------------- cleaning


@dataclass(frozen=True, slots=True)
class EmptyVolume(Step):
    """Nothing is in the volume. Its root keeps owner and mode."""

    volume: str
    why: str

    def sentence(self) -> str:
        return f"empty volume {self.volume}"


@dataclass(frozen=True, slots=True)
class EmptyPath(Step):
    """Nothing is in this folder, which lies below the stack's. The folder itself stays."""

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
    why: str

    def sentence(self) -> str:
        return f"open set {self.set} ({self.kind}, {self.mode})"


@dataclass(frozen=True, slots=True)
class ExportSnapshot(Step):
    """A session holds a snapshot of this database, its tables locked against rewriting."""

    former: ClassVar[str] = "HoldSnapshot"

    database: str
    why: str

    def sentence(self) -> str:
        return f"hold a snapshot of database {self.database}"


@dataclass(frozen=True, slots=True)
class CheckIdle(Step):
    """Whoever else is in these databases is named; when one wrote, the set will say so.

    `ignored` are application and user names that may be there.
    """

    former: ClassVar[str] = "CheckRest"

    set: str
    databases: tuple[str, ...]
    ignored: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return f"see that nobody else writes to {_listed(self.databases, 'no database')}"


@dataclass(frozen=True, slots=True)
class WatchStarts(Step):
    """Whoever is started from here on is noticed, and named by `CheckStopped`, also if it ended
    before."""

    why: str

    def sentence(self) -> str:
        return "watch who is started from here on"


@dataclass(frozen=True, slots=True)
class CheckStopped(Step):
    """Nobody who may write to these volumes or databases runs, or was started since
    `WatchStarts`; if one does or was, the set will say so.

    `services` are the stack's writers, found before the window; others that mount one of
    `volumes` writably count too, in the stack and outside of it. `ignored` are services,
    containers and clients that may be there.
    """

    set: str
    services: tuple[str, ...]
    volumes: tuple[str, ...]
    ignored: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return f"see that no writer of {_listed(self.volumes, 'these databases')} runs, or ran"


@dataclass(frozen=True, slots=True)
class CheckAddresses(Step):
    """Which of `units`, stopped and started, are reached elsewhere now, and which of
    `bystanders`, that ran on in the same networks, may keep the old address. Only tells."""

    units: tuple[Unit, ...]
    bystanders: tuple[Unit, ...]
    why: str

    def sentence(self) -> str:
        return f"see whether {names(self.bystanders)} may keep an old address"


@dataclass(frozen=True, slots=True)
class CheckShutdown(Step):
    """The PostgreSQL of `service` ended by itself, and its data directory in `volume` says so."""

    set: str
    service: str
    volume: str
    why: str

    def sentence(self) -> str:
        return f"see that {self.service} left volume {self.volume} cleanly shut down"


@dataclass(frozen=True, slots=True)
class ReleaseSnapshot(Step):
    """No session of this run holds a snapshot of this database."""

    database: str
    why: str

    def sentence(self) -> str:
        return f"release the snapshot of database {self.database}"


@dataclass(frozen=True, slots=True)
class DumpDatabase(Step):
    """The held snapshot of this database is in `file` of the set, with its record."""

    set: str
    database: str
    kind: SetKind
    file: str
    why: str

    def sentence(self) -> str:
        return f"dump database {self.database} ({self.kind})"


@dataclass(frozen=True, slots=True)
class WriteScript(Step):
    """The held snapshot of this database is a plain SQL script `file` in `backups/`."""

    database: str
    kind: SetKind
    file: str
    compress: bool
    why: str

    def sentence(self) -> str:
        return f"write database {self.database} ({self.kind}) to {self.file}"


@dataclass(frozen=True, slots=True)
class DumpGlobals(Step):
    """Roles and tablespaces of this service's server are in `file` of the set."""

    set: str
    service: str
    file: str
    why: str

    def sentence(self) -> str:
        return f"dump roles of the server in {self.service}"


@dataclass(frozen=True, slots=True)
class ArchiveVolume(Step):
    """Level 0: the volume as it is. Level 1: what differs from level 0, and what is gone.

    `left_out` is what patterns left out of it when the plan was made.
    """

    set: str
    volume: str
    level: int
    file: str
    left_out: tuple[LeftOut, ...] = field(default=(), kw_only=True)
    why: str

    def sentence(self) -> str:
        what = "everything" if self.level == 0 else "what changed since"
        if self.left_out:
            what = f"everything but {_patterns(self.left_out)}"
        return f"archive volume {self.volume}, level {self.level} ({what})"


@dataclass(frozen=True, slots=True)
class RecordStack(Step):
    """`stack.yaml`, the Compose model without secrets and the image digests are in the set."""

    set: str
    why: str

    def sentence(self) -> str:
        return "record stack.yaml, the Compose model and image digests"


@dataclass(frozen=True, slots=True)
class EncryptSet(Step):
    """Every member of the set is encrypted, with public keys, and no longer there in the clear."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"encrypt the members of {self.set}"


@dataclass(frozen=True, slots=True)
class SealSet(Step):
    """The set is whole, on disk and published under its final name."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"seal and publish set {self.set}"


@dataclass(frozen=True, slots=True)
class VerifySet(Step):
    """The published set was read to its end and matches its manifest."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"verify set {self.set}"


@dataclass(frozen=True, slots=True)
class CheckConsistent(Step):
    """The published set shows one instant."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"see that set {self.set} shows one instant"


@dataclass(frozen=True, slots=True)
class CheckDowntime(Step):
    """Services were down for `limit` seconds at most. The set is published either way."""

    set: str
    limit: float
    why: str

    def sentence(self) -> str:
        return f"see that services were down for at most {self.limit:g} s"


@dataclass(frozen=True, slots=True)
class RemoveSet(Step):
    """No set of this name exists."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"remove set {self.set}"


@dataclass(frozen=True, slots=True)
class RemoveExpired(Step):
    """No set of these names exists; but when `new` holds suspiciously less than `before` does,
    all of them are still there and that was said aloud. `before` is "" for a first set."""

    sets: tuple[str, ...]
    new: str
    before: str
    why: str

    def sentence(self) -> str:
        return f"remove {_listed(self.sets, 'no set')}" + (
            f", unless {self.new} holds far less than {self.before}" if self.before else ""
        )


@dataclass(frozen=True, slots=True)
class PushSet(Step):
    """The store holds the set whole: every member, read back, and last of all its index."""

    set: str
    store: str
    why: str

    def sentence(self) -> str:
        return f"push set {self.set} to {self.store}, and read it back"


@dataclass(frozen=True, slots=True)
class PullSet(Step):
    """The set is here, published, as it lies in the store.

    `unsigned` and `unencrypted` take one that nothing proves to be sent from here, or one in the
    clear where sets are encrypted.
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
    """The store holds no set of this instance that no rule of the store keeps.

    `force`: sets that hold suspiciously little are right, and those whose sender is not known count
    like the others.
    """

    store: str
    force: bool = field(default=False, kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"remove from {self.store} what its rules do not keep"


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
    """It is written down that this set rightly holds so much less than the one before it."""

    set: str
    why: str

    def sentence(self) -> str:
        return f"accept that set {self.set} holds less than the one before"


@dataclass(frozen=True, slots=True)
class DiscardStaging(Step):
    """No staging folder of this run exists."""

    why: str

    def sentence(self) -> str:
        return "discard this run's staging folder"


# ------------------------------------------------------------------------- restoring databases


@dataclass(frozen=True, slots=True)
class CreateRoles(Step):
    """These roles exist on the service's server, made as `file` of the set has them.

    `whole`: with all their rights, also those over the whole server.
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
    """Database `name` no longer says that a run made it."""

    database: str
    name: str
    why: str

    def sentence(self) -> str:
        return f"remove this run's mark from database {self.name}"


@dataclass(frozen=True, slots=True)
class CreateDatabase(Step):
    """An empty database `name` exists beside the live one, with the set's encoding and locale.

    Without a set, with those of the live one.
    """

    set: str
    database: str
    name: str
    why: str

    def sentence(self) -> str:
        return f"create empty database {self.name}"


@dataclass(frozen=True, slots=True)
class LoadDump(Step):
    """Database `name` holds what `file` of the set holds.

    `not_valid`: constraints that rows break may come back NOT VALID. `skip_broken`: entries that
    cannot be brought back may be left out, but no rows.
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
    """Database `name` is at `revision` of its own Alembic history."""

    database: str
    name: str
    revision: str
    why: str

    def sentence(self) -> str:
        return f"migrate {self.name} to {self.revision}"


@dataclass(frozen=True, slots=True)
class LoadScript(Step):
    """Database `name` holds what the plain SQL script `file` of the source makes."""

    set: str
    database: str
    name: str
    file: str
    why: str

    def sentence(self) -> str:
        return f"load {self.file} into {self.name}"


@dataclass(frozen=True, slots=True)
class CopySchema(Step):
    """The empty database `name` has the live one's tables, and no rows."""

    database: str
    name: str
    why: str

    def sentence(self) -> str:
        return f"copy the live schema of {self.database} to {self.name}"


@dataclass(frozen=True, slots=True)
class ReplaceRows(Step):
    """The rows of `file` are all that their tables in database `name` hold, and match the record.

    In one transaction. Tables in `counted` are compared by their number of rows: their types
    differ, and somebody said that this is right. `force`: other tables may keep their rows.
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
        return f"replace the rows of {self.name} by {self.file} of {self.set}{_allowances(self)}"


@dataclass(frozen=True, slots=True)
class FinishDatabase(Step):
    """Database `name` has statistics, and the owner, settings and grants the set recorded.

    Without a set, those of the live database.
    """

    set: str
    database: str
    name: str
    why: str

    def sentence(self) -> str:
        return f"gather statistics of {self.name}, apply owner, settings, grants"


@dataclass(frozen=True, slots=True)
class BlockConnections(Step):
    """Nobody is connected to these databases of the service's server, and nobody can be."""

    former: ClassVar[str] = "FenceDatabases"

    service: str
    names: tuple[str, ...]
    why: str

    def sentence(self) -> str:
        return f"fence {_listed(self.names, 'no database')}"


@dataclass(frozen=True, slots=True)
class SwapDatabases(Step):
    """All swaps of one server happened in one transaction."""

    service: str
    swaps: tuple[DatabaseSwap, ...]
    why: str

    def sentence(self) -> str:
        pairs = ", ".join(f"{swap.side} becomes {swap.live}" for swap in self.swaps)
        return f"swap databases of {self.service}: {pairs}"


@dataclass(frozen=True, slots=True)
class PutBackDatabases(Step):
    """What was live before these swaps is live and takes connections."""

    service: str
    swaps: tuple[DatabaseSwap, ...]
    why: str

    def sentence(self) -> str:
        return "put back " + _listed(tuple(swap.live for swap in self.swaps), "no database")


@dataclass(frozen=True, slots=True)
class DropDatabase(Step):
    """No database `name` exists. Only a name that carries `suffix` may be dropped."""

    database: str
    name: str
    suffix: str
    why: str

    def sentence(self) -> str:
        return f"drop database {self.name}"


# ----------------------------------------------------------------------------- restoring volumes


@dataclass(frozen=True, slots=True)
class CreateVolume(Step):
    """The volume exists, made with the labels Compose itself would give it."""

    volume: str
    why: str

    def sentence(self) -> str:
        return f"create volume {self.volume}"


@dataclass(frozen=True, slots=True)
class StageVolume(Step):
    """The set's content of the volume lies checked beside the live content; with `path`, that
    file or folder of it alone."""

    set: str
    volume: str
    path: str = field(default="", kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"stage {_content(self)} from {self.set}"


@dataclass(frozen=True, slots=True)
class SwapVolume(Step):
    """The staged content is the live content; what was live lies aside.

    `lost` is what was in the volume when the plan was made and is in no set.
    """

    volume: str
    path: str = field(default="", kw_only=True)
    lost: tuple[LeftOut, ...] = field(default=(), kw_only=True)
    why: str

    def sentence(self) -> str:
        lost = f", losing what is in no set ({_patterns(self.lost)})" if self.lost else ""
        return f"swap {_content(self)}{lost}"


@dataclass(frozen=True, slots=True)
class PutBackVolume(Step):
    """What was live before this run's swap is live again."""

    volume: str
    path: str = field(default="", kw_only=True)
    why: str

    def sentence(self) -> str:
        return f"put back {_content(self)}"


@dataclass(frozen=True, slots=True)
class FinishSwap(Step):
    """Nothing of this run is left in the volume: no staged content, nothing aside."""

    former: ClassVar[str] = "SettleVolume"

    volume: str
    why: str

    def sentence(self) -> str:
        return f"settle volume {self.volume}"


# -------------------------------------------------------------------------------------- structure


@dataclass(frozen=True, slots=True)
class Bracket:
    """Steps whose effects are owed an answer.

    `enter` then `body` run in order. `on_failure` runs when either did not complete, `on_success`
    when both did, `always` whatever happened; all are owed, in writing, before `enter` begins.

    From the body's node number `forward_from` on, people may have used the new state: a recovery
    then finishes the body instead of undoing it.
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
    """What will happen, in order, and for which run. The same value is printed and executed.

    `request` is what was asked for, in words; `engine` the engine the plan was made for, which
    a recovery compares with the one it talks to. `running` is all that ran when it was made, in
    start order: after a reboot it is owed as a whole. Plans of earlier versions have none.
    """

    run: str
    verb: str
    instance: str
    request: str
    stack_digest: str
    engine: str
    nodes: tuple[Node, ...]
    running: tuple[Unit, ...] = ()


PARTS = ("enter", "body", "on_failure", "on_success", "always")


def walk(nodes: tuple[Node, ...], at: str = "") -> Iterator[tuple[str, Node]]:
    """Yield every node with its position, brackets before what they hold.

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


def names(units: tuple[Unit, ...]) -> str:
    """Return the units' services in their order, with a count for replicas."""
    counts: dict[str, int] = {}
    for unit in units:
        counts[unit.service] = counts.get(unit.service, 0) + 1
    return ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in counts.items())


def _listed(values: tuple[str, ...], otherwise: str) -> str:
    return ", ".join(values) or otherwise


def _content(step: StageVolume | SwapVolume | PutBackVolume) -> str:
    return f"{step.path} of volume {step.volume}" if step.path else f"volume {step.volume}"


def _patterns(parts: tuple[LeftOut, ...]) -> str:
    return "; ".join(f"{p.pattern}: {p.files} entries, {p.bytes} bytes" for p in parts)


def _allowances(step: LoadDump | ReplaceRows) -> str:
    allowed = [
        *(("broken constraints NOT VALID",) if step.not_valid else ()),
        *(("broken entries left out",) if step.skip_broken else ()),
    ]
    return f", {' and '.join(allowed)}" if allowed else ""
