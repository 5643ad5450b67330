"""Creates and starts the containers of a Compose project; nothing else does.

Before any start, it looks for external containers that write to the same places; see
`external_users`. A service that cannot start must not keep others down: if Compose gives up on all
of them, they are created and started one by one, each after its dependencies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quiesce.adapters.compose.cli import ComposeCommand
from quiesce.adapters.compose.containers import LOOK_EVERY, ComposeUnits
from quiesce.adapters.compose.engine import EngineConnection
from quiesce.adapters.compose.external_users import ForeignWriters, data_folder_of
from quiesce.adapters.compose.inspected import has_health, mounts_seen, service_of, unit_of
from quiesce.adapters.compose.model import ComposeModel, DeclaredService
from quiesce.adapters.compose.parallel import is_shared, with_each
from quiesce.errors import NotDeclared, QuiesceError, RequestError, ServiceFailed
from quiesce.model import Stack
from quiesce.observed import ForeignMount, Service, Unit

#: Seconds to wait for a short-lived external container to end, when services that ran before are
#: started again.
PATIENCE = 10.0
_AGAIN = "see its output, then run 'inv up' again"


@dataclass(frozen=True, slots=True)
class ComposeStarter:
    """Creates and starts containers of one project. `model` is None if no Compose file can be
    read."""

    connection: EngineConnection
    command: ComposeCommand
    units: ComposeUnits
    stack: Stack
    model: Callable[[], ComposeModel]
    model_if_readable: Callable[[], ComposeModel | None]

    def with_foreign_mounts(self, services: Sequence[Service]) -> tuple[Service, ...]:
        """Return the services with the external mounts that prevent their start."""
        writers = ForeignWriters(self.connection, self.stack)
        if not writers.any_writable:
            return tuple(services)
        model = self.model_if_readable()
        data = self._data_folders()
        return tuple(
            replace(
                service,
                foreign_mounts=writers.at(
                    writers.places(service.name, service.mounts, model, data.get(service.name, ""))
                ),
            )
            for service in services
        )

    def up(self, services: Sequence[Service], *, build: bool, everything: bool) -> None:
        """Create and start these services; `everything` says that these are all active ones."""
        for service in self.with_foreign_mounts(services):
            if service.foreign_mounts:
                raise _taken(service.name, service.foreign_mounts[0])
        for service in services:
            if any(need.condition == "healthy" for need in service.depends_on):
                self.units.checks.require(service.name)
        with self.units.checks.run_overdue():
            self._up(services, build=build, everything=everything)

    def _up(self, services: Sequence[Service], *, build: bool, everything: bool) -> None:
        names = [] if everything else [service.name for service in services]
        arguments = ["up", "--detach", *(["--build"] if build else [])]
        closed = everything or self.model().is_closed(names)
        if not closed:
            arguments += ["--no-deps", *([] if build else ["--no-recreate"])]
        try:
            self.command.run(*arguments, *names, hint=_AGAIN)
        except RequestError:
            raise
        except QuiesceError as error:
            if error.lost_engine or not closed or len(services) == 1:
                raise
            self._one_by_one([service.name for service in services], error, build=build)

    def start(self, units: Sequence[Unit], *, together: bool) -> None:
        """Start these units in order; Compose creates again the containers that were removed since.

        With `together`, they start at the same time, unless a container outside of the project
        runs in one of their networks: started in order, they usually get their addresses back.
        """
        self._require_alone(units)
        started: Iterable[bool] = map(self.units.start, units)
        if together and not self._is_watched(units):
            started = with_each(self.units.start, units)
        for unit, there in zip(units, started, strict=True):
            if not there:
                if self.model().service(unit.service) is None:
                    raise NotDeclared(
                        f"service {unit.service} has no container, and the Compose file does not "
                        "declare it",
                        "if it is needed, declare it again and run 'inv up'",
                    )
                arguments = ("up", "--detach", "--no-deps", "--no-recreate", unit.service)
                self.command.run(*arguments)
                if unit.state == "paused":
                    self.units.start(unit)

    # ------------------------------------------------------------------------------------ inside

    def _is_watched(self, units: Sequence[Unit]) -> bool:
        mine = self.units.containers()
        wanted = {unit.id for unit in units}
        own = [container["Id"] for container in mine]
        return is_shared(self.connection, [c for c in mine if c["Id"] in wanted], own)

    def _require_alone(self, units: Sequence[Unit]) -> None:
        end = time.monotonic() + PATIENCE
        while (found := self._first_taken(units)) is not None:
            if time.monotonic() > end or found[1].server:
                raise _taken(*found)
            time.sleep(LOOK_EVERY)

    def _first_taken(self, units: Sequence[Unit]) -> tuple[str, ForeignMount] | None:
        writers = ForeignWriters(self.connection, self.stack)
        if not writers.any_writable:
            return None
        model = self.model_if_readable()
        keys = {volume.name: key for key, volume in model.volumes.items()} if model else {}
        for unit in units:
            now = self.units.current(unit)
            if now is not None:
                if now["State"]["Status"] in ("running", "restarting"):
                    continue  # already running
                mounts, data = mounts_seen(now, keys), data_folder_of([now])
            else:
                declared = model.service(unit.service) if model else None
                mounts, data = (declared.mounts if declared else ()), ""
            if taken := writers.at(writers.places(unit.service, mounts, model, data)):
                return unit.service, taken[0]
        return None

    def _data_folders(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for container in self.units.containers():
            found.setdefault(service_of(container), data_folder_of([container]))
        return found

    def _one_by_one(self, names: Sequence[str], first: QuiesceError, *, build: bool) -> None:
        """Create and start each service after its dependencies, but none whose dependency failed.

        Each is created together with its dependencies, because Compose considers a container that
        was created without them outdated. Each is started alone, because Compose would run jobs
        again.
        """
        model = self.model()
        failed: dict[str, QuiesceError] = {}
        waiting: list[str] = []
        for service in _in_order(model, names):
            needs = _needed(model, service.name)
            if needs & failed.keys() or needs & set(waiting):
                waiting.append(service.name)
                continue
            try:
                wanted = [*sorted(needs), service.name]
                self.command.run("create", *(["--build"] if build else []), *wanted, hint=_AGAIN)
                self._await(service)
                self._start_made(service.name)
            except QuiesceError as error:
                if error.lost_engine:
                    raise
                failed[service.name] = error
        if not failed:
            return
        details = [f"{name}: {error.fact}" for name, error in failed.items()]
        details += [line for error in failed.values() for line in error.details] or first.details
        if waiting:
            details.append(f"not started, because they depend on it: {', '.join(waiting)}")
        raise ServiceFailed(
            f"{', '.join(failed)} did not start; everything that does not depend on them is up",
            _AGAIN,
            details=details,
            services=tuple(failed),
        )

    def _start_made(self, name: str) -> None:
        """Start a service's containers, except for a job that has completed."""
        for container in self.units.containers():
            done = container["State"]["Status"] == "exited" and container["State"]["ExitCode"] == 0
            job = done and name in self.model().completing
            if service_of(container) == name and not job:
                self.units.start(replace(unit_of(container), state="running"))

    def _await(self, service: DeclaredService) -> None:
        """Wait until the service's dependencies meet their conditions."""
        timeout = self.stack.restart.health_timeout
        for need in service.depends_on:
            own = [c for c in self.units.containers() if service_of(c) == need.service]
            if need.condition == "completed":
                self.units.wait_ended([unit_of(container) for container in own], timeout)
            elif need.condition == "healthy":
                ideal = [
                    replace(unit_of(c), state="running", health="healthy")
                    for c in own
                    if has_health(c)
                ]
                self.units.wait(ideal, timeout, lambda _: None, frozenset())


def _taken(service: str, mount: ForeignMount) -> QuiesceError:
    return ServiceFailed(
        f"service {service} is not started: {mount.fact}, which it writes to",
        mount.hint(alone=False),
        services=(service,),
    )


def _needed(model: ComposeModel, name: str) -> set[str]:
    found: set[str] = set()
    open_ = [name]
    while open_:
        service = model.service(open_.pop())
        for need in service.depends_on if service else ():
            if need.service not in found:
                found.add(need.service)
                open_.append(need.service)
    return found - {name}


def _in_order(model: ComposeModel, names: Sequence[str]) -> list[DeclaredService]:
    """Return the services with dependencies first, otherwise in the given order."""
    found = [service for name in names if (service := model.service(name)) is not None]
    rank = {name: index for index, name in enumerate(names)}
    return sorted(found, key=lambda s: (len(_needed(model, s.name)), rank[s.name]))
