"""The plan of a restore. Pure.

    hot     build staging databases, check and migrate them; stage volumes    services running
    quiet   stop users · exchange · start them again · healthy
    after   make the safety set of the previous copies; then delete them

Everything that takes long or can fail on bad data is done while the old data is live, or when
services run on the new data. The exchange consists of renames only; if services do not become
healthy with the new data, it is undone.
"""

from __future__ import annotations

from collections.abc import Sequence

from quiesce.errors import RequestError
from quiesce.model import DatabaseSwap, ImportSource, RestoreSource, Stack, Volume
from quiesce.observed import Observed, Unit
from quiesce.plan import rows, safety, staging
from quiesce.plan.capabilities import with_capability
from quiesce.plan.exchange import block_step, by_server, swap_step
from quiesce.plan.naming import staging_database, suffix_of
from quiesce.plan.restore_request import (
    Chosen,
    RestoreInputs,
    RestoreRequest,
    check_path,
    choose,
    refuse_external_users,
    require_servers,
    rows_alone,
)
from quiesce.plan.services import start_nodes, with_dependents, with_units_stopped
from quiesce.plan.steps import (
    Bracket,
    CreateVolume,
    DiscardStaging,
    DropDatabase,
    FinishSwap,
    Node,
    Plan,
    PutBackDatabases,
    PutBackVolume,
    StageVolume,
    SwapVolume,
    UnmarkDatabase,
)
from quiesce.plan.together import stop_step


def plan_restore(
    stack: Stack,
    observed: Observed,
    source: RestoreSource,
    request: RestoreRequest,
    inputs: RestoreInputs,
    run: str,
    safety_set: str,
) -> Plan:
    """Return the plan that restores `source`.

    Raise RequestError if something requested is not in the source or not declared, or a database
    server cannot be reached.
    """
    chosen = choose(stack, source, request)
    require_servers(chosen, observed)
    refuse_external_users(chosen, observed)
    if request.path:
        check_path(chosen, observed, source, request)
    if request.beside:
        return staging.plan_beside(stack, observed, source, chosen.databases, request, inputs, run)
    if request.in_place:
        return _in_place(stack, observed, source, chosen, request, inputs, run, safety_set)
    swaps = _swaps(chosen, observed, run, inputs.taken)
    units, why = users(stack, observed, chosen)
    exchange = _exchange(stack, observed, chosen, swaps, units, request, inputs)
    kept = _safety(stack, observed, chosen, swaps, request, source, run, safety_set)
    only_rows = rows_alone(source, request)
    body: tuple[Node, ...] = (
        *staging.roles(source, inputs.roles),
        *(
            rows.stage(chosen.databases, swaps, source, request, inputs)
            if only_rows
            else staging.scripts(chosen.databases, swaps, source, inputs)
            if isinstance(source, ImportSource)
            else staging.dumps(chosen.databases, swaps, source, request, inputs)
        ),
        *_stage(observed, chosen, source, request.path),
        *kept.hot,
        *with_units_stopped(
            stack,
            observed,
            units,
            why,
            (*kept.stopped, exchange),
            come_back=request.restart,
            boot_safe=False,
        ),
    )
    clear: tuple[Node, ...] = (
        *(_drop(swap.database, swap.side, run) for swap in swaps),
        *(_finish(v, "clean up after a failed restore") for v in chosen.volumes),
        DiscardStaging("clean up after a failed restore"),
    )
    after: tuple[Node, ...] = (
        *(
            UnmarkDatabase(swap.database, swap.live, "the restored database works")
            for swap in swaps
            if not swap.aside
        ),
        *kept.after,
        *(_drop(swap.database, swap.aside, run, kept.kept_in) for swap in swaps if swap.aside),
        *(_finish(v, "the restored content works", kept.kept_in) for v in chosen.volumes),
        DiscardStaging("clean up"),
    )
    # In the bracket: otherwise previous copies would stay forever after a crash in these steps.
    nodes = (Bracket(f"restore {source.name}", (), body, on_failure=clear, on_success=after),)
    what = f"the rows of {source.name}" if only_rows else source.name
    if request.path:
        (volume,) = chosen.volumes
        what = f"{request.path} of {volume.noun} {volume.key} from {source.name}"
    words = f"restore {what} into {stack.instance.name}"
    return Plan(
        run,
        "restore",
        stack.instance.name,
        words,
        stack.digest,
        observed.engine.id,
        nodes,
    )


def _in_place(
    stack: Stack,
    observed: Observed,
    source: RestoreSource,
    chosen: Chosen,
    request: RestoreRequest,
    inputs: RestoreInputs,
    run: str,
    safety_set: str,
) -> Plan:
    """Replace rows in one transaction of the live database; a crash leaves the old rows."""
    (database,) = chosen.databases
    (target,) = inputs.rows
    units, why_stopped = users(stack, observed, chosen)
    kept = _safety(stack, observed, chosen, (), request, source, run, safety_set)
    why = "in one transaction, which also compares them with the set"
    step = rows.replace_rows(source, target, database.name, why, request)
    discard = DiscardStaging("clean up")
    body = with_units_stopped(
        stack, observed, units, why_stopped, (*kept.stopped, step), come_back=request.restart
    )
    nodes = (Bracket(f"rows of {source.name}", (), body, on_failure=(discard,)), discard)
    words = f"restore the rows of {database.key} in {source.name} in place"
    return Plan(run, "restore", stack.instance.name, words, stack.digest, observed.engine.id, nodes)


def users(stack: Stack, observed: Observed, chosen: Chosen) -> tuple[tuple[Unit, ...], str]:
    """Return the running units that use what is restored, in stop order, and why."""
    keys = {volume.key for volume in chosen.volumes}
    servers = {database.service for database in chosen.databases}
    reasons: dict[str, str] = {}
    for service in observed.services:
        needed = servers & {entry.service for entry in service.depends_on}
        if needed:
            reasons[service.name] = f"uses {min(needed)}"
        mounted = [m.volume for m in service.mounts if m.volume is not None and m.volume in keys]
        if mounted and service.name in servers:
            noun = stack.volume(mounted[0]).noun
            raise RequestError(
                f"{service.name} is the server of a database to restore, and also uses {noun} "
                f"{mounted[0]}",
                f"restore {noun} {mounted[0]} in a run of its own, with --only {mounted[0]}",
            )
        if mounted:
            reasons[service.name] = f"uses {mounted[0]}"
    for name in servers:
        reasons.pop(name, None)
    return with_dependents(stack, observed, reasons)


def _swaps(
    chosen: Chosen, observed: Observed, run: str, taken: Sequence[str]
) -> tuple[DatabaseSwap, ...]:
    swaps: list[DatabaseSwap] = []
    used = set(taken)
    for database in chosen.databases:
        exists = observed.database(database.key).exists
        new = staging_database(database.name, run, "new", used)
        old = staging_database(database.name, run, "old", used) if exists else ""
        used |= {new, old}
        swaps.append(DatabaseSwap(database.key, database.name, new, old))
    return tuple(swaps)


def _stage(
    observed: Observed, chosen: Chosen, source: RestoreSource, path: str
) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for volume in chosen.volumes:
        if not observed.volume(volume.key).exists:
            nodes.append(CreateVolume(volume.key, "it does not exist yet", noun=volume.noun))
        why = "unpacked beside the live content and checked"
        nodes.append(StageVolume(source.name, volume.key, why, path=path, noun=volume.noun))
    return tuple(nodes)


def _servers(
    observed: Observed, chosen: Chosen, source: RestoreSource
) -> tuple[tuple[str, Volume], ...]:
    """Service and volume of each existing server whose data directory a cold set restores."""
    cold = {cluster.volume for cluster in source.clusters}
    found = []
    for volume in chosen.volumes:
        users = [
            service.name
            for service in observed.services
            if any(mount.volume == volume.key and mount.writable for mount in service.mounts)
        ]
        if volume.key in cold and users and observed.volume(volume.key).exists:
            found.append((users[0], volume))
    return tuple(found)


def _safety(
    stack: Stack,
    observed: Observed,
    chosen: Chosen,
    swaps: tuple[DatabaseSwap, ...],
    request: RestoreRequest,
    source: RestoreSource,
    run: str,
    name: str,
) -> safety.SafetySteps:
    """The steps of a safety set of exactly what is replaced, by their places in the plan."""
    replaced = safety.Replaced(
        tuple(d for d in chosen.databases if observed.database(d.key).exists),
        tuple(v for v in chosen.volumes if observed.volume(v.key).exists),
        _servers(observed, chosen, source),
    )
    if not request.safety:
        return safety.SafetySteps()
    incomplete = len(with_capability(replaced.databases, "copies")) < len(replaced.databases)
    if request.safety_first or request.in_place or incomplete:
        return safety.first(stack, observed, replaced, name)
    if request.path:
        return safety.levels(stack, observed, replaced, name)
    return safety.afterwards(stack, observed, replaced, swaps, name, run)


def _exchange(
    stack: Stack,
    observed: Observed,
    chosen: Chosen,
    swaps: tuple[DatabaseSwap, ...],
    units: tuple[Unit, ...],
    request: RestoreRequest,
    inputs: RestoreInputs,
) -> Bracket:
    servers = by_server(chosen.databases, swaps)
    fences = tuple(
        block_step(
            server,
            tuple(swap.live for swap in of_server if swap.aside)
            + tuple(swap.side for swap in of_server),
        )
        for server, of_server in servers
    )
    changes: tuple[Node, ...] = (
        *(swap_step(server, of) for server, of in servers),
        *(
            SwapVolume(
                v.key,
                "by renaming; the previous content is kept until success",
                path=request.path,
                lost=inputs.lost.get(v.key, ()),
                noun=v.noun,
            )
            for v in chosen.volumes
        ),
    )
    starts = (
        start_nodes(stack, observed, units, "with the restored data") if request.restart else ()
    )
    undo: tuple[Node, ...] = (
        *(
            (stop_step(stack, observed, units, "so that the previous data can be put back"),)
            if starts
            else ()
        ),
        *(
            PutBackVolume(v.key, "the previous content was kept", path=request.path, noun=v.noun)
            for v in chosen.volumes
        ),
        *(
            PutBackDatabases(server.service, of, "the previous databases were kept")
            for server, of in servers
        ),
    )
    return Bracket(
        "exchange",
        fences,
        (*changes, *starts),
        on_failure=undo,
        forward_from=len(changes),
    )


def _finish(volume: Volume, why: str, kept_in: str = "") -> FinishSwap:
    return FinishSwap(volume.key, why, noun=volume.noun, kept_in=kept_in)


def _drop(database: str, name: str, run: str, kept_in: str = "") -> DropDatabase:
    return DropDatabase(database, name, suffix_of(run), "no longer needed", kept_in=kept_in)
