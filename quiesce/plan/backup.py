"""The plan of a backup. Pure.

    hot     level 0 archives of volumes               services running
    quiet   stop writers · export snapshots · level 1 archives · start them again
    after   dump the exported snapshots · record the stack · publish · verify

This order keeps everything that grows with the data out of the window, and publishes nothing
before it is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from quiesce.errors import RequestError
from quiesce.exclusion import LeftOut
from quiesce.model import (
    Database,
    Mode,
    SetKind,
    Stack,
    Undeclared,
    UndeclaredKind,
    Volume,
)
from quiesce.observed import Observed, Unit
from quiesce.plan import coverage, sqlite
from quiesce.plan.capabilities import require, with_capability
from quiesce.plan.dumping import split_dumps
from quiesce.plan.folders import refuse_server, require_folders
from quiesce.plan.outcome import downtime_words
from quiesce.plan.services import with_dependents, with_units_stopped
from quiesce.plan.steps import (
    ArchiveVolume,
    Bracket,
    CheckConsistent,
    CheckDowntime,
    CheckIdle,
    CheckStopped,
    DiscardStaging,
    EncryptSet,
    ExportSnapshot,
    Node,
    OpenSet,
    Plan,
    RecordStack,
    ReleaseSnapshot,
    SealSet,
    VerifySet,
    WatchStarts,
)
from quiesce.suggest import suggest


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What was requested. `only` contains keys of databases and volumes; empty means everything.

    `in_window`, if not empty, is the reason to dump while services are stopped. `recent_downtime`
    are the downtimes of the last sets in seconds, to compare with `max_downtime`.
    """

    only: tuple[str, ...] = ()
    mode: Mode = "consistent"
    kind: SetKind = "full"
    label: str = ""
    pinned: bool = False
    in_window: str = ""
    recent_downtime: tuple[float, ...] = ()
    #: What `exclude` leaves out, by volume key.
    left_out: Mapping[str, tuple[LeftOut, ...]] = field(default_factory=dict)
    #: What stack.yaml does not mention, and databases that do not count.
    undeclared: tuple[Undeclared, ...] = ()
    left_databases: tuple[str, ...] = ()

    @property
    def complete_in(self) -> tuple[UndeclaredKind, ...]:
        """The kinds of data that the set is to contain completely."""
        return coverage.kinds_of(self.kind, self.mode, self.only)


@dataclass(frozen=True, slots=True)
class Selection:
    """The databases and volumes of a new set."""

    databases: tuple[Database, ...]
    volumes: tuple[Volume, ...]


def plan_backup(
    stack: Stack, observed: Observed, request: BackupRequest, run: str, set_name: str
) -> Plan:
    """Return the plan of a backup into the set `set_name`.

    Raise RequestError when the request names something unknown, when a database cannot be
    reached, or when nothing is left to back up.
    """
    selection = select(stack, observed, request.only, request.kind)
    require_databases(selection.databases, observed)
    units, why = writers(stack, observed, selection)
    consistent = (
        request.mode == "consistent" and request.kind == "full" and _worth_stopping(selection)
    )
    if not consistent:
        require(selection.databases, "snapshots", "make a full backup, with services stopped")
        units = ()
    snapshots: tuple[Node, ...] = tuple(
        ExportSnapshot(d.key, "the dump is made later, as of this moment", kind=request.kind)
        for d in selection.databases
    )
    writers_check: tuple[Node, ...] = ()
    if consistent:
        snapshots += check_idle(stack, set_name, selection)
        ignored = {*stack.restart.keep_running, *database_services(selection)}
        found = reasons(stack, observed, selection)
        writers_check = (check_stopped(stack, set_name, found, selection.volumes, ignored),)
    two_levels = bool(units)
    level_0 = tuple(
        archive(set_name, v, 0, alone=not two_levels, left_out=request.left_out)
        for v in selection.volumes
    )
    level_1 = tuple(archive(set_name, v, 1) for v in selection.volumes if two_levels)
    opened = OpenSet(
        set_name,
        request.kind,
        request.mode,
        request.label,
        request.pinned,
        tuple(dict.fromkeys(unit.service for unit in observed.running)),
        tuple(dict.fromkeys(unit.service for unit in units)),
        "it is published atomically when complete",
    )
    within, dumped = split_dumps(
        set_name, selection.databases, request.kind, request.in_window if units else ""
    )
    body: tuple[Node, ...] = (
        *(level_0 if two_levels or not consistent else (*watch(observed), *level_0)),
        *(sqlite.copy_step(set_name, selection.volumes) if request.mode == "live" else ()),
        *with_units_stopped(
            stack,
            observed,
            units,
            why,
            (*snapshots, *level_1, *writers_check, *within),
            commands=consistent,
            watch=watch(observed) if two_levels else (),
        ),
        *dumped,
        *sqlite.check_step(set_name, selection.volumes),
        RecordStack(set_name, "so that the set documents its origin"),
        *find_undeclared(stack, request, set_name),
        *seal_nodes(stack, set_name, "every member is complete"),
    )
    discard: tuple[Node, ...] = (
        *(ReleaseSnapshot(d.key, "clean up after a failed run") for d in selection.databases),
        DiscardStaging("clean up after a failed run"),
    )
    nodes: tuple[Node, ...] = (
        Bracket(f"set {set_name}", (opened,), body, on_failure=discard),
        VerifySet(set_name, "every member is read back and compared with the manifest"),
        *sqlite.require_step(set_name, selection.volumes),
        *check_published(
            stack,
            request,
            set_name,
            checked=consistent,
            stops=bool(units),
        ),
    )
    words = f"{request.kind} backup of {stack.instance.name} ({request.mode})"
    return Plan(
        run,
        "backup",
        stack.instance.name,
        words,
        stack.digest,
        observed.engine.id,
        nodes,
    )


def select(stack: Stack, observed: Observed, only: Sequence[str], kind: SetKind) -> Selection:
    """Return the contents of a set of this kind. Raise RequestError for invalid names."""
    kept = {volume.key: volume for volume in stack.volumes if volume.backup == "files"}
    databases = {database.key: database for database in stack.databases}
    for name in only:
        if name in kept or name in databases:
            continue
        declared = next((volume for volume in stack.volumes if volume.key == name), None)
        if declared is not None:
            raise RequestError(
                f"{declared.noun} {name} is marked 'backup: {declared.backup}'",
                f"name databases, volumes or paths: {', '.join([*databases, *kept])}",
            )
        if name in {entry.key for entry in stack.unkept_paths}:
            raise RequestError(
                f"path {name} is marked 'backup: never'",
                f"name databases, volumes or paths: {', '.join([*databases, *kept])}",
            )
        raise RequestError(
            f"there is no database, volume or path {name}",
            suggest(name, [*databases, *kept]),
        )
    wanted = tuple(only) or (*databases, *kept)
    volumes = tuple(kept[key] for key in kept if key in wanted)
    if kind != "full":
        named = [volume.key for volume in volumes if volume.key in only]
        if named:
            raise RequestError(
                f"a {kind} backup contains databases only, not {', '.join(named)}",
                f"leave {', '.join(named)} out, or make a full backup",
            )
        volumes = ()
    require_folders(volumes, observed)
    present = tuple(volume for volume in volumes if observed.volume(volume.key).exists)
    absent = [volume.key for volume in volumes if volume.key in only and volume not in present]
    if absent:
        raise RequestError(f"volume {absent[0]} does not exist yet", "run 'inv up' first")
    selection = Selection(tuple(databases[key] for key in databases if key in wanted), present)
    if kind == "data":
        require(selection.databases, "rows", "make a full backup")
    if not selection.databases and not selection.volumes:
        raise RequestError("there is nothing to back up", "run 'inv up' first")
    return selection


def require_databases(databases: Sequence[Database], observed: Observed) -> None:
    """Raise RequestError unless every database exists and can be reached."""
    for database in databases:
        state = observed.database(database.key)
        if not state.reachable:
            raise RequestError(
                f"database {database.key} cannot be reached: {state.problem}",
                state.remedy or f"run 'inv up --service {database.service}', then try again",
            )
        if not state.exists:
            raise RequestError(
                f"database {database.name} does not exist on {database.service}",
                "create it, or remove it from databases in stack.yaml",
            )


def writers(stack: Stack, observed: Observed, selection: Selection) -> tuple[tuple[Unit, ...], str]:
    """Return the running units that may write to selected data, in stop order, and why.

    These are services that mount a selected volume read-write or depend on the service of a
    selected database, and those in `writers.services` of stack.yaml. A database's own service
    keeps running, because the backup uses a snapshot of it.
    """
    return with_dependents(stack, observed, reasons(stack, observed, selection))


def database_services(selection: Selection) -> set[str]:
    """Return the services of the selected databases."""
    return {database.service for database in selection.databases}


def reasons(stack: Stack, observed: Observed, selection: Selection) -> dict[str, str]:
    """Return every service that may write to selected data, running or not, and why."""
    keys = {volume.key for volume in selection.volumes}
    own = database_services(selection)
    found: dict[str, str] = dict.fromkeys(stack.writers, "is named in writers")
    for service in observed.services:
        needed = own & {entry.service for entry in service.depends_on}
        if needed:
            found[service.name] = f"uses {min(needed)}"
        mounted = [m.volume for m in service.mounts if m.writable and m.volume in keys]
        if mounted and service.name in own:
            raise refuse_server(stack, service, mounted[0])
        if mounted:
            found[service.name] = f"writes to {mounted[0]}"
    for name in own:
        found.pop(name, None)
    return found


def check_idle(stack: Stack, set_name: str, selection: Selection) -> tuple[Node, ...]:
    """Return the step that checks for other writers after the last snapshot was exported.

    Return no step if the set is always consistent: with one database alone, or with no database.
    """
    if not selection.databases or not _worth_stopping(selection):
        return ()
    keys = tuple(database.key for database in selection.databases)
    why = "only the stack's own services were stopped"
    return (CheckIdle(set_name, keys, stack.ignored_writers, why),)


def watch(observed: Observed) -> tuple[Node, ...]:
    """Return the step that records started containers for `check_stopped`.

    It is the last step before services stop. If no service stops, each volume has only one archive,
    and the step comes before it. On the host it is not needed: only Quiesce starts services, and it
    holds the lock.
    """
    if observed.engine.kind == "host":
        return ()
    return (WatchStarts("to detect writers while services are stopped, even short-lived ones"),)


def check_stopped(
    stack: Stack,
    set_name: str,
    services: Iterable[str],
    volumes: Sequence[Volume],
    spared: Iterable[str] = (),
) -> CheckStopped:
    """Return the step that checks for running writers again after the last archive.

    `services` may write although they mount none of the volumes; `spared` keep running on purpose.
    """
    ignored = tuple(sorted({*stack.ignored_writers, *spared}))
    keys = tuple(volume.key for volume in volumes)
    why = "a writer could make the set inconsistent"
    return CheckStopped(set_name, tuple(sorted(services)), keys, ignored, why)


def check_published(
    stack: Stack, request: BackupRequest, set_name: str, *, checked: bool, stops: bool
) -> tuple[Node, ...]:
    """Return the steps that check a published set; if they fail, it stays published.

    `checked`: the plan checks for other writers. `stops`: services stop in it.
    """
    nodes: list[Node] = []
    if checked:
        nodes.append(CheckConsistent(set_name, "a set that mixes points in time is reported"))
    if stops and stack.max_downtime is not None:
        why = downtime_words(stack.max_downtime, request.recent_downtime)
        nodes.append(CheckDowntime(set_name, stack.max_downtime, why))
    return (*nodes, *coverage.check_step(stack, set_name, request.complete_in))


def find_undeclared(stack: Stack, request: BackupRequest, set_name: str) -> tuple[Node, ...]:
    """Return the step that looks again for data that stack.yaml does not mention."""
    return coverage.find_step(
        stack, set_name, request.complete_in, request.undeclared, request.left_databases
    )


def _worth_stopping(selection: Selection) -> bool:
    """Whether services must stop: one database alone is consistent by its snapshot."""
    by_itself = (
        len(with_capability(selection.databases, "snapshots")) == len(selection.databases) == 1
    )
    return bool(selection.volumes) or not by_itself


def archive(
    set_name: str,
    volume: Volume,
    level: int,
    *,
    alone: bool = False,
    left_out: Mapping[str, tuple[LeftOut, ...]] = MappingProxyType({}),
) -> ArchiveVolume:
    """Return the step for one level of a volume; `alone`: it has no other level."""
    why = (
        "while services run, to keep the downtime short"
        if level == 0
        else ("only this step needs stopped services")
    )
    if alone:
        why = f"{volume.priority}: {volume.purpose}" if volume.purpose else volume.priority
    parts = left_out.get(volume.key, ())
    return ArchiveVolume(
        set_name, volume.key, level, volume.stem, why, left_out=parts, noun=volume.noun
    )


def seal_nodes(stack: Stack, set_name: str, why: str) -> tuple[Node, ...]:
    """Return the steps that encrypt the members, if configured, and publish the set."""
    secret: tuple[Node, ...] = ()
    if stack.recipients:
        secret = (EncryptSet(set_name, "encrypt.where is 'everywhere'"),)
    return (*secret, SealSet(set_name, why))
