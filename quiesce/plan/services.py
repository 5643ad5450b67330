"""Parts of plans that stop and start services, and the plans of the lifecycle verbs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from quiesce.errors import RequestError
from quiesce.model import Command, Stack
from quiesce.observed import Observed, Unit
from quiesce.plan import order
from quiesce.plan.paused import refuse_paused
from quiesce.plan.steps import (
    Bracket,
    BuildServices,
    CheckAddresses,
    CheckStarted,
    FreeRestart,
    HoldRestart,
    Node,
    Plan,
    RemoveServices,
    RunCommand,
    StartServices,
    UpServices,
    WaitHealthy,
    WaitServices,
)
from quiesce.plan.together import bystanders, start_step, stop_step
from quiesce.suggest import suggest

#: The bracket in which services are stopped.
WINDOW = "services stopped"


def ordered(stack: Stack, observed: Observed) -> tuple[str, ...]:
    """Return every service of the stack in start order."""
    known = {service.name for service in observed.services}
    for name in stack.restart.order:
        if name not in known:
            raise RequestError(
                f"restart.order names {name}, which is not a service of the stack",
                f"correct or remove it in {stack.file.name}; {suggest(name, known)}",
            )
    return order.start_order(order.dependencies(observed.services), stack.restart.order)


def chosen(observed: Observed, names: Sequence[str]) -> tuple[str, ...]:
    """Return the named services, or every one for none. Raise RequestError for unknown ones."""
    known = {service.name for service in observed.services}
    for name in names:
        if name not in known:
            raise RequestError(f"there is no service {name}", suggest(name, known))
    return tuple(names) or tuple(service.name for service in observed.services)


def with_dependents(
    stack: Stack, observed: Observed, reasons: Mapping[str, str]
) -> tuple[tuple[Unit, ...], str]:
    """Return the units that must stop, in stop order, and why.

    `reasons` maps services to the reason why each must not run. Services that depend on them stop
    too: a proxy that stays up would keep the old address of its upstream and answer 502 forever.
    `restart.keep_running` opts out. Only running services are stopped.
    """
    needs = order.dependencies(observed.services)
    whys = dict(reasons)
    for name in order.all_dependents(needs, tuple(reasons)):
        because = min(set(needs[name]) & set(whys), default="")
        whys[name] = f"depends on {because}" if because else "depends on a service that stops"
    whys = {name: why for name, why in whys.items() if name not in stack.restart.keep_running}
    units = order.in_stop_order(
        (unit for unit in observed.running if unit.service in whys),
        ordered(stack, observed),
    )
    seen = dict.fromkeys(unit.service for unit in units)
    return units, "; ".join(f"{name} {whys[name]}" for name in seen)


def start_nodes(
    stack: Stack, observed: Observed, units: Sequence[Unit], why: str
) -> tuple[Node, ...]:
    """Return the steps that start these units in dependency order, each wave healthy before the
    next."""
    waves = order.start_waves(
        units, observed.services, ordered(stack, observed), stack.restart.order
    )
    if bystanders(stack, observed, units):
        # One after another, containers usually get the addresses that they had.
        return start_wave_nodes(stack, waves, why)
    return start_wave_nodes(stack, waves, why, partial(start_step, stack, observed))


def start_wave_nodes(
    stack: Stack,
    waves: Sequence[tuple[Unit, ...]],
    why: str,
    start: Callable[[tuple[Unit, ...], str], StartServices] | None = None,
) -> tuple[Node, ...]:
    """Return the steps that start these waves, each healthy before the next. Without `start`,
    services of a wave start one after another."""
    nodes: list[Node] = []
    for wave in waves:
        nodes.append(
            start(wave, why) if start else StartServices(wave, stack.restart.stop_timeout, why)
        )
        nodes.append(WaitHealthy(wave, stack.restart.health_timeout, "until as healthy as before"))
    return tuple(nodes)


def address_nodes(
    stack: Stack, observed: Observed, units: Sequence[Unit]
) -> tuple[CheckAddresses, ...]:
    """Return the step that checks whether restarted units have other IP addresses.

    Services that kept running in their networks may remember the old ones, even without a declared
    dependency.
    """
    others = bystanders(stack, observed, units)
    if not others:
        return ()
    return (CheckAddresses(tuple(units), others, "a restarted container may get another address"),)


def with_units_stopped(
    stack: Stack,
    observed: Observed,
    units: Sequence[Unit],
    why: str,
    body: tuple[Node, ...],
    *,
    come_back: bool = True,
    boot_safe: bool = True,
    commands: bool = False,
    watch: tuple[Node, ...] = (),
) -> tuple[Node, ...]:
    """Return `body` with these units stopped around it, or unchanged if none runs.

    Without `boot_safe`, a unit that starts during it (such as `restart: always` after a reboot)
    would work on half-exchanged data or spoil a copy, so the engine is kept from restarting them.
    With `commands`, those of `before:` and `after:` run around it; the latter are pending as soon
    as the first of the former has begun.

    A unit that keeps crashing may be restarted at any time: it is stopped first, and only then
    `watch` begins.
    """
    before = tuple(_command(entry, "before") for entry in stack.before if commands)
    after = tuple(_command(entry, "after") for entry in stack.after if commands)
    refuse_paused(observed, {c.service for c in (*before, *after)}, ", and a command runs in it")
    if not units:
        if not before and not after:
            return (*watch, *body)
        return (*watch, Bracket("hooks of the backup", before, body, always=after))
    always: tuple[Node, ...] = ()
    if come_back:
        always = start_nodes(stack, observed, units, "ran before")
        always += address_nodes(stack, observed, units)
    loops = tuple(unit for unit in units if unit.state == "restarting")
    rest = tuple(unit for unit in units if unit not in loops)
    first: tuple[Node, ...] = ()
    if loops:
        first = (
            HoldRestart(
                loops, "crashes again and again, and the engine could start it at any time"
            ),
            stop_step(stack, observed, loops, why),
            *watch,
        )
    held = tuple(unit for unit in rest if unit.restart_policy == "always" and not boot_safe)
    stop: tuple[Node, ...] = ()
    if held:
        stop = (HoldRestart(held, "so that a reboot cannot start services on half-exchanged data"),)
    if rest:
        stop = (*stop, stop_step(stack, observed, rest, why))
    if loops or held:
        always = (FreeRestart((*loops, *held), "with the previous restart policy"), *always)
    enter = (*first, *before, *stop)
    window = Bracket(WINDOW, enter, body, always=(*always, *after))
    return (window,) if loops else (*watch, window)


def _command(entry: Command, word: str) -> RunCommand:
    return RunCommand(
        entry.service, entry.argv, entry.timeout, f"listed under '{word}' in stack.yaml"
    )


def stop_for_good(
    stack: Stack, observed: Observed, units: Sequence[Unit], why: str, body: tuple[Node, ...]
) -> tuple[Node, ...]:
    """Return the steps that stop these units for good, then `body`. If a step fails, the units that
    ran are started again."""
    if not units:
        return body
    stop = stop_step(stack, observed, units, why)
    back = start_nodes(stack, observed, units, "the run did not finish")
    return (
        Bracket("stop services; if a step fails, start them again", (stop,), body, on_failure=back),
    )


def plan_up(
    stack: Stack,
    observed: Observed,
    run: str,
    names: Sequence[str],
    *,
    build: bool = False,
    outdated: Callable[[Sequence[str]], Mapping[str, str]] = lambda _: {},
) -> Plan:
    """Containers of these services (none named: all) exist, run and are healthy.

    `outdated` returns which of some running services differ from their declaration, and why.
    """
    services = chosen(observed, names)
    needs = order.dependencies(observed.services)
    wanted = set(services) | set(order.all_needed(needs, services))
    refuse_paused(observed, wanted, ": up does not resume it")
    in_order = tuple(name for name in ordered(stack, observed) if name in wanted)
    recreated = "; ".join(f"{name} is recreated: {why}" for name, why in outdated(in_order).items())
    why = "requested, with their dependencies" + (f"; {recreated}" if recreated else "")
    nodes = (
        UpServices(in_order, build, why),
        wait_services(stack, observed, in_order, "'up' waits until services are healthy"),
    )
    return _plan(stack, observed, run, "up", names, nodes)


def wait_services(
    stack: Stack,
    observed: Observed,
    names: Sequence[str],
    why: str,
    *,
    keep_going: bool = False,
) -> WaitServices:
    """Return the step that waits for these services, and says how each is checked."""
    servers = {database.service for database in stack.databases}
    unchecked = [name for name in names if not observed.service(name).has_health]
    return WaitServices(
        tuple(names),
        stack.restart.health_timeout,
        why,
        keep_going=keep_going,
        answering=tuple(name for name in unchecked if name in servers),
        running=tuple(name for name in unchecked if name not in servers),
    )


def plan_start(stack: Stack, observed: Observed, run: str, names: Sequence[str]) -> Plan:
    """Existing containers of these services run and are healthy."""
    services = chosen(observed, names)
    missing = [name for name in services if not observed.service(name).units]
    if missing:
        raise RequestError(
            f"{', '.join(missing)} has no container yet",
            f"run 'inv up --service {','.join(missing)}'",
        )
    refuse_paused(observed, names, ": start does not resume it")
    asleep = [
        unit
        for name in services
        for unit in observed.service(name).units
        if not unit.runs and (name in names or not _is_done(observed, unit))
    ]
    nodes: list[Node] = []
    waves = order.start_waves(
        asleep, observed.services, ordered(stack, observed), stack.restart.order
    )
    for wave in waves:
        named = tuple(dict.fromkeys(unit.service for unit in wave))
        nodes.append(StartServices(wave, stack.restart.stop_timeout, "requested", keep_going=True))
        why = "'start' waits until services are healthy"
        nodes.append(wait_services(stack, observed, named, why, keep_going=True))
    if nodes:
        nodes.append(CheckStarted("one failure does not stop independent services from starting"))
    return _plan(stack, observed, run, "start", names, tuple(nodes))


def _is_done(observed: Observed, unit: Unit) -> bool:
    """Whether this is a one-shot service that succeeded: others depend on its completion."""
    awaited = {
        entry.service
        for service in observed.services
        for entry in service.depends_on
        if entry.condition == "completed"
    }
    return unit.service in awaited and unit.state == "exited" and unit.exit_code == 0


def plan_stop(stack: Stack, observed: Observed, run: str, names: Sequence[str]) -> Plan:
    """These services are stopped, and first the services that depend on them."""
    reasons = dict.fromkeys(chosen(observed, names), "was requested")
    units, why = with_dependents(stack, observed, reasons)
    nodes = stop_for_good(stack, observed, units, why, ())
    return _plan(stack, observed, run, "stop", names, nodes)


def plan_restart(stack: Stack, observed: Observed, run: str, names: Sequence[str]) -> Plan:
    """These services, and the services that depend on them, are restarted if they ran."""
    reasons = dict.fromkeys(chosen(observed, names), "was requested")
    units, why = with_dependents(stack, observed, reasons)
    return _plan(
        stack, observed, run, "restart", names, with_units_stopped(stack, observed, units, why, ())
    )


def plan_rebuild(stack: Stack, observed: Observed, run: str, names: Sequence[str]) -> Plan:
    """Images are rebuilt, containers recreated, and all are healthy.

    Running services that depend on a recreated one restart too: they would keep its old address.
    """
    services = chosen(observed, names)
    needs = order.dependencies(observed.services)
    wanted = set(services) | set(order.all_needed(needs, services))
    refuse_paused(observed, wanted, ", but a new container would not be paused")
    in_order = tuple(name for name in ordered(stack, observed) if name in wanted)
    dependents = {
        name: f"depends on {min(set(order.all_needed(needs, [name])) & set(services))}"
        for name in order.all_dependents(needs, services)
        if name not in wanted
    }
    units, why = with_dependents(stack, observed, dependents)
    replaced: tuple[Node, ...] = (
        UpServices(in_order, False, "containers are recreated from the new images"),
        wait_services(stack, observed, in_order, "'up' waits until services are healthy"),
    )
    nodes = (
        # Before services stop: building takes long, and may fail.
        BuildServices(tuple(n for n in in_order if n in services), "requested"),
        *with_units_stopped(stack, observed, units, why, replaced),
    )
    return _plan(stack, observed, run, "rebuild", names, nodes)


def plan_down(stack: Stack, observed: Observed, run: str, names: Sequence[str]) -> Plan:
    """The containers of these services are removed; volumes are kept."""
    reasons = dict.fromkeys(chosen(observed, names), "was requested")
    units, why = with_dependents(stack, observed, reasons)
    gone = {unit.service for unit in units} | set(reasons)
    removed = tuple(name for name in reversed(ordered(stack, observed)) if name in gone)
    remove = RemoveServices(removed if names else (), "data is in volumes, which are kept")
    nodes = stop_for_good(stack, observed, units, why, (remove,))
    return _plan(stack, observed, run, "down", names, nodes)


def _plan(
    stack: Stack,
    observed: Observed,
    run: str,
    verb: str,
    names: Sequence[str],
    nodes: tuple[Node, ...],
) -> Plan:
    what = ", ".join(names) or "every service"
    request = f"{verb} {what} of {stack.instance.name}"
    return Plan(run, verb, stack.instance.name, request, stack.digest, observed.engine.id, nodes)
