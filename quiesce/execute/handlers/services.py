"""Steps of services: up, stop, start, wait until healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from quiesce.errors import NotDeclared, QuiesceError, ServiceFailed, translate_errors
from quiesce.execute.answering import wait_until_up
from quiesce.execute.handlers.registry import handles
from quiesce.execute.run import Run
from quiesce.observed import Health, Unit
from quiesce.plan import outcome
from quiesce.plan import steps as s

_KILLED = 137


@handles(s.UpServices)
def up(step: s.UpServices, run: Run) -> str:
    run.ports.runtime.up(step.services, build=step.build)
    return ""


@handles(s.StopServices)
def stop(step: s.StopServices, run: Run) -> str:
    """Stop one group after the other, so that each downtime starts at its own stop request."""
    killed = []
    for group in s.grouped(step.units, step.groups):
        for unit in group:
            run.downtime.stopping(unit.service, run.ports.clock.monotonic())
        results = run.ports.runtime.stop(group, step.timeout, together=len(group) > 1)
        killed += [r.unit.service for r in results if r.exit_code == _KILLED]
        for result in results:
            name, code = result.unit.service, result.exit_code or 0
            run.exit_codes[name] = run.exit_codes.get(name) or code
    if killed:
        run.ports.sink.warn(
            f"{', '.join(killed)} had to be killed: raise the service's "
            "stop_grace_period, or make its main process exit on SIGTERM"
        )
    return ""


@handles(s.StartServices)
def start(step: s.StartServices, run: Run) -> str:
    """Start all of them; if that fails, one by one, so that one failure affects no other."""
    wanted = step.units
    if step.keep_going:
        wanted = tuple(unit for unit in wanted if not _lacks_something(unit.service, run))
    try:
        for together, group in _calls(s.grouped(wanted, step.groups)):
            run.ports.runtime.start(group, together=together)
    except QuiesceError as error:
        if error.lost_engine:
            raise
        run.not_started -= {unit.service for unit in wanted}
        failures = _one_by_one(wanted, error, run, keep_going=step.keep_going)
        run.not_started |= failures.keys()
        if not step.keep_going and failures:
            raise ServiceFailed.of(failures) from error
    else:
        run.not_started -= {unit.service for unit in wanted}
    return ""


def _calls(groups: Sequence[tuple[Unit, ...]]) -> list[tuple[bool, tuple[Unit, ...]]]:
    """Return what to start at the same time or one after another; successive single units are one
    call, because each call looks at all containers first."""
    found: list[tuple[bool, tuple[Unit, ...]]] = []
    for group in groups:
        if len(group) == 1 and found and not found[-1][0]:
            found[-1] = (False, (*found[-1][1], *group))
        else:
            found.append((len(group) > 1, group))
    return found


def _one_by_one(
    units: tuple[Unit, ...], first: QuiesceError, run: Run, *, keep_going: bool
) -> dict[str, QuiesceError]:
    """Start each; with `keep_going`, note failures in the run and leave out what needs one."""
    failures: dict[str, QuiesceError] = {}
    for unit in units:
        if keep_going and _lacks_something(unit.service, run):
            continue
        try:
            if len(units) == 1:
                raise first
            run.ports.runtime.start([unit])
        except NotDeclared as error:
            # It was removed from the stack meanwhile, so it need not be started.
            run.ports.sink.warn(error.fact)
            run.undeclared.add(unit.service)
        except QuiesceError as error:
            if error.lost_engine:
                raise
            failures.setdefault(unit.service, error)
            if keep_going:
                run.failed.setdefault(unit.service, error)
                run.not_started.add(unit.service)
    return failures


def _lacks_something(name: str, run: Run) -> bool:
    """Whether a service needs one that failed; then it is not started, but reported."""
    service = next((s for s in run.observed.services if s.name == name), None)
    for need in service.depends_on if service else ():
        begun = need.condition == "started" and need.service not in run.not_started
        if need.service in run.failed and not begun:
            failed = run.failed[need.service]
            run.not_started.add(name)
            fact = f"service {name} was not started, because it needs {need.service}"
            run.failed.setdefault(name, ServiceFailed(fact, failed.hint, services=(name,)))
            return True
    return False


@handles(s.CheckStarted)
def check_started(step: s.CheckStarted, run: Run) -> str:
    del step
    if run.failed:
        raise ServiceFailed.of(run.failed)
    return ""


@handles(s.CheckAddresses)
def addresses(step: s.CheckAddresses, run: Run) -> str:
    """Warn about services that may still use an old address. Never fails a run, because
    everything runs again by now."""
    try:
        found = outcome.moved_addresses(step, run.ports.runtime.services())
    except QuiesceError as error:
        run.ports.sink.warn(f"could not check whether IP addresses changed: {error.fact}")
        return ""
    for words in found:
        run.ports.sink.warn(words)
    return f"{len(found)} changed" if found else ""


@handles(s.HoldRestart)
def hold_restart(step: s.HoldRestart, run: Run) -> str:
    run.ports.runtime.hold_restart(step.units)
    return ""


@handles(s.FreeRestart)
def free_restart(step: s.FreeRestart, run: Run) -> str:
    with _about_services([unit.service for unit in step.units]):
        run.ports.runtime.free_restart(step.units)
    return ""


@handles(s.RunCommand)
def run_command(step: s.RunCommand, run: Run) -> str:
    with _about_services([step.service]):
        run.ports.project.run_in_service(step.service, step.argv, step.timeout)
    return ""


def _about_services(names: Sequence[str]) -> AbstractContextManager[None]:
    """Errors in this block concern these services, not data."""

    def translation(error: Exception) -> ServiceFailed | None:
        if not isinstance(error, QuiesceError) or error.lost_engine:
            return None
        services = tuple(names)
        return ServiceFailed(error.fact, error.hint, details=error.details, services=services)

    return translate_errors(translation)


@handles(s.WaitHealthy)
def wait_healthy(step: s.WaitHealthy, run: Run) -> str:
    # All services are started; from here on, this process only waits.
    run.measure_meanwhile()
    began = run.ports.clock.monotonic()
    waited: Mapping[str, float] = {}
    try:
        # Services that are known to be down were reported already, so do not wait for them.
        down = run.undeclared | run.not_started
        waited = wait_until_up(run, [u for u in step.units if u.service not in down], step.timeout)
    except ServiceFailed as error:
        waited = error.waited
        raise
    finally:
        for service, seconds in waited.items():
            run.downtime.healthy(service, began + seconds)
    return ""


@handles(s.WaitServices)
def wait_services(step: s.WaitServices, run: Run) -> str:
    """Look up the units now, because this run created them, and wait until they are up."""
    wanted = []
    for service in run.ports.runtime.services():
        if service.name not in step.services or service.name in run.failed:
            continue
        best: Health = "healthy" if service.has_health else "none"
        if not service.units:
            raise QuiesceError(
                f"{service.name} has no container", f"run 'inv up --service {service.name}'"
            )
        for unit in service.units:
            one_shot = unit.state == "exited" and unit.exit_code == 0
            wanted.append(unit if one_shot else replace(unit, state="running", health=best))
    rank = {name: index for index, name in enumerate(step.services)}
    wanted.sort(key=lambda unit: rank[unit.service])
    try:
        wait_until_up(run, wanted, step.timeout, report=True)
    except ServiceFailed as error:
        if not step.keep_going:
            raise
        for name in error.services:
            run.failed.setdefault(name, _part_of(error, name))
    return ""


def _part_of(error: ServiceFailed, name: str) -> QuiesceError:
    """Return the part of an error that concerns one service."""
    if len(error.services) == 1:
        return error
    fact = next((f for f in error.fact.split("; ") if f" {name} " in f), error.fact)
    hint = next((h for h in error.hint.split("; ") if f" {name}'" in h), error.hint)
    own = [line for line in error.details if line.startswith(f"{name}: ")]
    return ServiceFailed(fact, hint, details=own, services=(name,))


@handles(s.RemoveServices)
def remove(step: s.RemoveServices, run: Run) -> str:
    run.ports.runtime.remove(step.services)
    return ""
