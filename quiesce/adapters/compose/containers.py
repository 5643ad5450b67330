"""The containers of a project: find, stop and start them, and wait until they are healthy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from quiesce.adapters.compose.engine import (
    LABEL_HELPER,
    EngineConnection,
    absent,
    translate_engine_errors,
)
from quiesce.adapters.compose.health_checks import HealthChecks
from quiesce.adapters.compose.inspected import (
    LABEL_NUMBER,
    LABEL_ONEOFF,
    LABEL_PROJECT_NAME,
    LOOPS,
    NEVER,
    Inspected,
    has_health,
    health_command,
    labels_of,
    moment,
    policy_of,
    runs_shortly,
    service_of,
    was_restarted,
)
from quiesce.adapters.compose.tool_container import remove_helper
from quiesce.adapters.process.child import TAIL_LINES, tail
from quiesce.errors import QuiesceError, ServiceFailed
from quiesce.observed import Unit
from quiesce.ports import StopResult

#: The engine's default for a container without a stop timeout.
DEFAULT_STOP_TIMEOUT = 10
#: Seconds between two polls, and between two runs of a health command, at the beginning of a wait.
LOOK_EVERY = 0.1
PROBE_EVERY = 0.25
#: Later, the pause is this fraction of the time waited so far: a service that starts slowly needs
#: the processor.
LOOK_SHARE, LONGEST_LOOK = 0.1, 0.4
PROBE_SHARE, LONGEST_PROBE = 0.4, 2.0
#: A unit without a health check counts as healthy after running this long without a restart.
STEADY = 1.0


@dataclass(slots=True)
class _Watch:
    """The state of one unit that is waited for."""

    observed: Unit
    since: str = ""
    steady_from: float = 0.0
    begun: float = 0.0
    probe: str = ""
    probed_at: float = field(default=-math.inf)
    last: str = "has no container"


class ComposeUnits:
    """The containers of one Compose project, through the Engine API."""

    def __init__(
        self,
        connection: EngineConnection,
        project: str,
        probe_command: Callable[[Inspected], list[str]] | None = None,
    ) -> None:
        self.checks = HealthChecks(connection, self._inspected)
        self._connection = connection
        self._project = project
        self._probe_command = probe_command or _own_health_command
        #: Starts of containers that have proven steady, so that each is waited for only once.
        self._steady: set[str] = set()

    def containers(self) -> list[Inspected]:
        """Return every container of the project's services, inspected, in a stable order.

        One-off containers (`compose run`) belong to no service and are left out.
        """
        return self._with_loops(sorted(self._inspected(), key=_place))

    def _inspected(self) -> list[Inspected]:
        labels = [f"{LABEL_PROJECT_NAME}={self._project}", f"{LABEL_ONEOFF}=False"]
        with translate_engine_errors(f"the containers of {self._project} cannot be listed"):
            found = self._connection.api.containers(all=True, filters={"label": labels})
        inspected = [self.inspect(entry["Id"]) for entry in found]
        return [entry for entry in inspected if entry is not None]

    def _with_loops(self, containers: list[Inspected]) -> list[Inspected]:
        """Mark containers in a crash loop that happen to be running at this moment."""
        suspects = [entry for entry in containers if was_restarted(entry)]
        if not suspects:
            return containers
        with translate_engine_errors("the engine's time cannot be read"):
            now = moment(str(self._connection.api.info()["SystemTime"]))
        fresh = {entry["Id"] for entry in suspects if runs_shortly(entry, now)}
        return [{**entry, LOOPS: True} if entry["Id"] in fresh else entry for entry in containers]

    def release(self, services: Collection[str] = ()) -> None:
        """Remove Quiesce's helpers in the network or among the processes of these services'
        containers (of all, if none is named), where the engine would not remove these otherwise.
        """
        if self._connection.kind != "podman":
            return
        found = [one for one in self._inspected() if not services or service_of(one) in services]
        places = {f"container:{one['Id']}" for one in found}
        api = self._connection.api
        with translate_engine_errors("helper containers cannot be removed"):
            for entry in api.containers(all=True, filters={"label": f"{LABEL_HELPER}=1"}):
                host = (self.inspect(entry["Id"]) or {}).get("HostConfig", {})
                if not places.isdisjoint((host.get("NetworkMode"), host.get("PidMode"))):
                    remove_helper(api, entry["Id"])

    def inspect(self, container: str) -> Inspected | None:
        """Return the inspected container, None if it does not exist."""
        with translate_engine_errors("a container cannot be inspected"):
            try:
                return cast(Inspected, self._connection.api.inspect_container(container))
            except Exception as error:
                if absent(error):
                    return None
                raise

    def current(self, unit: Unit) -> Inspected | None:
        """Return the unit's container or, if it was replaced since, its successor."""
        found = self.inspect(unit.id)
        if found is not None:
            return found
        same = [e for e in self.containers() if service_of(e) == unit.service]
        return next((entry for entry in same if entry["Name"] == f"/{unit.name}"), None)

    def stop(self, unit: Unit, timeout: float) -> StopResult:
        """Stop one unit. Its timeout is the longer of `timeout` and its own stop timeout."""
        begun = time.monotonic()
        now = self.inspect(unit.id)
        waited = now is not None and now["State"]["Status"] == "restarting"
        if now is not None and now["State"]["Status"] in ("running", "paused", "restarting"):
            own = now["Config"].get("StopTimeout")
            patience = max(timeout, DEFAULT_STOP_TIMEOUT if own is None else own)
            with translate_engine_errors(f"service {unit.service} cannot be stopped"):
                try:
                    if now["State"]["Status"] == "paused":
                        # A paused process would not receive the signal, and be killed after the
                        # timeout.
                        self._connection.api.unpause(unit.id)
                    self._connection.api.stop(unit.id, timeout=math.ceil(patience))
                except Exception as error:
                    if not absent(error):
                        raise
            now = self.inspect(unit.id)
            if now is not None and now["State"]["Status"] in ("running", "paused", "restarting"):
                raise QuiesceError(
                    f"service {unit.service} still runs after it was stopped",
                    f"see what starts it again: 'docker inspect {unit.name}'",
                )
        # If the container was waiting for a restart, the exit code is from its last crash.
        code = None if now is None or waited else int(now["State"]["ExitCode"])
        return StopResult(unit, code, time.monotonic() - begun)

    def start(self, unit: Unit) -> bool:
        """Start one unit again. Return False if its container no longer exists."""
        now = self.current(unit)
        if now is None:
            return False
        container, status = now["Id"], now["State"]["Status"]
        hint = f"see 'docker logs {unit.name}', then run 'inv recover'"
        with translate_engine_errors(f"service {unit.service} cannot be started", hint):
            if status == "paused" and unit.state != "paused":
                self._connection.api.unpause(container)
            elif status not in ("running", "paused", "restarting"):
                self._connection.api.start(container)
                status = "running"
            if unit.state == "paused" and status == "running":
                self._connection.api.pause(container)
        return True

    def wait(
        self,
        units: Sequence[Unit],
        timeout: float,
        waiting: Callable[[str], None],
        one_shots: Collection[str],
    ) -> Mapping[str, float]:
        """Wait until every unit is as healthy as observed; see `ComposeRuntime.wait_healthy`."""
        begun = time.monotonic()
        pending = [_Watch(unit, begun=begun) for unit in units if unit.runs]
        seconds = {unit.service: 0.0 for unit in units}
        failures: dict[str, QuiesceError] = {}
        named = ""
        with self.checks.run_overdue():
            while pending:
                if pending[0].observed.service != named:
                    named = pending[0].observed.service
                    waiting(named)
                left = []
                for watch in pending:
                    service = watch.observed.service
                    try:
                        well_at = self._well_at(watch, one_shots)
                    except ServiceFailed as error:
                        failures.setdefault(service, error)
                        continue
                    if well_at is None:
                        left.append(watch)
                    else:
                        seconds[service] = max(seconds[service], 0.0, well_at - begun)
                pending = left
                if pending and time.monotonic() - begun > timeout:
                    for watch in pending:
                        late = self._not_well(watch, f"within {timeout:.0f} seconds")
                        failures.setdefault(watch.observed.service, late)
                    pending = []
                if pending:
                    time.sleep(
                        _pause(LOOK_EVERY, LOOK_SHARE * (time.monotonic() - begun), LONGEST_LOOK)
                    )
        if failures:
            failed = ServiceFailed.of(failures)
            failed.waited = {n: took for n, took in seconds.items() if n not in failures}
            raise failed
        return seconds

    def wait_ended(self, units: Sequence[Unit], timeout: float) -> None:
        """Wait until each of these jobs has exited with 0. Raise QuiesceError otherwise."""
        end = time.monotonic() + timeout
        for unit in units:
            while True:
                now = self.current(unit)
                state = now["State"] if now is not None else {"Status": "dead", "ExitCode": -1}
                if state["Status"] in ("exited", "dead") and not state.get("Restarting"):
                    break
                if time.monotonic() > end:
                    watch = _Watch(unit, last=f"did not end within {timeout:.0f} seconds")
                    raise self._not_well(watch, "")
                time.sleep(LOOK_EVERY)
            if state["ExitCode"] != 0:
                watch = _Watch(unit, last=f"ended with exit code {state['ExitCode']}")
                raise self._not_well(watch, "")

    def set_restart(self, unit: Unit, policy: str) -> None:
        """Set the restart policy of the unit's container. A container that was recreated keeps its
        own."""
        now = self.current(unit)
        if now is None:
            return
        with translate_engine_errors(f"the restart policy of {unit.name} cannot be set"):
            name, _, most = policy.partition(":")
            wanted: Any = {"Name": name, "MaximumRetryCount": int(most or 0)}
            self._connection.api.update_container(now["Id"], restart_policy=wanted)

    def logs(self, container: str, lines: int) -> bytes:
        """Return the last lines of a container's log, stdout and stderr together."""
        with translate_engine_errors("the log cannot be read"):
            return self._connection.api.logs(container, tail=lines)

    # --------------------------------------------------------------------------------------- inside

    def _well_at(self, watch: _Watch, one_shots: Collection[str]) -> float | None:
        """Return since when the unit is healthy (monotonic clock), None if it is not yet."""
        observed, now = watch.observed, self.current(watch.observed)
        if now is None:
            watch.last = "has no container"
            return None
        if observed.state == "restarting":
            # It was in a crash loop before, and still is: nothing to wait for.
            return time.monotonic()
        state = now["State"]
        status = state["Status"]
        if status in ("exited", "dead") and not state.get("Restarting"):
            policy = policy_of(now).partition(":")[0]
            job = observed.service in one_shots or policy in ("no", "on-failure")
            if job and state["ExitCode"] == 0 and observed.health != "healthy":
                return time.monotonic()
            watch.last = f"ended with exit code {state['ExitCode']}"
            raise self._not_well(watch, "")
        if observed.state == "paused":
            watch.last = f"is {status}, but was paused"
            return time.monotonic() if status == "paused" else None
        if status != "running":
            watch.last, watch.since = f"is {status}", ""
            return None
        if observed.health == "healthy" and has_health(now):
            return self._healthy_at(watch, now)
        return self._steady_from(watch, now)

    def _healthy_at(self, watch: _Watch, now: Inspected) -> float | None:
        health = now["State"]["Health"]["Status"]
        watch.last = f"is {health}"
        if health == "healthy":
            return time.monotonic()
        # The engine runs the check only every `interval` (30 s by default), so run the same command
        # here. A container that has never ended is still initialising and may answer from a
        # temporary server; there only the engine's own result, with its start period, counts.
        if health == "starting" and now["State"].get("FinishedAt", NEVER) != NEVER:
            command = self._probe_command(now)
            return self._probe(watch, now, command) if command else None
        return None

    def _probe(self, watch: _Watch, now: Inspected, command: list[str]) -> float | None:
        api = self._connection.api
        with translate_engine_errors("the health command cannot be run"):
            try:
                if watch.probe:
                    seen = api.exec_inspect(watch.probe)
                    if seen["Running"]:
                        return None
                    watch.probe = ""
                    if seen["ExitCode"] != 0:
                        return None
                    well_at = time.monotonic()
                    self.checks.run(now)
                    return well_at
                at = time.monotonic()
                later = PROBE_SHARE * (watch.probed_at - watch.begun)
                pause = _pause(PROBE_EVERY, later, LONGEST_PROBE)
                if at - watch.probed_at >= pause:
                    watch.probed_at = at
                    watch.probe = api.exec_create(now["Id"], command)["Id"]
                    # Detached, so that a health command that hangs does not block the wait.
                    api.exec_start(watch.probe, detach=True)
            except Exception as error:
                if not _exec_impossible(error):
                    raise
                watch.probe = ""
        return None

    def _steady_from(self, watch: _Watch, now: Inspected) -> float | None:
        since = f"{now['Id']} {now['State']['StartedAt']} {now['RestartCount']}"
        if since in self._steady:
            return time.monotonic()
        if since != watch.since:
            watch.since, watch.steady_from = since, time.monotonic()
        watch.last = "does not keep running"
        if time.monotonic() - watch.steady_from < STEADY:
            return None
        self._steady.add(since)
        return watch.steady_from

    def _not_well(self, watch: _Watch, when: str) -> ServiceFailed:
        service = watch.observed.service
        now = self.current(watch.observed)
        lines = () if now is None else tail(self.logs(now["Id"], TAIL_LINES))
        was = "up" if watch.observed.health == "none" else watch.observed.health
        late = f"service {service} was not {was} again {when}: it {watch.last}"
        return ServiceFailed(
            late if when else f"service {service} {watch.last}",
            f"see 'inv logs --service {service}', then run 'inv recover'",
            details=lines,
            services=(service,),
        )


def _pause(shortest: float, later: float, longest: float) -> float:
    return min(max(shortest, later), longest)


def _own_health_command(container: Inspected) -> list[str]:
    return health_command(container["Config"])


def _place(container: Inspected) -> tuple[str, int, str]:
    number = str(labels_of(container).get(LABEL_NUMBER, "0"))
    return service_of(container), int(number) if number.isdigit() else 0, str(container["Name"])


def _exec_impossible(error: Exception) -> bool:
    """Whether the container stopped, or was removed, between two requests."""
    return absent(error) or getattr(error, "status_code", None) == 409
