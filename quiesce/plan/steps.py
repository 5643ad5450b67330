"""The vocabulary of plans: one frozen dataclass per effect, each a goal with a reason.

Every step is idempotent (running it on a world that already shows its goal changes nothing), so
a recovery may repeat it. Fields are plain values: keys of `stack.yaml`, names, paths as text;
never a client, a password or a function. Whoever adds a step adds a sentence in `describe.py`
and a handler in `execute/handlers`; an architecture test compares the three.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from quiesce.exclusion import LeftOut
from quiesce.model import DatabaseSwap, Mode, SetKind
from quiesce.observed import Unit

# ------------------------------------------------------------------------------------- services


@dataclass(frozen=True, slots=True)
class UpServices:
    """Containers of these services exist and run (made by Compose where missing)."""

    services: tuple[str, ...]
    build: bool
    why: str


@dataclass(frozen=True, slots=True)
class StopServices:
    """These units do not run. In stop order; each gets at least `timeout` seconds to end."""

    units: tuple[Unit, ...]
    timeout: float
    why: str


@dataclass(frozen=True, slots=True)
class HoldRestart:
    """The engine starts none of these units by itself, not even when the machine boots."""

    units: tuple[Unit, ...]
    why: str


@dataclass(frozen=True, slots=True)
class FreeRestart:
    """The engine restarts these units as it did when they were observed."""

    units: tuple[Unit, ...]
    why: str


@dataclass(frozen=True, slots=True)
class RunCommand:
    """The command ran in the service and ended well within `timeout` seconds."""

    service: str
    argv: tuple[str, ...]
    timeout: float
    why: str


@dataclass(frozen=True, slots=True)
class StartServices:
    """These units run again as they ran before. In start order.

    One that cannot be started keeps none of the others down. With `keep_going`, what needs it is
    left out, and `CheckStarted` says so at the end of the plan.
    """

    units: tuple[Unit, ...]
    timeout: float
    keep_going: bool = field(default=False, kw_only=True)
    why: str


@dataclass(frozen=True, slots=True)
class WaitHealthy:
    """Every unit is as well as it was when observed: healthy if it was, running otherwise."""

    units: tuple[Unit, ...]
    timeout: float
    why: str


@dataclass(frozen=True, slots=True)
class WaitServices:
    """Every named service runs and, where it has a health check, is healthy.

    `keep_going`: `CheckStarted` says at the end of the plan which ones do not.
    """

    services: tuple[str, ...]
    timeout: float
    keep_going: bool = field(default=False, kw_only=True)
    why: str


@dataclass(frozen=True, slots=True)
class CheckStarted:
    """Nothing failed of what was to be started."""

    why: str


@dataclass(frozen=True, slots=True)
class RemoveServices:
    """No container and no network of these services exists. Volumes stay, always."""

    services: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class BuildServices:
    """The images of these services are built from what is in their folders now."""

    services: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class RemoveProject:
    """No container and no network carries the project's label. Volumes stay."""

    why: str


# -------------------------------------------------------------------------------------- cleaning


@dataclass(frozen=True, slots=True)
class EmptyVolume:
    """Nothing is in the volume. Its root keeps owner and mode."""

    volume: str
    why: str


@dataclass(frozen=True, slots=True)
class EmptyPath:
    """Nothing is in this folder, which lies below the stack's. The folder itself stays."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class RemoveVolume:
    """No volume of this real name exists. One that a container still uses is an error."""

    name: str
    why: str


# ----------------------------------------------------------------------------------- backup sets


@dataclass(frozen=True, slots=True)
class OpenSet:
    """A staging folder for this set exists and its final name is reserved."""

    set: str
    kind: SetKind
    mode: Mode
    label: str
    pinned: bool
    services_running: tuple[str, ...]
    services_stopped: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class HoldSnapshot:
    """A session holds a snapshot of this database, its tables locked against rewriting."""

    database: str
    why: str


@dataclass(frozen=True, slots=True)
class CheckRest:
    """Whoever else is in these databases is named; when one wrote, the set will say so.

    `ignored` are application and user names that may be there.
    """

    set: str
    databases: tuple[str, ...]
    ignored: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class WatchStarts:
    """Whoever is started from here on is noticed, and named by `CheckStopped`, also if it ended
    before."""

    why: str


@dataclass(frozen=True, slots=True)
class CheckStopped:
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


@dataclass(frozen=True, slots=True)
class CheckAddresses:
    """Which of `units`, stopped and started, are reached elsewhere now, and which of
    `bystanders`, that ran on in the same networks, may keep the old address. Only tells."""

    units: tuple[Unit, ...]
    bystanders: tuple[Unit, ...]
    why: str


@dataclass(frozen=True, slots=True)
class CheckShutdown:
    """The PostgreSQL of `service` ended by itself, and its data directory in `volume` says so."""

    set: str
    service: str
    volume: str
    why: str


@dataclass(frozen=True, slots=True)
class ReleaseSnapshot:
    """No session of this run holds a snapshot of this database."""

    database: str
    why: str


@dataclass(frozen=True, slots=True)
class DumpDatabase:
    """The held snapshot of this database is in `file` of the set, with its record."""

    set: str
    database: str
    kind: SetKind
    file: str
    why: str


@dataclass(frozen=True, slots=True)
class WriteScript:
    """The held snapshot of this database is a plain SQL script `file` in `backups/`."""

    database: str
    kind: SetKind
    file: str
    compress: bool
    why: str


@dataclass(frozen=True, slots=True)
class DumpGlobals:
    """Roles and tablespaces of this service's server are in `file` of the set."""

    set: str
    service: str
    file: str
    why: str


@dataclass(frozen=True, slots=True)
class ArchiveVolume:
    """Level 0: the volume as it is. Level 1: what differs from level 0, and what is gone.

    `left_out` is what patterns left out of it when the plan was made.
    """

    set: str
    volume: str
    level: int
    file: str
    left_out: tuple[LeftOut, ...] = field(default=(), kw_only=True)
    why: str


@dataclass(frozen=True, slots=True)
class RecordStack:
    """`stack.yaml`, the Compose model without secrets and the image digests are in the set."""

    set: str
    why: str


@dataclass(frozen=True, slots=True)
class EncryptSet:
    """Every member of the set is encrypted, with public keys, and no longer there in the clear."""

    set: str
    why: str


@dataclass(frozen=True, slots=True)
class SealSet:
    """The set is whole, on disk and published under its final name."""

    set: str
    why: str


@dataclass(frozen=True, slots=True)
class VerifySet:
    """The published set was read to its end and matches its manifest."""

    set: str
    why: str


@dataclass(frozen=True, slots=True)
class CheckConsistent:
    """The published set shows one instant."""

    set: str
    why: str


@dataclass(frozen=True, slots=True)
class CheckDowntime:
    """Services were down for `limit` seconds at most. The set is published either way."""

    set: str
    limit: float
    why: str


@dataclass(frozen=True, slots=True)
class RemoveSet:
    """No set of this name exists."""

    set: str
    why: str


@dataclass(frozen=True, slots=True)
class RemoveExpired:
    """No set of these names exists; but when `new` holds suspiciously less than `before` does,
    all of them are still there and that was said aloud. `before` is "" for a first set."""

    sets: tuple[str, ...]
    new: str
    before: str
    why: str


@dataclass(frozen=True, slots=True)
class PushSet:
    """The store holds the set whole: every member, read back, and last of all its index."""

    set: str
    store: str
    why: str


@dataclass(frozen=True, slots=True)
class PullSet:
    """The set is here, published, as it lies in the store.

    `unsigned` and `unencrypted` take one that nothing proves to be sent from here, or one in the
    clear where sets are encrypted.
    """

    set: str
    store: str
    unsigned: bool = field(default=False, kw_only=True)
    unencrypted: bool = field(default=False, kw_only=True)
    why: str


@dataclass(frozen=True, slots=True)
class PruneStore:
    """The store holds no set of this instance that no rule of the store keeps.

    `force`: sets that hold suspiciously little are right, and those whose sender is not known count
    like the others.
    """

    store: str
    force: bool = field(default=False, kw_only=True)
    why: str


@dataclass(frozen=True, slots=True)
class PinSet:
    """Retention never removes this set while it is pinned."""

    set: str
    pinned: bool
    why: str


@dataclass(frozen=True, slots=True)
class AcceptSet:
    """It is written down that this set rightly holds so much less than the one before it."""

    set: str
    why: str


@dataclass(frozen=True, slots=True)
class DiscardStaging:
    """No staging folder of this run exists."""

    why: str


# ------------------------------------------------------------------------- restoring databases


@dataclass(frozen=True, slots=True)
class CreateRoles:
    """These roles exist on the service's server, made as `file` of the set has them.

    `whole`: with all their rights, also those over the whole server.
    """

    set: str
    service: str
    file: str
    roles: tuple[str, ...]
    whole: bool
    why: str


@dataclass(frozen=True, slots=True)
class UnmarkDatabase:
    """Database `name` no longer says that a run made it."""

    database: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class CreateDatabase:
    """An empty database `name` exists beside the live one, with the set's encoding and locale.

    Without a set, with those of the live one.
    """

    set: str
    database: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class LoadDump:
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


@dataclass(frozen=True, slots=True)
class CheckDatabase:
    """Database `name` matches the set's record, table by table."""

    set: str
    database: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class MigrateDatabase:
    """Database `name` is at `revision` of its own Alembic history."""

    database: str
    name: str
    revision: str
    why: str


@dataclass(frozen=True, slots=True)
class LoadScript:
    """Database `name` holds what the plain SQL script `file` of the source makes."""

    set: str
    database: str
    name: str
    file: str
    why: str


@dataclass(frozen=True, slots=True)
class CopySchema:
    """The empty database `name` has the live one's tables, and no rows."""

    database: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class ReplaceRows:
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


@dataclass(frozen=True, slots=True)
class FinishDatabase:
    """Database `name` has statistics, and the owner, settings and grants the set recorded.

    Without a set, those of the live database.
    """

    set: str
    database: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class FenceDatabases:
    """Nobody is connected to these databases of the service's server, and nobody can be."""

    service: str
    names: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class SwapDatabases:
    """All swaps of one server happened in one transaction."""

    service: str
    swaps: tuple[DatabaseSwap, ...]
    why: str


@dataclass(frozen=True, slots=True)
class PutBackDatabases:
    """What was live before these swaps is live and takes connections."""

    service: str
    swaps: tuple[DatabaseSwap, ...]
    why: str


@dataclass(frozen=True, slots=True)
class DropDatabase:
    """No database `name` exists. Only a name that carries `suffix` may be dropped."""

    database: str
    name: str
    suffix: str
    why: str


# ----------------------------------------------------------------------------- restoring volumes


@dataclass(frozen=True, slots=True)
class CreateVolume:
    """The volume exists, made with the labels Compose itself would give it."""

    volume: str
    why: str


@dataclass(frozen=True, slots=True)
class StageVolume:
    """The set's content of the volume lies checked beside the live content; with `path`, that
    file or folder of it alone."""

    set: str
    volume: str
    path: str = field(default="", kw_only=True)
    why: str


@dataclass(frozen=True, slots=True)
class SwapVolume:
    """The staged content is the live content; what was live lies aside.

    `lost` is what was in the volume when the plan was made and is in no set.
    """

    volume: str
    path: str = field(default="", kw_only=True)
    lost: tuple[LeftOut, ...] = field(default=(), kw_only=True)
    why: str


@dataclass(frozen=True, slots=True)
class PutBackVolume:
    """What was live before this run's swap is live again."""

    volume: str
    path: str = field(default="", kw_only=True)
    why: str


@dataclass(frozen=True, slots=True)
class SettleVolume:
    """Nothing of this run is left in the volume: no staged content, nothing aside."""

    volume: str
    why: str


# -------------------------------------------------------------------------------------- structure

Step = (
    UpServices
    | StopServices
    | HoldRestart
    | FreeRestart
    | RunCommand
    | StartServices
    | WaitHealthy
    | WaitServices
    | CheckStarted
    | RemoveServices
    | BuildServices
    | RemoveProject
    | EmptyVolume
    | EmptyPath
    | RemoveVolume
    | OpenSet
    | HoldSnapshot
    | CheckRest
    | WatchStarts
    | CheckStopped
    | CheckAddresses
    | CheckShutdown
    | ReleaseSnapshot
    | DumpDatabase
    | WriteScript
    | DumpGlobals
    | ArchiveVolume
    | RecordStack
    | EncryptSet
    | SealSet
    | VerifySet
    | CheckConsistent
    | CheckDowntime
    | RemoveSet
    | RemoveExpired
    | PushSet
    | PullSet
    | PruneStore
    | PinSet
    | AcceptSet
    | DiscardStaging
    | CreateRoles
    | UnmarkDatabase
    | CreateDatabase
    | LoadDump
    | CheckDatabase
    | MigrateDatabase
    | LoadScript
    | CopySchema
    | ReplaceRows
    | FinishDatabase
    | FenceDatabases
    | SwapDatabases
    | PutBackDatabases
    | DropDatabase
    | CreateVolume
    | StageVolume
    | SwapVolume
    | PutBackVolume
    | SettleVolume
)


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


def subject(step: Step) -> dict[str, object]:
    """The step's fields without its reason, for messages and journals."""
    return {f.name: getattr(step, f.name) for f in fields(step) if f.name != "why"}
