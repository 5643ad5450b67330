"""Checks whether services of `runtime: host` are healthy, once or until a timeout."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from quiesce.adapters.host.procfs import Live
from quiesce.adapters.host.services import HostUnits
from quiesce.adapters.process import program
from quiesce.adapters.process.child import TAIL_BYTES, tail
from quiesce.errors import QuiesceError, ServiceFailed
from quiesce.model import HostService
from quiesce.observed import Health, Unit

#: Seconds between two polls while waiting.
LOOK_EVERY = 0.05
#: Seconds that a check may take: a single one, and while waiting.
GLANCE, PATIENCE = 2.0, 5.0
#: A unit that fails its check is `starting` for this long, then `unhealthy`.
START_SECONDS = 30.0
#: A unit without a health check counts as healthy after running this long.
STEADY = 1.0


@dataclass(slots=True)
class _Watch:
    """The state of one unit that is waited for."""

    observed: Unit
    last: str = "is not running"


class HostHealth:
    """Checks the health of services, each by its own check."""

    def __init__(self, units: HostUnits) -> None:
        self._units = units

    def has_check(self, service: HostService) -> bool:
        """Whether the service declares a health check."""
        return bool(service.health or service.health_http or service.postgres)

    def of(self, service: HostService, live: Live) -> Health:
        """Return the health of a running process, checked once."""
        if live.paused or not self.has_check(service):
            return "none"
        if self._answers(service, live, GLANCE):
            return "healthy"
        return "starting" if live.age < START_SECONDS else "unhealthy"

    def wait(
        self, units: Sequence[Unit], timeout: float, waiting: Callable[[str], None]
    ) -> Mapping[str, float]:
        """Wait until every unit is as healthy as observed; see `HostRuntime.wait_healthy`."""
        begun = time.monotonic()
        pending = [_Watch(unit) for unit in units if unit.runs]
        seconds = {unit.service: 0.0 for unit in units}
        failures: dict[str, QuiesceError] = {}
        named = ""
        while pending:
            if pending[0].observed.service != named:
                named = pending[0].observed.service
                waiting(named)
            left = []
            for watch in pending:
                service = watch.observed.service
                try:
                    well = self._is_well(watch)
                except ServiceFailed as error:
                    failures.setdefault(service, error)
                    continue
                if well:
                    seconds[service] = max(seconds[service], time.monotonic() - begun)
                else:
                    left.append(watch)
            pending = left
            if pending and time.monotonic() - begun > timeout:
                for watch in pending:
                    late = self._not_well(watch, f"within {timeout:.0f} seconds")
                    failures.setdefault(watch.observed.service, late)
                pending = []
            if pending:
                time.sleep(LOOK_EVERY)
        if failures:
            failed = ServiceFailed.of(failures)
            failed.waited = {n: took for n, took in seconds.items() if n not in failures}
            raise failed
        return seconds

    def last_lines(self, service: str) -> tuple[str, ...]:
        """Return the last lines of the service's log."""
        return tail(self.log_end(service))

    def log_end(self, service: str) -> bytes:
        """Return the end of the service's log, b"" if there is none."""
        try:
            with self._units.log(service).open("rb") as stream:
                stream.seek(0, 2)
                stream.seek(max(0, stream.tell() - TAIL_BYTES))
                return stream.read()
        except OSError:
            return b""

    # --------------------------------------------------------------------------------------- inside

    def _is_well(self, watch: _Watch) -> bool:
        observed = watch.observed
        live = self._units.leader(observed.service)
        if live is None:
            record = self._units.record(observed.service)
            if record is not None:
                code = record.exit_code
                watch.last = "ended" if code is None else f"ended with exit code {code}"
            raise self._not_well(watch, "")
        if observed.state == "paused" or live.paused:
            watch.last = "is paused" if live.paused else "is running, but was paused"
            return observed.state == "paused" and live.paused
        service = self._units.services.get(observed.service)
        if service is not None and observed.health == "healthy" and self.has_check(service):
            watch.last = "does not answer its health check"
            return self._answers(service, live, PATIENCE)
        watch.last = "does not keep running"
        return live.age >= STEADY

    def _answers(self, service: HostService, live: Live, seconds: float) -> bool:
        server = self._units.servers.get(service.name)
        try:
            if server is not None:
                return server.is_ready(live, seconds)
            if service.health_http is not None:
                return _answers_http(service, seconds)
            program.run(
                self._units.located(service.health, service),
                environment=self._units.environment(service),
                cwd=service.cwd,
                timeout=seconds,
            )
        except QuiesceError as problem:
            if problem.exit_code not in (1, 2):
                raise  # interrupted, so there is no result
            return False
        return True

    def _not_well(self, watch: _Watch, when: str) -> ServiceFailed:
        service = watch.observed.service
        was = "up" if watch.observed.health == "none" else watch.observed.health
        late = f"service {service} was not {was} again {when}: it {watch.last}"
        return ServiceFailed(
            late if when else f"service {service} {watch.last}",
            f"see 'inv logs --service {service}', then run 'inv recover'",
            details=self.last_lines(service),
            services=(service,),
        )


def _answers_http(service: HostService, seconds: float) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=seconds)
    try:
        connection.request("GET", service.health_http or "/")
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
