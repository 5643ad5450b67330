"""The plan of a safe shutdown. Pure.

    stop the writers · back up · verify · stop the rest

Before the set is verified, any failure starts the writers again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from quiesce.errors import RequestError
from quiesce.model import SetKind, Stack, Undeclared
from quiesce.observed import Observed, Unit
from quiesce.plan import coverage, order, sqlite
from quiesce.plan.backup import (
    Selection,
    check_idle,
    require_databases,
    seal_nodes,
    select,
    writers,
)
from quiesce.plan.capabilities import with_capability
from quiesce.plan.dumping import dumps
from quiesce.plan.services import chosen, ordered, start_nodes
from quiesce.plan.steps import (
    ArchiveVolume,
    Bracket,
    DiscardStaging,
    ExportSnapshot,
    Node,
    OpenSet,
    Plan,
    RecordStack,
    ReleaseSnapshot,
    VerifySet,
)
from quiesce.plan.together import stop_step


@dataclass(frozen=True, slots=True)
class ShutdownRequest:
    """What was requested. `full` includes volumes; `keep_running` are services that stay up."""

    full: bool = False
    keep_running: tuple[str, ...] = ()
    force: bool = False
    #: What stack.yaml does not mention, and databases that do not count.
    undeclared: tuple[Undeclared, ...] = ()
    left_databases: tuple[str, ...] = ()


def plan_shutdown(
    stack: Stack, observed: Observed, request: ShutdownRequest, run: str, set_name: str
) -> Plan:
    """Return the plan: a verified set, then everything stops except what is kept running.

    Raise RequestError if a database cannot be reached, or if a service that keeps running needs one
    that stops. With `force`, a failure leaves the writers stopped, and the rest is stopped too.
    """
    refuse_half_kept(observed, request.keep_running)
    rows = stack.databases and len(with_capability(stack.databases, "rows")) == len(stack.databases)
    kind: SetKind = "full" if request.full or not rows else "data"
    selection = select(stack, observed, (), kind)
    _require_databases(selection, observed)
    everything = units_to_stop(stack, observed, request.keep_running)
    writing, why = writers(stack, observed, selection)
    first = tuple(unit for unit in writing if unit in everything)
    kept_writers = [unit.service for unit in writing if unit not in everything]
    rest = tuple(unit for unit in everything if unit not in first)
    opened = OpenSet(
        set_name,
        kind,
        "live" if kept_writers else "consistent",
        "shutdown",
        False,
        tuple(dict.fromkeys(unit.service for unit in observed.running)),
        tuple(dict.fromkeys(unit.service for unit in first)),
        "it is published atomically when complete",
    )
    backup = Bracket(
        f"set {set_name}",
        (opened,),
        _body(stack, selection, set_name, request, kind, checked=not kept_writers),
        on_failure=(
            *(ReleaseSnapshot(d.key, "clean up after a failed run") for d in selection.databases),
            DiscardStaging("clean up after a failed run"),
        ),
    )
    body: tuple[Node, ...] = (
        backup,
        VerifySet(set_name, "services stay stopped only if the set is good"),
    )
    if rest:
        stop = stop_step(stack, observed, rest, "the set is verified")
        # In a separate bracket: a recovery completes a half-done stop before it starts services.
        body = (*body, Bracket("stop the remaining services", (stop,), ()))
    enter = (stop_step(stack, observed, first, why),) if first else ()
    back: tuple[Node, ...] = ()
    if not request.force:
        back = start_nodes(stack, observed, everything, "no verified set was made")
    nodes = (
        Bracket(
            "stop services; if no verified set is made, start them again",
            enter,
            body,
            on_failure=back,
        ),
    )
    return _plan(stack, observed, run, nodes)


def plan_stop_all(stack: Stack, observed: Observed, request: ShutdownRequest, run: str) -> Plan:
    """Return the plan that stops everything in order, without a backup."""
    refuse_half_kept(observed, request.keep_running)
    units = units_to_stop(stack, observed, request.keep_running)
    nodes = (stop_step(stack, observed, units, "forced"),) if units else ()
    return _plan(stack, observed, run, nodes)


def units_to_stop(stack: Stack, observed: Observed, kept: Collection[str]) -> tuple[Unit, ...]:
    """Return every running unit except those of kept services, in stop order."""
    units = (unit for unit in observed.running if unit.service not in kept)
    return order.in_stop_order(units, ordered(stack, observed))


def refuse_half_kept(observed: Observed, kept: tuple[str, ...]) -> None:
    """Raise RequestError for unknown services, and if a kept one needs one that is not kept."""
    if not kept:
        return
    chosen(observed, kept)
    needs = order.dependencies(observed.services)
    missing = [name for name in order.all_needed(needs, kept) if name not in kept]
    if missing:
        raise RequestError(
            f"{', '.join(kept)} cannot keep running without {', '.join(missing)}",
            f"use --keep-running {','.join((*kept, *missing))}",
        )


def _require_databases(selection: Selection, observed: Observed) -> None:
    try:
        require_databases(selection.databases, observed)
    except RequestError as error:
        raise RequestError(
            f"{error.fact}: nothing was backed up, and nothing was stopped",
            f"{error.hint}; or stop without a backup with --force",
        ) from error


def _body(
    stack: Stack,
    selection: Selection,
    set_name: str,
    request: ShutdownRequest,
    kind: SetKind,
    *,
    checked: bool,
) -> tuple[Node, ...]:
    archives = (
        ArchiveVolume(
            set_name, v.key, 0, v.stem, "its writers are stopped and stay stopped", noun=v.noun
        )
        for v in selection.volumes
    )
    return (
        *(
            ExportSnapshot(d.key, "the dump is made as of this moment", kind=kind)
            for d in selection.databases
        ),
        *(check_idle(stack, set_name, selection) if checked else ()),
        *archives,
        *dumps(set_name, selection.databases, kind),
        *sqlite.check_step(set_name, selection.volumes),
        RecordStack(set_name, "so that the set documents its origin"),
        *coverage.find_step(
            stack,
            set_name,
            coverage.kinds_of(kind, "consistent", ()),
            request.undeclared,
            request.left_databases,
        ),
        *seal_nodes(stack, set_name, "every member is complete"),
    )


def _plan(stack: Stack, observed: Observed, run: str, nodes: tuple[Node, ...]) -> Plan:
    instance = stack.instance.name
    engine = observed.engine.id
    return Plan(run, "shutdown", instance, f"shut down {instance}", stack.digest, engine, nodes)
