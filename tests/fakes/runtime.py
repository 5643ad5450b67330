"""A Runtime in memory: what runs is a dict, what was asked is a list, and it fails on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from quiesce.errors import Busy, QuiesceError, RequestError, ServiceFailed
from quiesce.model import StackFiles, Volume
from quiesce.observed import (
    Condition,
    Dependency,
    Engine,
    Health,
    Mount,
    OtherProject,
    Service,
    Unit,
    UnitState,
    VolumeState,
)
from quiesce.ports import DIRECTORY, Endpoint, StopResult
from quiesce.suggest import suggest

Tool = Callable[[str, Sequence[str], Mapping[str, str], Path, bool], None]

LOCAL_ENGINE = Engine(id="FAKE:ENGINE", kind="fake", version="1.0", local=True)


def make_service(
    name: str,
    *,
    needs: Mapping[str, Condition] | Sequence[str] = (),
    mounts: Sequence[Mount] = (),
    state: UnitState | None = "running",
    health: bool = False,
    replicas: int = 1,
    stop_timeout: float | None = None,
) -> Service:
    """Return a service with `replicas` units in `state`, or with none when `state` is None."""
    conditions: dict[str, Condition] = dict.fromkeys(needs, "started")
    if isinstance(needs, Mapping):
        conditions.update(needs)
    units = tuple(
        Unit(
            service=name,
            id=f"{name}-id-{number}",
            name=f"fake-{name}-{number}",
            state=state,
            health=_health(health and state == "running"),
            exit_code=0 if state == "exited" else None,
            stop_timeout=stop_timeout,
        )
        for number in range(1, replicas + 1)
        if state is not None
    )
    return Service(
        name=name,
        depends_on=tuple(Dependency(other, condition) for other, condition in conditions.items()),
        mounts=tuple(mounts),
        units=units,
        image=f"image/{name}",
        has_health=health,
    )


def make_volume(key: str, *, exists: bool = True, outside: Sequence[str] = ()) -> VolumeState:
    """Return a plain local volume."""
    return VolumeState(key, f"fake-{key}", exists, "local", {}, None, tuple(outside))


def _health(well: bool) -> Health:
    return "healthy" if well else "none"


class FakeRuntime:
    """Implements `Runtime` in memory.

    `calls` lists, in order, every effect and wait as `verb:subject`: `stop:web`, `start:db`,
    `wait:db`, `up:web`, `remove:web`, `tool:db:pg_dump`, `sweep:<run>`. `fail_on[call] = n` lets
    the next n such calls fail before they do anything (-1: always), `fail_after` after they did
    it. `on_call` is told of every call before it happens and may raise (a crash).
    `never_healthy` services start and never get healthy; `ends_at_once` services start and end
    with that exit code (0: a one-shot that is done); `exit_codes` are those of a stop. `tool` is
    what a tool does; without it tools succeed and do nothing. `replicas` are the units `up` makes
    of a service that has none (1).
    """

    def __init__(
        self,
        services: Sequence[Service] = (),
        *,
        volumes: Sequence[VolumeState] = (),
        engine: Engine = LOCAL_ENGINE,
        fail_on: Mapping[str, int] | None = None,
    ) -> None:
        self._declared = {service.name: replace(service, units=()) for service in services}
        self._units = {unit.id: unit for service in services for unit in service.units}
        self._volumes = tuple(volumes)
        self._engine = engine
        self._made = 0
        self.calls: list[str] = []
        self.fail_on = dict(fail_on or {})
        self.fail_after: dict[str, int] = {}
        self.on_call: Callable[[str], None] | None = None
        self.reachable = True
        self.closed = False
        self.never_healthy: set[str] = set()
        self.ends_at_once: dict[str, int] = {}
        self.exit_codes: dict[str, int] = {}
        self.replicas: dict[str, int] = {}
        self.endpoints: dict[tuple[str, int], Endpoint] = {}
        self.log_lines: dict[str, list[str]] = {}
        self.documents: dict[str, bytes] = {"compose.yaml": b"services: {}\n"}
        self.helpers: dict[str, list[str]] = {}
        self.tool: Tool | None = None
        self.claimed: tuple[Path, str] | None = None
        self.started: list[str] | None = None
        self.others: tuple[OtherProject, ...] = ()

    # ------------------------------------------------------------------------------------ asking

    def engine(self) -> Engine:
        self._reach()
        return self._engine

    def services(self) -> tuple[Service, ...]:
        self._reach()
        return tuple(
            replace(service, units=tuple(u for u in self._units.values() if u.service == name))
            for name, service in self._declared.items()
        )

    def other_projects(self) -> tuple[OtherProject, ...]:
        return self.others

    def volumes(self, declared: Sequence[Volume]) -> tuple[VolumeState, ...]:
        self._reach()
        known = {volume.key: volume for volume in self._volumes}
        for volume in declared:
            if volume.key not in known:
                hint = suggest(volume.key, known)
                raise RequestError(f"no volume {volume.key} in the fake stack", hint)
        first = [known.pop(volume.key) for volume in declared]
        return (*first, *known.values())

    def logs(self, service: str, lines: int) -> str:
        self._known(service)
        return "\n".join(self.log_lines.get(service, [])[-lines:])

    def stack_files(self) -> StackFiles:
        return StackFiles()

    def description(self) -> Mapping[str, bytes]:
        return dict(self.documents)

    def images(self) -> Mapping[str, str]:
        return {name: service.image for name, service in self._declared.items()}

    def endpoint(self, service: str, port: int) -> Endpoint:
        self._running(service)
        if (service, port) in self.endpoints:
            return self.endpoints[service, port]
        raise QuiesceError(f"service {service} does not answer on port {port}", "start it")

    # ----------------------------------------------------------------------------------- changing

    def up(self, services: Sequence[str], *, build: bool) -> None:
        for name in services or tuple(self._declared):
            self._known(name)
        failures: dict[str, QuiesceError] = {}
        for name in services or tuple(self._declared):
            needs = {need.service for need in self._declared[name].depends_on}
            if needs & failures.keys():
                failures[name] = QuiesceError(f"{name} is not started: it needs another")
                continue
            try:
                with _Effect(self, f"up:{name}"):
                    units = [unit for unit in self._units.values() if unit.service == name]
                    wanted = range(1, self.replicas.get(name, 1) + 1)
                    for unit in units or [self._make(name, number) for number in wanted]:
                        if not unit.runs:
                            self._begin(unit)
            except QuiesceError as error:
                failures[name] = error
        if failures:
            raise ServiceFailed.of(failures)

    def remove(self, services: Sequence[str]) -> None:
        for name in services or tuple(self._declared):
            self._known(name)
            with _Effect(self, f"remove:{name}"):
                self._units = {i: u for i, u in self._units.items() if u.service != name}

    def stop(
        self, units: Sequence[Unit], timeout: float, *, together: bool = False
    ) -> tuple[StopResult, ...]:
        results = []
        for unit in units:
            with _Effect(self, f"stop:{unit.service}"):
                now = self._units.get(unit.id)
                if now is not None and now.runs:
                    code = self.exit_codes.get(unit.service, 0)
                    now = replace(now, state="exited", health="none", exit_code=code)
                    self._units[unit.id] = now
                results.append(StopResult(unit, now.exit_code if now else None, 0.0))
        return tuple(results)

    def hold_restart(self, units: Sequence[Unit]) -> None:
        self._set_restart(units, lambda _: "no")

    def free_restart(self, units: Sequence[Unit]) -> None:
        self._set_restart(units, lambda unit: unit.restart_policy)

    def _set_restart(self, units: Sequence[Unit], policy: Callable[[Unit], str]) -> None:
        for unit in units:
            with _Effect(self, f"restart policy:{unit.service}"):
                if now := self._units.get(unit.id) or self._successor(unit):
                    self._units[now.id] = replace(now, restart_policy=policy(unit))

    def start(self, units: Sequence[Unit], *, together: bool = False) -> None:
        for unit in units:
            with _Effect(self, f"start:{unit.service}"):
                now = self._units.get(unit.id) or self._successor(unit) or self._make(unit.service)
                if not now.runs:
                    now = self._begin(now)
                if unit.state == "paused" and now.state == "running":
                    self._units[now.id] = replace(now, state="paused")

    def wait_healthy(
        self, units: Sequence[Unit], timeout: float, waiting: Callable[[str], None]
    ) -> Mapping[str, float]:
        failures: dict[str, QuiesceError] = {}
        for unit in units:
            waiting(unit.service)
            with _Effect(self, f"wait:{unit.service}"):
                try:
                    self._check_well(unit, timeout)
                except QuiesceError as error:
                    failures.setdefault(unit.service, error)
        if failures:
            raise ServiceFailed.of(failures)
        return {unit.service: 0.0 for unit in units}

    def await_entry_point(self, service: str, seconds: float) -> str | None:
        self._reach()

    def run_tool(
        self,
        service: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        writable: bool,
        label: str,
    ) -> None:
        with _Effect(self, f"tool:{service}:{Path(argv[0]).name}"):
            self._running(service)
            if self.tool is not None:
                seen = [part.replace(DIRECTORY, str(directory)) for part in argv]
                self.tool(service, seen, environment, directory, writable)

    def as_found(self) -> AbstractContextManager[None]:
        return nullcontext()

    def watch_starts(self) -> None:
        self._reach()
        self.started = []

    def seen_starting(self, services: Sequence[str], volumes: Sequence[str]) -> tuple[str, ...]:
        self._reach()
        found = [name for name in self.started or () if self._may_write(name, services, volumes)]
        return tuple(dict.fromkeys(found))

    def lock_project(self, folder: Path, run: str, earlier: Collection[str]) -> None:
        self._reach()
        if self.claimed is None or self._claimed_own(folder, earlier):
            self.claimed = (folder, run)
        if self.claimed[0] != folder:
            raise Busy(f"it is being changed from {self.claimed[0]}", "wait for it")

    def unlock_project(self, folder: Path, earlier: Collection[str]) -> None:
        self._reach()
        if self._claimed_own(folder, earlier):
            self.claimed = None

    def _claimed_own(self, folder: Path, earlier: Collection[str]) -> bool:
        if self.claimed is None:
            return False
        place, run = self.claimed
        return place == folder or (run in earlier and not place.is_dir())

    def remove_orphans(self, run: str) -> tuple[str, ...]:
        with _Effect(self, f"sweep:{run}"):
            return tuple(self.helpers.pop(run, ()))

    def close(self) -> None:
        self.closed = True

    # ------------------------------------------------------------------- what tests do to the world

    def lose(self, unit: Unit) -> None:
        """Remove a unit behind the runtime's back, as somebody at a terminal would."""
        del self._units[unit.id]

    def change(self, unit: Unit, **fields: object) -> None:
        """Change how a unit is now behind the runtime's back: a crash, somebody's `pause`."""
        self._units[unit.id] = replace(self._units[unit.id], **fields)  # type: ignore[arg-type]

    def unit(self, service: str) -> Unit:
        """Return the service's only unit as it is now."""
        (found,) = (unit for unit in self._units.values() if unit.service == service)
        return found

    @property
    def running(self) -> set[str]:
        """The names of the services that run now."""
        return {unit.service for unit in self._units.values() if unit.runs}

    # --------------------------------------------------------------------------------------- inside

    def _reach(self) -> None:
        if not self.reachable:
            raise RequestError("fake engine does not answer", "start it, then run 'inv status'")

    def _known(self, service: str) -> None:
        if service not in self._declared:
            raise RequestError(f"no service {service} in the fake stack", "see 'inv status'")

    def _running(self, service: str) -> None:
        self._known(service)
        if service not in self.running:
            raise QuiesceError(f"service {service} is not running", f"run 'inv up {service}'")

    def _may_write(self, name: str, services: Sequence[str], volumes: Sequence[str]) -> bool:
        mounts = self._declared[name].mounts
        return name in services or any(m.writable and m.volume in volumes for m in mounts)

    def _make(self, name: str, number: int = 1) -> Unit:
        self._made += 1
        unit = Unit(name, f"{name}-new-{self._made}", f"fake-{name}-{number}", "created", "none")
        self._units[unit.id] = unit
        return unit

    def _successor(self, unit: Unit) -> Unit | None:
        named = (
            u for u in self._units.values() if (u.service, u.name) == (unit.service, unit.name)
        )
        return next(named, None)

    def _begin(self, unit: Unit) -> Unit:
        if self.started is not None:
            self.started.append(unit.service)
        code = self.ends_at_once.get(unit.service)
        if code is not None:
            begun = replace(unit, state="exited", health="none", exit_code=code)
        else:
            has_health = self._declared[unit.service].has_health
            health: Health = "none"
            if has_health:
                health = "unhealthy" if unit.service in self.never_healthy else "healthy"
            begun = replace(unit, state="running", health=health, exit_code=None)
        self._units[unit.id] = begun
        return begun

    def _check_well(self, observed: Unit, timeout: float) -> None:
        now = self._units.get(observed.id) or self._successor(observed)
        lines = self.log_lines.get(observed.service, [])[-20:]
        hint = f"see 'inv logs --service {observed.service}'"
        if not observed.runs or (observed.state == "restarting" and now is not None):
            return
        if now is None or not now.runs:
            code = None if now is None else now.exit_code
            raise QuiesceError(
                f"service {observed.service} ended with exit code {code}", hint, details=lines
            )
        if observed.health == "healthy" and now.health != "healthy":
            raise QuiesceError(
                f"service {observed.service} was not healthy after {timeout:.0f} seconds",
                hint,
                details=lines,
            )


class _Effect:
    """One call: written down, perhaps failing before or after it happened."""

    def __init__(self, runtime: FakeRuntime, call: str) -> None:
        self._runtime = runtime
        self._call = call

    def __enter__(self) -> None:
        runtime = self._runtime
        runtime._reach()
        runtime.calls.append(self._call)
        if runtime.on_call is not None:
            runtime.on_call(self._call)
        self._fail(runtime.fail_on)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._fail(self._runtime.fail_after)

    def _fail(self, failures: dict[str, int]) -> None:
        left = failures.get(self._call, 0)
        if left:
            failures[self._call] = left - 1 if left > 0 else left
            raise QuiesceError(f"{self._call} failed, as the test wants", "nothing to be done")
