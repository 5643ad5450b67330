"""The plan that undoes a restore by renames, as long as its safety set could not be made. Pure.

In that case the data that the restore replaced is still beside the live data, so nothing has to be
copied or loaded:

    quiet   stop users · exchange back by renames · start them again · healthy
    after   forget the restore's pending safety set; make a safety set of the data that was live
            until now; then delete that data
"""

from __future__ import annotations

from quiesce.errors import RequestError
from quiesce.model import Stack
from quiesce.observed import Observed
from quiesce.plan import safety
from quiesce.plan.exchange import block_step, by_server, swap_step
from quiesce.plan.naming import suffix_of
from quiesce.plan.restore import users
from quiesce.plan.restore_request import Chosen, refuse_external_users, require_servers
from quiesce.plan.services import start_nodes, with_units_stopped
from quiesce.plan.steps import (
    Bracket,
    DiscardStaging,
    DropDatabase,
    FinishSwap,
    ForgetPending,
    MakeSafetySet,
    Node,
    Plan,
    PutBackDatabases,
    PutBackVolume,
    SwapVolume,
)
from quiesce.plan.together import stop_step


def plan_undo(
    stack: Stack,
    observed: Observed,
    undone: MakeSafetySet,
    run: str,
    safety_set: str,
    *,
    restart: bool = True,
) -> Plan:
    """Return the plan that makes the previous data live again.

    `undone` is the pending step that was to make a safety set of that data.

    Raise RequestError if stack.yaml no longer declares all of it, or a server cannot be reached.
    """
    chosen = _chosen(stack, undone)
    require_servers(chosen, observed)
    refuse_external_users(chosen, observed)
    units, why = users(stack, observed, chosen)
    servers = by_server(chosen.databases, undone.swaps)
    former = undone.run
    fences = tuple(
        block_step(server, tuple(name for swap in of for name in (swap.live, swap.aside)))
        for server, of in servers
    )
    back: tuple[Node, ...] = (
        *(PutBackDatabases(one.service, of, f"run {former} kept them") for one, of in servers),
        *(
            PutBackVolume(v.key, f"run {former} kept it", noun=v.noun, run=former)
            for v in chosen.volumes
        ),
    )
    starts = start_nodes(stack, observed, units, "with the previous data") if restart else ()
    again: tuple[Node, ...] = (
        *(
            (stop_step(stack, observed, units, "so that the restored data can be live again"),)
            if starts
            else ()
        ),
        *(SwapVolume(v.key, "as before the undo", noun=v.noun, run=former) for v in chosen.volumes),
        *(swap_step(server, of, "as before the undo") for server, of in servers),
    )
    exchange = Bracket(
        "exchange", fences, (*back, *starts), on_failure=again, forward_from=len(back)
    )
    body = with_units_stopped(
        stack, observed, units, why, (exchange,), come_back=restart, boot_safe=False
    )
    replaced = safety.Replaced(chosen.databases, chosen.volumes)
    saved = "the new safety set contains it"
    after: tuple[Node, ...] = (
        ForgetPending(former, "its restore is undone"),
        safety.of_undone(stack, observed, replaced, undone.swaps, safety_set, former),
        *(
            DropDatabase(s.database, s.side, suffix_of(former), saved, kept_in=safety_set)
            for s in undone.swaps
        ),
        *(
            FinishSwap(v.key, saved, noun=v.noun, run=former, kept_in=safety_set)
            for v in chosen.volumes
        ),
        DiscardStaging("clean up"),
    )
    name = stack.instance.name
    words = f"undo the restore of run {former} in {name}"
    nodes = (Bracket(words, (), body, on_success=after),)
    return Plan(run, "restore", name, words, stack.digest, observed.engine.id, nodes)


def _chosen(stack: Stack, undone: MakeSafetySet) -> Chosen:
    databases = tuple(s.database for s in undone.swaps)
    declared = {d.key for d in stack.databases} | {v.key for v in stack.volumes}
    if missing := sorted({*databases, *undone.volumes} - declared):
        raise RequestError(
            f"{stack.file.name} no longer declares {', '.join(missing)}, which that restore "
            "replaced",
            f"declare it in {stack.file.name} as before, then try again",
        )
    return Chosen(
        tuple(d for d in stack.databases if d.key in databases),
        tuple(v for v in stack.volumes if v.key in undone.volumes),
    )
