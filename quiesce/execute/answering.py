"""Waits until services are up: healthy or running, and servers of declared databases answer SQL.

A database server may run for a long time before it answers: at its first start, the entry point of
its image creates the data directory, runs scripts on a temporary server, and starts the final one.
A health check that asks through the socket is healthy on the temporary server already. The
temporary server of some images listens on TCP too; then the runtime knows that the entry point is
still at work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from quiesce.errors import QuiesceError, ServiceFailed
from quiesce.execute.run import Run
from quiesce.model import Database
from quiesce.observed import Unit

#: Seconds that a check of a unit that was up a moment ago may take.
_AGAIN = 5.0
#: Seconds to wait until an entry point has ended once a server answers. Some entry points keep a
#: program running beside the server permanently.
_LONGEST_WORK = 60.0


def wait_until_up(
    run: Run, units: Sequence[Unit], timeout: float, *, report: bool = False
) -> Mapping[str, float]:
    """Wait until these units are as healthy as observed and their databases answer; return the
    seconds per service.

    Raise ServiceFailed naming all that are not up in time. `report` warns of servers that refuse
    the declared user: they are up, but cannot be queried.
    """
    clock = run.ports.clock
    began = clock.monotonic()
    silent: dict[str, QuiesceError] = {}
    failed: ServiceFailed | None = None
    waited: dict[str, float] = {}
    try:
        waited |= run.ports.runtime.wait_healthy(units, timeout, partial(_waiting, run))
    except ServiceFailed as error:
        failed = error
        waited |= error.waited
    for service, database in _servers(run, units).items():
        if failed and service in failed.services:
            continue
        own = [unit for unit in units if unit.service == service]
        _waiting(run, service)
        asked = clock.monotonic()
        left = max(0.0, began + timeout - clock.monotonic())
        try:
            require_up = partial(_require_up, run, own, began + timeout)
            refusal = run.ports.databases.await_answer(database, left, require_up)
            left = max(0.0, began + timeout - clock.monotonic())
            busy = run.ports.runtime.await_entry_point(service, min(left, _LONGEST_WORK))
            if busy is not None:
                # It may have been a temporary server that answered.
                left = max(0.0, began + timeout - clock.monotonic())
                refusal = run.ports.databases.await_answer(database, left, require_up)
        except QuiesceError as error:
            if error.lost_engine:
                raise
            waited.pop(service, None)
            silent[service] = _late(run, service, timeout, error)
            continue
        # Not since the beginning: another service of the wave may have taken long.
        waited[service] = waited.get(service, 0.0) + clock.monotonic() - asked
        if busy and report:
            run.ports.sink.warn(
                f"{service} answers SQL, but its entry point still runs '{busy}': if this is its "
                "first start, the server may be a temporary one"
            )
        if refusal:
            run.unasked.add(service)
        if refusal and report:
            run.ports.sink.warn(
                f"{refusal}, so it was not checked whether {service} answers SQL; correct "
                f"databases.{database.key} in {run.stack.file.name}"
            )
    if silent:
        failed = _together(failed, ServiceFailed.of(silent))
    if failed:
        failed.waited = waited
        raise failed
    return waited


def _together(one: ServiceFailed | None, other: ServiceFailed) -> ServiceFailed:
    if one is None:
        return other
    return ServiceFailed(
        f"{one.fact}; {other.fact}",
        f"{one.hint}; {other.hint}",
        details=(*one.details, *other.details),
        services=(*one.services, *other.services),
    )


def _servers(run: Run, units: Sequence[Unit]) -> Mapping[str, Database]:
    """Return, by service, a declared database of each server among running units. One that was
    paused, or crashed again and again, is not waited for."""
    awaited = {unit.service for unit in units if unit.state == "running"}
    return {d.service: d for d in reversed(run.stack.databases) if d.service in awaited}


def _require_up(run: Run, units: Sequence[Unit], until: float) -> None:
    left = max(_AGAIN, until - run.ports.clock.monotonic())
    run.ports.runtime.wait_healthy(units, left, lambda _: None)


def _waiting(run: Run, service: str) -> None:
    run.ports.sink.progress(f"waiting for {service}", 0)


def _late(run: Run, service: str, timeout: float, error: QuiesceError) -> QuiesceError:
    if isinstance(error, ServiceFailed):
        return error
    return ServiceFailed(
        f"service {service} did not answer SQL within {timeout:.0f} seconds: {error.fact}",
        f"see 'inv logs --service {service}'; if it needs longer, raise restart.health_timeout in "
        f"{run.stack.file.name}",
        details=error.details,
        services=(service,),
    )
