"""Runs health checks that the engine does not run.

Docker runs a container's health check itself. Podman leaves that to timers of systemd: without
systemd, no check runs, the container stays `starting`, and a wait for it never ends. Podman's own
API, on the same socket as Docker's, can run one check and keep its result. So while Quiesce waits,
it runs overdue checks in this way. If timers run the checks, none is overdue.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from quiesce.adapters.compose.engine import PATIENCE, EngineConnection
from quiesce.adapters.compose.inspected import Inspected, has_health
from quiesce.errors import RequestError

#: The oldest version of Podman's own API that every Podman since 4 answers to.
_API = "v4.0.0/libpod"
#: Seconds between two looks at the containers.
LOOK_EVERY = 0.5
#: Timers run the first check of a container when it starts: later than this it is overdue.
FIRST = 1.0
#: The engine's default for a health check without an interval, in nanoseconds.
DEFAULT_INTERVAL = DEFAULT_TIMEOUT = 30_000_000_000


@dataclass(slots=True)
class Overdue:
    """Determines which health checks are overdue, from the results seen so far."""

    #: For each start of a container: when its last result ended, and when that was first seen.
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    def among(self, containers: Iterable[Inspected], now: float) -> list[str]:
        """Return the ids of running containers whose next check should have ended by `now`, each
        once until the one after it is overdue.

        Healthy containers are left out, because nothing waits for them.
        """
        found = []
        for container in containers:
            state = container["State"]
            if state["Status"] != "running" or not has_health(container):
                continue
            health = state.get("Health") or {}
            if health.get("Status") == "healthy":
                continue
            ended = last_result(container)
            start = f"{container['Id']} {state['StartedAt']}"
            if start not in self._seen or self._seen[start][0] != ended:
                self._seen[start] = (ended, now)
            if now - self._seen[start][1] >= (interval_of(container) if ended else FIRST):
                # Not again because its result has not been seen yet.
                self._seen[start] = (ended, now)
                found.append(str(container["Id"]))
        return found


def last_result(container: Inspected) -> str:
    """Return when the last run of the container's health check ended, "" if none has."""
    log = (container["State"].get("Health") or {}).get("Log") or ()
    return str(log[-1]["End"]) if log else ""


def interval_of(container: Inspected) -> float:
    """Return the seconds between two runs of the container's health check."""
    return float(_check(container).get("Interval") or DEFAULT_INTERVAL) / 1e9


class HealthChecks:
    """Runs overdue health checks of some containers, on an engine that may not run them itself."""

    def __init__(
        self, connection: EngineConnection, containers: Callable[[], Iterable[Inspected]]
    ) -> None:
        self._connection = connection
        self._containers = containers
        self._overdue = Overdue()
        self._running: set[str] = set()
        self._watched = False

    @property
    def needed(self) -> bool:
        """Whether the engine is one that may not run them itself."""
        return self._connection.kind == "podman"

    def require(self, waiting: str) -> None:
        """Raise RequestError if nothing would run the check that service `waiting` waits for."""
        if self.needed and not self._answers():
            raise RequestError(
                f"service {waiting} waits for a healthy service, but Podman's own API, which runs "
                f"health checks, does not answer at {self._connection.address.host}",
                "set DOCKER_HOST or the context to the socket of 'podman system service', "
                "which has both APIs",
            )

    @contextlib.contextmanager
    def run_overdue(self) -> Iterator[None]:
        """Within this context, overdue checks are run in the background."""
        if self._watched or not self.needed:
            yield
            return
        self._watched = True
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            self._watched = False

    def run(self, container: Inspected) -> None:
        """Run the container's check once, if the engine may not run it itself; the engine stores
        the result."""
        if self.needed:
            self._run(container)

    # ------------------------------------------------------------------------------------- inside

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(LOOK_EVERY):
            # Whatever fails here also fails, and is reported, where the containers are waited for.
            with contextlib.suppress(Exception):
                found = {str(one["Id"]): one for one in self._containers()}
                for name in self._overdue.among(found.values(), time.monotonic()):
                    if name not in self._running:
                        self._running.add(name)
                        # One that hangs does not keep the others waiting.
                        runner = threading.Thread(
                            target=self._run_one, args=(found[name],), daemon=True
                        )
                        runner.start()

    def _run_one(self, container: Inspected) -> None:
        try:
            with contextlib.suppress(Exception):
                self._run(container)
        finally:
            self._running.discard(str(container["Id"]))

    def _run(self, container: Inspected) -> None:
        allowed = float(_check(container).get("Timeout") or DEFAULT_TIMEOUT) / 1e9
        self._ask(f"{_API}/containers/{container['Id']}/healthcheck", allowed + PATIENCE)

    def _answers(self) -> bool:
        try:
            return bool(self._ask("libpod/_ping", PATIENCE).status_code == 200)
        except OSError:  # also what requests raises
            return False

    def _ask(self, path: str, patience: float) -> Any:
        api = cast(Any, self._connection.api)
        return api.get(f"{api.base_url}/{path}", timeout=patience)


def _check(container: Inspected) -> dict[str, Any]:
    return dict(container["Config"].get("Healthcheck") or {})
