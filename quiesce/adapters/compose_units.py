"""Containers as units: what exists for a service, stopping, starting, and getting well again."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from quiesce.adapters.compose_engine import EngineConnection, absent, told
from quiesce.adapters.process_child import TAIL_LINES, tail
from quiesce.errors import QuiesceError
from quiesce.observed import Address, Health, Mount, Unit, UnitState
from quiesce.ports import StopResult

LABEL_SERVICE = "com.docker.compose.service"
LABEL_PROJECT_NAME = "com.docker.compose.project"
LABEL_ONEOFF = "com.docker.compose.oneoff"
LABEL_NUMBER = "com.docker.compose.container-number"

#: What the engine takes for a container that names no stop timeout of its own.
DEFAULT_STOP_TIMEOUT = 10
#: Seconds between two looks, and between two runs of a health command.
LOOK_EVERY = 0.1
PROBE_EVERY = 0.25
#: A unit without a health check is well when it has run this long without a restart.
STEADY = 1.0
NEVER = "0001-01-01T00:00:00Z"

Inspected = Mapping[str, Any]


@dataclass(slots=True)
class _Watch:
    """What is remembered of one unit while it is waited for."""

    observed: Unit
    since: str = ""
    steady_from: float = 0.0
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
        self._connection = connection
        self._project = project
        self._probe_command = probe_command or _own_health_command
        #: Starts of containers that were seen to last: nobody waits for one of them twice.
        self._steady: set[str] = set()

    def containers(self) -> list[Inspected]:
        """Return every container of the project's services, inspected, in a steady order.

        One-off containers (`compose run`) belong to nobody and are left out.
        """
        labels = [f"{LABEL_PROJECT_NAME}={self._project}", f"{LABEL_ONEOFF}=False"]
        with told(f"the containers of {self._project} cannot be listed"):
            found = self._connection.api.containers(all=True, filters={"label": labels})
        inspected = (self.inspect(entry["Id"]) for entry in found)
        return sorted((entry for entry in inspected if entry is not None), key=_place)

    def inspect(self, container: str) -> Inspected | None:
        """Return what the engine knows of a container, None when it does not exist."""
        with told("a container cannot be inspected"):
            try:
                return cast(Inspected, self._connection.api.inspect_container(container))
            except Exception as error:
                if absent(error):
                    return None
                raise

    def current(self, unit: Unit) -> Inspected | None:
        """Return the unit's container or, where that was replaced since, its successor."""
        found = self.inspect(unit.id)
        if found is not None:
            return found
        same = [e for e in self.containers() if service_of(e) == unit.service]
        return next((entry for entry in same if entry["Name"] == f"/{unit.name}"), None)

    def stop(self, unit: Unit, timeout: float) -> StopResult:
        """Stop one unit, with the longer of `timeout` and its own stop timeout."""
        begun = time.monotonic()
        now = self.inspect(unit.id)
        if now is not None and now["State"]["Status"] in ("running", "paused", "restarting"):
            own = now["Config"].get("StopTimeout")
            patience = max(timeout, DEFAULT_STOP_TIMEOUT if own is None else own)
            with told(f"service {unit.service} cannot be stopped"):
                try:
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
        code = None if now is None else int(now["State"]["ExitCode"])
        return StopResult(unit, code, time.monotonic() - begun)

    def start(self, unit: Unit) -> bool:
        """Start one unit as it ran before. Return False when its container exists no more."""
        now = self.current(unit)
        if now is None:
            return False
        container, status = now["Id"], now["State"]["Status"]
        hint = f"see 'docker logs {unit.name}', then run 'inv recover'"
        with told(f"service {unit.service} cannot be started", hint):
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
        """Wait until every unit is as well as observed; see `ComposeRuntime.wait_healthy`."""
        begun = time.monotonic()
        pending = [_Watch(unit) for unit in units if unit.runs]
        seconds = {unit.service: 0.0 for unit in units}
        named = ""
        while pending:
            if pending[0].observed.service != named:
                named = pending[0].observed.service
                waiting(named)
            left = []
            for watch in pending:
                well_at = self._well_at(watch, one_shots)
                if well_at is None:
                    left.append(watch)
                else:
                    took = max(0.0, well_at - begun)
                    seconds[watch.observed.service] = max(seconds[watch.observed.service], took)
            pending = left
            if pending and time.monotonic() - begun > timeout:
                raise self._not_well(pending[0], f"within {timeout:.0f} seconds")
            if pending:
                time.sleep(LOOK_EVERY)
        return seconds

    def wait_ended(self, units: Sequence[Unit], timeout: float) -> None:
        """Wait until every one of these jobs has ended with 0. Raise QuiesceError otherwise."""
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
        """The unit's container has this restart policy; one that was made again has its own."""
        now = self.current(unit)
        if now is None:
            return
        with told(f"the restart policy of {unit.name} cannot be set"):
            wanted: Any = {"Name": policy}
            self._connection.api.update_container(now["Id"], restart_policy=wanted)

    def logs(self, container: str, lines: int) -> bytes:
        """Return the last lines a container logged, stdout and stderr together."""
        with told("the log cannot be read"):
            return self._connection.api.logs(container, tail=lines)

    # --------------------------------------------------------------------------------------- inside

    def _well_at(self, watch: _Watch, one_shots: Collection[str]) -> float | None:
        """Return since when the unit is well (by our monotonic clock), None if it is not yet."""
        observed, now = watch.observed, self.current(watch.observed)
        if now is None:
            watch.last = "has no container"
            return None
        state = now["State"]
        status = state["Status"]
        if status in ("exited", "dead") and not state.get("Restarting"):
            if observed.service in one_shots and state["ExitCode"] == 0:
                return time.monotonic()
            watch.last = f"ended with exit code {state['ExitCode']}"
            raise self._not_well(watch, "")
        if observed.state == "paused":
            watch.last = f"is {status} and was paused"
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
        # The engine asks only every `interval` (30 s unless set): ask with the same command. A
        # container that never ended before is initialising, and may answer from a server that it
        # stops again: there only the engine's own judgement, with its start period, counts.
        if health == "starting" and now["State"].get("FinishedAt", NEVER) != NEVER:
            command = self._probe_command(now)
            return self._probe(watch, now, command) if command else None
        return None

    def _probe(self, watch: _Watch, now: Inspected, command: list[str]) -> float | None:
        api = self._connection.api
        with told("the health command cannot be run"):
            try:
                if watch.probe:
                    seen = api.exec_inspect(watch.probe)
                    if seen["Running"]:
                        return None
                    watch.probe = ""
                    return time.monotonic() if seen["ExitCode"] == 0 else None
                if time.monotonic() - watch.probed_at >= PROBE_EVERY:
                    watch.probed_at = time.monotonic()
                    watch.probe = api.exec_create(now["Id"], command)["Id"]
                    # Detached: a health command that hangs must not hold us up.
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

    def _not_well(self, watch: _Watch, when: str) -> QuiesceError:
        service = watch.observed.service
        now = self.current(watch.observed)
        lines = () if now is None else tail(self.logs(now["Id"], TAIL_LINES))
        was = "well" if watch.observed.health == "none" else watch.observed.health
        late = f"service {service} was not {was} again {when}: it {watch.last}"
        return QuiesceError(
            late if when else f"service {service} {watch.last}",
            f"see 'inv logs --service {service}', then run 'inv recover'",
            details=lines,
        )


def unit_of(container: Inspected) -> Unit:
    """Return the unit that an inspected container is."""
    state = container["State"]
    ended = state["Status"] in ("exited", "dead")
    own = container["Config"].get("StopTimeout")
    policy = (container["HostConfig"].get("RestartPolicy") or {}).get("Name") or "no"
    return Unit(
        service=service_of(container),
        id=container["Id"],
        name=container["Name"].removeprefix("/"),
        state=cast(UnitState, state["Status"]),
        health=_health_of(container),
        exit_code=int(state["ExitCode"]) if ended else None,
        stop_timeout=None if own is None else float(own),
        restart_policy=policy,
        started_at=None if ended else _moment(str(state.get("StartedAt") or NEVER)),
        addresses=_addresses_of(container),
    )


def _addresses_of(container: Inspected) -> tuple[Address, ...]:
    """Return the addresses a container has now; one that does not run has none."""
    networks = container["NetworkSettings"].get("Networks") or {}
    return tuple(
        Address(name, str(networks[name]["IPAddress"]))
        for name in sorted(networks)
        if networks[name].get("IPAddress")
    )


def _moment(text: str) -> datetime | None:
    """Return the engine's time (nanoseconds, UTC), None for "never"."""
    found = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text)
    if found is None or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(found[0]).replace(tzinfo=UTC)


def service_of(container: Inspected) -> str:
    """Return the name of the service a container belongs to."""
    return str(container["Config"]["Labels"].get(LABEL_SERVICE, ""))


def has_health(container: Inspected) -> bool:
    """Whether the container has a health check, from the Compose file or its image."""
    return bool(health_command(container["Config"]))


def health_command(config: Inspected) -> list[str]:
    """Return the container's health command as the engine itself would run it, [] without one."""
    test = list((config.get("Healthcheck") or {}).get("Test") or [])
    if not test or test[0] == "NONE":
        return []
    if test[0] == "CMD-SHELL":
        return [*(config.get("Shell") or ["/bin/sh", "-c"]), *test[1:]]
    return test[1:]


def _own_health_command(container: Inspected) -> list[str]:
    return health_command(container["Config"])


def mounts_seen(container: Inspected, keys: Mapping[str, str]) -> tuple[Mount, ...]:
    """Return the volumes and folders a container really has mounted.

    `keys` maps the real name of a volume to its key. Other volumes keep no key: their real name
    is the source.
    """
    return tuple(
        Mount(
            volume=keys.get(entry["Name"]) if entry["Type"] == "volume" else None,
            source=str(entry["Name"] if entry["Type"] == "volume" else entry["Source"]),
            target=str(entry["Destination"]),
            writable=bool(entry.get("RW", True)),
        )
        for entry in container.get("Mounts") or ()
        if entry["Type"] in ("volume", "bind")
    )


def _health_of(container: Inspected) -> Health:
    state = container["State"]
    if state["Status"] != "running" or not state.get("Health") or not has_health(container):
        return "none"
    return cast(Health, state["Health"]["Status"])


def _place(container: Inspected) -> tuple[str, int, str]:
    labels = container["Config"]["Labels"]
    number = str(labels.get(LABEL_NUMBER, "0"))
    return service_of(container), int(number) if number.isdigit() else 0, str(container["Name"])


def _exec_impossible(error: Exception) -> bool:
    """Whether the container stopped running, or is gone, between two questions."""
    return absent(error) or getattr(error, "status_code", None) == 409
