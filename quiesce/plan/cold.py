"""The plan of a cold backup. Pure.

    hot     level 0 archives of plain volumes              services running
    quiet   stop everything · check that PostgreSQL shut down cleanly · archive its volumes ·
            level 1 archives of the plain ones · start again what ran
    after   record the stack · publish · verify

A data directory is copied in one pass while nothing runs, and only if its server shut down cleanly
according to its exit code and control file: a copy of a killed server may start and have lost data.
"""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.errors import RequestError
from quiesce.model import Stack, Volume
from quiesce.observed import Observed
from quiesce.plan import order, sqlite
from quiesce.plan.backup import (
    BackupRequest,
    archive,
    check_published,
    check_stopped,
    find_undeclared,
    seal_nodes,
    watch,
)
from quiesce.plan.capabilities import require
from quiesce.plan.folders import refuse_server, require_folders
from quiesce.plan.services import ordered, with_units_stopped
from quiesce.plan.steps import (
    ArchiveVolume,
    Bracket,
    CheckShutdown,
    DiscardStaging,
    Node,
    OpenSet,
    Plan,
    RecordStack,
    VerifySet,
)
from quiesce.suggest import suggest

_WHY = "a cold copy needs a stopped stack"


def plan_cold(
    stack: Stack, observed: Observed, request: BackupRequest, run: str, set_name: str
) -> Plan:
    """Return the plan of a cold backup: only volumes (also those of databases), and no dumps.

    Raise RequestError if the request names something that is not a volume to back up, or if there
    is nothing to back up.
    """
    volumes = select_volumes(stack, observed, request.only)
    plain = tuple(volume for volume in volumes if volume.backup == "files")
    servers = database_volumes(stack, observed, volumes)
    units = order.in_stop_order(observed.running, ordered(stack, observed))
    opened = OpenSet(
        set_name,
        "full",
        "cold",
        request.label,
        request.pinned,
        tuple(dict.fromkeys(unit.service for unit in observed.running)),
        tuple(dict.fromkeys(unit.service for unit in units)),
        "it is published atomically when complete",
    )
    level_0 = tuple(
        archive(set_name, v, 0, alone=not units, left_out=request.left_out) for v in plain
    )
    level_1 = tuple(archive(set_name, v, 1) for v in plain if units)
    body: tuple[Node, ...] = (
        *(level_0 if units else (*watch(observed), *level_0)),
        *with_units_stopped(
            stack,
            observed,
            units,
            _WHY,
            (
                *copies(set_name, servers),
                *level_1,
                check_stopped(stack, set_name, ordered(stack, observed), volumes),
            ),
            boot_safe=False,
            commands=True,
            watch=watch(observed) if units else (),
        ),
        *sqlite.check_step(set_name, plain),
        RecordStack(set_name, "so that the set documents its origin"),
        *find_undeclared(stack, request, set_name),
        *seal_nodes(stack, set_name, "every member is complete"),
    )
    nodes: tuple[Node, ...] = (
        Bracket(
            f"set {set_name}",
            (opened,),
            body,
            on_failure=(DiscardStaging("clean up after a failed run"),),
        ),
        VerifySet(set_name, "every member is read back and compared with the manifest"),
        *sqlite.require_step(set_name, plain),
        *check_published(stack, request, set_name, checked=True, stops=bool(units)),
    )
    instance = stack.instance.name
    words = f"full backup of {instance} (cold)"
    return Plan(run, "backup", instance, words, stack.digest, observed.engine.id, nodes)


def select_volumes(stack: Stack, observed: Observed, only: Sequence[str]) -> tuple[Volume, ...]:
    """Return the volumes of a cold set, in the order of stack.yaml."""
    kept = [volume for volume in stack.volumes if volume.backup != "never"]
    keys = [volume.key for volume in kept]
    for name in only:
        if name in {database.key for database in stack.databases}:
            raise RequestError(
                f"a cold backup contains whole servers, not database {name} alone",
                f"name volumes: {', '.join(keys)}; or use --mode consistent",
            )
        if name not in keys:
            raise RequestError(f"there is no volume or path {name} to back up", suggest(name, keys))
    wanted = [volume for volume in kept if volume.key in (only or keys)]
    require_folders(wanted, observed)
    for name in only:
        if not observed.volume(name).exists:
            raise RequestError(f"volume {name} does not exist yet", "run 'inv up' first")
    chosen = tuple(v for v in wanted if observed.volume(v.key).exists)
    if not chosen:
        raise RequestError("there is nothing to back up", "run 'inv up' first")
    return chosen


def database_volumes(
    stack: Stack, observed: Observed, volumes: Sequence[Volume]
) -> tuple[tuple[str, Volume], ...]:
    """Return service and volume for each volume that is the data directory of a database server.

    Raise RequestError for a `by-dump` volume that no database's service mounts, because it could
    not be checked for a clean shutdown.
    """
    found = []
    for volume in volumes:
        users = sorted(
            service.name
            for service in observed.services
            if any(mount.volume == volume.key and mount.writable for mount in service.mounts)
        )
        servers = [name for name in users if name in {d.service for d in stack.databases}]
        if volume.backup == "by-dump":
            if not servers:
                raise RequestError(
                    f"{volume.noun} {volume.key} is marked 'backup: by-dump', but no database's "
                    "service uses it",
                    "correct databases in stack.yaml",
                )
            of_server = [d for d in stack.databases if d.service == servers[0]]
            require(of_server, "clusters", "choose other volumes with --only, or another --mode")
            found.append((servers[0], volume))
        elif servers:
            raise refuse_server(stack, observed.service(servers[0]), volume.key)
    return tuple(found)


def copies(set_name: str, servers: Sequence[tuple[str, Volume]]) -> tuple[Node, ...]:
    """Return the steps that check stopped servers and archive their volumes."""
    checks = tuple(
        CheckShutdown(
            set_name,
            service,
            volume.key,
            "a copy of a killed server's files may be corrupt",
            noun=volume.noun,
        )
        for service, volume in servers
    )
    archives = tuple(
        ArchiveVolume(
            set_name,
            volume.key,
            0,
            volume.stem,
            f"all data of the server in {service}",
            noun=volume.noun,
        )
        for service, volume in servers
    )
    return (*checks, *archives)
