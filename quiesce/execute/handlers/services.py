"""Services: up, stopped, started, well."""

from __future__ import annotations

from dataclasses import replace

from quiesce.errors import QuiesceError
from quiesce.execute.run import Run
from quiesce.observed import Health
from quiesce.plan import outcome
from quiesce.plan import steps as s

_KILLED = 137


def up(step: s.UpServices, run: Run) -> str:
    run.ports.runtime.up(step.services, build=step.build)
    return ""


def stop(step: s.StopServices, run: Run) -> str:
    """Stop one unit after the other, so that each downtime begins with its own request."""
    killed = []
    for unit in step.units:
        run.downtime.stopping(unit.service, run.ports.clock.monotonic())
        results = run.ports.runtime.stop([unit], step.timeout)
        killed += [r.unit.service for r in results if r.exit_code == _KILLED]
        for result in results:
            code = result.exit_code or 0
            run.exit_codes[unit.service] = run.exit_codes.get(unit.service) or code
    if killed:
        run.ports.sink.warn(
            f"{', '.join(killed)} had to be killed: raise its stop_grace_period, or make its "
            "first process end on SIGTERM"
        )
    return ""


def start(step: s.StartServices, run: Run) -> str:
    run.ports.runtime.start(step.units)
    return ""


def addresses(step: s.CheckAddresses, run: Run) -> str:
    """Warn of who may keep an address that is no longer right. Never fails a run: what was
    stopped runs again."""
    try:
        found = outcome.moved(step, run.ports.runtime.services())
    except QuiesceError as error:
        run.ports.sink.warn(f"whether addresses changed could not be seen: {error.fact}")
        return ""
    for words in found:
        run.ports.sink.warn(words)
    return f"{len(found)} moved" if found else ""


def hold_restart(step: s.HoldRestart, run: Run) -> str:
    run.ports.runtime.hold_restart(step.units)
    return ""


def free_restart(step: s.FreeRestart, run: Run) -> str:
    run.ports.runtime.free_restart(step.units)
    return ""


def run_command(step: s.RunCommand, run: Run) -> str:
    run.ports.premises.carry_out(step.service, step.argv, step.timeout)
    return ""


def wait_healthy(step: s.WaitHealthy, run: Run) -> str:
    # The services have what they need; this process only waits from here on.
    run.sum_meanwhile()
    began = run.ports.clock.monotonic()
    waited = run.ports.runtime.wait_healthy(
        step.units, step.timeout, lambda name: run.ports.sink.progress(f"waiting for {name}", 0)
    )
    for service, seconds in waited.items():
        run.downtime.well(service, began + seconds)
    return ""


def wait_services(step: s.WaitServices, run: Run) -> str:
    """Units made by this very run are looked up now, and have to be as well as they can be."""
    wanted = []
    for service in run.ports.runtime.services():
        if service.name not in step.services:
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
    run.ports.runtime.wait_healthy(
        wanted, step.timeout, lambda name: run.ports.sink.progress(f"waiting for {name}", 0)
    )
    return ""


def remove(step: s.RemoveServices, run: Run) -> str:
    run.ports.runtime.remove(step.services)
    return ""
